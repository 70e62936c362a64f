package mailauth

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/emersion/go-message/textproto"

	"github.com/tlsink/tlsink/arc"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/received"
)

// ExamineOptions are the settings of [Examine].
type ExamineOptions struct {
	Resolver Resolver         // nil: signatures are not checked
	Timeout  time.Duration    // of all lookups for DKIM, and of all for ARC; default 20 s
	Now      func() time.Time // default time.Now
}

// Examination is what a mail of any origin tells by itself. Nothing says which
// of its fields were there when it was delivered, and whose hand they are.
type Examination struct {
	Header textproto.Header
	// Body is false if there is none, or it was not given: then no signature can
	// be checked.
	Body bool
	// Path is the way of the mail in the order it went, PathLeftOut the number of
	// older hops that it lacks.
	Path        []received.Field
	PathLeftOut int
	// DKIM has an entry for each signature, without a result if it was not
	// checked.
	DKIM []evidence.DKIM
	// Chain has no result if it was not checked. Seals are what its sets say.
	Chain evidence.ARCChain
	Seals []arc.Seal
	// TLSRequiredNo: RFC 8689 §5.
	TLSRequiredNo bool
}

// Examine reads a mail, or only its header. A line "From …" of a mailbox file
// before it, and empty lines, are passed over. It fails if the mail cannot be
// read, or its header not be understood.
func Examine(ctx context.Context, o ExamineOptions, message io.Reader) (Examination, error) {
	i := &Inspector{lookups: lookups{o.Resolver}, timeout: o.Timeout, now: o.Now, logger: slog.New(slog.DiscardHandler)}
	if i.timeout == 0 {
		i.timeout = 20 * time.Second
	}
	if i.now == nil {
		i.now = time.Now
	}
	in := &reader{r: message}
	body := bufio.NewReader(in)
	skipPreface(body)
	raw, err := readHeader(body)
	if err != nil {
		return Examination{}, err
	}
	header, err := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(raw)))
	switch {
	case in.err != nil:
		return Examination{}, fmt.Errorf("read message: %w", in.err)
	case err != nil:
		return Examination{}, fmt.Errorf("header: %s", clean(err.Error(), maxText))
	case header.Len() == 0:
		return Examination{}, errors.New("no header field: the message must begin with its header")
	case header.Len() > maxFields:
		return Examination{}, fmt.Errorf("header has %d fields, more than %d", header.Len(), maxFields)
	}
	x := Examination{Header: header, TLSRequiredNo: tlsRequiredNo(header)}
	x.Path, x.PathLeftOut = received.Path(header.Values("Received"))
	chain := arc.Read(raw)
	x.Seals = chain.Seals()
	_, err = body.Peek(1)
	x.Body = err == nil
	if o.Resolver == nil || !x.Body {
		x.DKIM = unchecked(header)
		return x, nil
	}
	rest := io.TeeReader(body, chain)
	x.DKIM = i.checkDKIM(ctx, header, raw, rest)
	if _, err := io.Copy(io.Discard, rest); err != nil || in.err != nil {
		return Examination{}, fmt.Errorf("read message: %w", errors.Join(err, in.err))
	}
	x.Chain = i.checkARC(ctx, chain)
	return x, nil
}

// skipPreface passes over what may stand before a mail in a file.
func skipPreface(r *bufio.Reader) {
	for {
		next, err := r.Peek(5)
		switch {
		case len(next) > 0 && (next[0] == '\n' || next[0] == '\r'):
			_, _ = r.Discard(1)
		case err == nil && string(next) == "From ":
			if _, err := r.ReadSlice('\n'); err != nil {
				return
			}
		default:
			return
		}
	}
}

// unchecked returns the domains of signatures.
func unchecked(h textproto.Header) []evidence.DKIM {
	var out []evidence.DKIM
	for _, v := range h.Values("DKIM-Signature") {
		if len(out) == maxSignatures {
			break
		}
		var d evidence.DKIM
		for tag := range strings.SplitSeq(v, ";") {
			name, value, _ := strings.Cut(tag, "=")
			if strings.TrimSpace(name) == "d" {
				d.Domain = clean(strings.ToLower(strings.Join(strings.Fields(value), "")), maxAddress)
			}
		}
		out = append(out, d)
	}
	return out
}
