package mailauth

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/emersion/go-message/textproto"
	"github.com/emersion/go-msgauth/dkim"

	"github.com/tlsink/tlsink/evidence"
)

// checkDKIM verifies the first signatures of a message, given its raw header
// and its body, which it reads as far as it needs.
func (i *Inspector) checkDKIM(ctx context.Context, h textproto.Header, raw []byte, body io.Reader) []evidence.DKIM {
	signatures := h.Values("DKIM-Signature")
	if len(signatures) == 0 {
		return nil
	}
	for _, v := range signatures {
		// The verifier looks through the whole header for each covered name.
		if len(v) > maxSignature || strings.Count(v, ":") > maxSigned {
			return []evidence.DKIM{{Result: evidence.AuthPermError, Reason: "a signature is too long to be verified"}}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	results, err := dkim.VerifyWithOptions(io.MultiReader(bytes.NewReader(raw), body), &dkim.VerifyOptions{
		LookupTXT:        func(name string) ([]string, error) { return i.lookups.LookupTXT(ctx, name) },
		MaxVerifications: maxSignatures,
	})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		i.logger.DebugContext(ctx, "DKIM verification failed", "err", err)
		return []evidence.DKIM{{Result: evidence.AuthPermError, Reason: clean(err.Error(), maxText)}}
	}
	var out []evidence.DKIM
	for _, v := range results {
		d := evidence.DKIM{Domain: clean(strings.ToLower(v.Domain), maxAddress), Result: evidence.AuthPass}
		for _, key := range v.HeaderKeys {
			d.Headers = append(d.Headers, clean(strings.ToLower(key), maxText))
		}
		if v.Err != nil {
			d.Result, d.Reason = dkimResult(v.Err), clean(v.Err.Error(), maxText)
		}
		out = append(out, d)
	}
	return out
}

// dkimResult says in the words of RFC 8601 §2.7.1 what an error means.
func dkimResult(err error) evidence.AuthResult {
	switch {
	case dkim.IsTempFail(err):
		return evidence.AuthTempError
	case dkim.IsPermFail(err):
		return evidence.AuthPermError
	}
	return evidence.AuthFail
}
