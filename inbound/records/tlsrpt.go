package records

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tlsink/tlsink/dmarc"
	"github.com/tlsink/tlsink/inbound/check"
)

const tlsrptVersion = "v=TLSRPTv1"

// TLSRPT reads the record that asks for reports about TLS (RFC 8460 §3). Valid
// is yes if there is an address that reports can be sent to.
func (r *Reader) TLSRPT(ctx context.Context, domain string) TLSRPT {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	var out TLSRPT
	name := "_smtp._tls." + domain
	txts, _, failed := r.texts(ctx, name)
	if failed.Outcome != "" {
		out.Published = failed
		return out
	}
	var found []string
	for _, txt := range txts {
		switch {
		case isTLSRPT(txt):
			found = append(found, txt)
		case len(txt) >= 8 && strings.EqualFold(txt[:8], "v=tlsrpt"):
			note(&out.Problems, "a TXT record of %s does not begin with \"%s;\", so it is ignored: %s", name, tlsrptVersion, quote(txt))
		}
	}
	if len(found) == 0 {
		out.Published = check.Fail(clean("no TLS-RPT record at "+name, maxWhy))
		return out
	}
	if len(found) > 1 {
		// RFC 8460 §3: if there is not exactly one, senders assume none.
		out.Published = check.Fail(clean(fmt.Sprintf("%d TLS-RPT records at %s, and senders then ignore all: keep one", len(found), name), maxWhy))
		return out
	}
	out.Published = check.Pass()
	out.Record = clean(found[0], maxRecord)
	out.Reports = parseTLSRPT(found[0], &out.Problems)
	out.Valid = check.Pass()
	if len(out.Reports) == 0 {
		out.Valid = check.Fail("no usable rua: there is no address to send reports to")
		note(&out.Problems, "%s", out.Valid.Why)
	}
	return out
}

func isTLSRPT(txt string) bool {
	rest, ok := strings.CutPrefix(txt, tlsrptVersion)
	return ok && strings.HasPrefix(strings.TrimLeft(rest, " \t"), ";")
}

// parseTLSRPT returns the addresses of a record that isTLSRPT has picked.
func parseTLSRPT(txt string, problems *[]string) []string {
	fields := strings.Split(txt, ";")[1:]
	if n := len(fields); strings.Trim(fields[n-1], " \t") == "" {
		fields = fields[:n-1] // the last delimiter is optional
	}
	var out []string
	found := false
	for _, f := range fields {
		f = strings.Trim(f, " \t")
		name, value, ok := strings.Cut(f, "=")
		switch {
		case !ok || name == "" || strings.ContainsAny(name, " \t"):
			note(problems, "%s is not name=value", quote(f))
		case name == "rua" && found:
			note(problems, "rua occurs more than once: senders may use only one; put all addresses into it, separated by commas")
		case name == "rua":
			found = true
			out = reportAddresses(value, problems)
		}
	}
	return out
}

func reportAddresses(value string, problems *[]string) []string {
	var out []string
	for text := range strings.SplitSeq(value, ",") {
		text = strings.Trim(text, " \t")
		u, err := dmarc.ParseURI(text)
		if strings.Contains(text, "!") {
			err = errors.New(quote(text) + `: "!" must be written %21`)
		}
		switch {
		case err != nil:
			note(problems, "rua: %v", err)
		case u.Scheme != "mailto" && u.Scheme != "https":
			note(problems, "rua: %s: want mailto: or https:", quote(text))
		case len(out) == maxReports:
			note(problems, "rua: more than %d addresses; the rest is left out", maxReports)
			return out
		default:
			out = append(out, clean(text, maxWhy))
		}
	}
	return out
}
