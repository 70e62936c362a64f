package mailauth

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-message/textproto"
	"golang.org/x/net/idna"

	"github.com/tlsink/tlsink/dmarc"
	"github.com/tlsink/tlsink/evidence"
)

// published is what the domain in From publishes.
type published struct {
	domain string // of From
	record dmarc.Record
	from   string // the domain that publishes it
	err    error
	// signatures is how many DKIM signatures there are, checked or not.
	signatures int
}

// errAuthor: RFC 7489 §6.6.1 leaves open what to do then; nobody can be named
// as the author.
var errAuthor = errors.New("not exactly one domain in From")

// lookupDMARC finds the record for the domain in From.
func (i *Inspector) lookupDMARC(ctx context.Context, h textproto.Header) published {
	p := published{domain: author(h), signatures: len(h.Values("DKIM-Signature"))}
	if p.domain == "" {
		p.err = errAuthor
		return p
	}
	ctx, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	p.record, p.from, _, p.err = dmarc.Discover(ctx, i.lookups, p.domain)
	return p
}

// author returns the domain of the addresses in From, in A-labels (RFC 8616 §4);
// "" if there is not exactly one.
func author(h textproto.Header) string {
	var found string
	for _, a := range addresses(h, "From") {
		_, domain := split(a)
		if ascii, err := idna.Lookup.ToASCII(domain); err == nil {
			domain = ascii
		}
		if found != "" && domain != found {
			return ""
		}
		found = domain
	}
	return found
}

// evaluate returns the result of DMARC (RFC 7489 §6.6.2) for a message whose SPF
// and DKIM are known. pct does not matter: it says how often the policy is
// applied, not whether the message passes.
func (p published) evaluate(m *evidence.Message) evidence.DMARC {
	out := evidence.DMARC{Domain: clean(p.domain, maxAddress)}
	if errors.Is(p.err, errAuthor) {
		out.Result, out.Reason = evidence.AuthPermError, p.err.Error()
		return out
	}
	// Without a record there is no strictness, but alignment may still be told.
	spfAligned := dmarc.Aligned(m.SPF.Domain, p.domain, p.record.StrictSPF)
	out.AlignedSPF = spfAligned && m.SPF.Result == evidence.AuthPass
	unsure := spfAligned && m.SPF.Result == evidence.AuthTempError || p.signatures > len(m.DKIM)
	for _, d := range m.DKIM {
		if !dmarc.Aligned(d.Domain, p.domain, p.record.StrictDKIM) {
			continue
		}
		out.AlignedDKIM = out.AlignedDKIM || d.Result == evidence.AuthPass
		unsure = unsure || d.Result == evidence.AuthTempError
	}
	switch {
	case errors.Is(p.err, dmarc.ErrNoRecord):
		out.Result = evidence.AuthNone
	case errors.Is(p.err, dmarc.ErrInvalid):
		out.Result, out.From = evidence.AuthPermError, clean(p.from, maxAddress)
	case p.err != nil:
		out.Result = evidence.AuthTempError
	default:
		out.From = clean(p.from, maxAddress)
		out.Policy = string(p.record.PolicyFor(p.domain, p.from))
		out.Result, out.Reason = p.result(out, unsure, m)
	}
	if p.err != nil {
		out.Reason = clean(p.err.Error(), maxText)
	}
	return out
}

func (p published) result(d evidence.DMARC, unsure bool, m *evidence.Message) (evidence.AuthResult, string) {
	switch {
	case d.AlignedDKIM:
		return evidence.AuthPass, ""
	case d.AlignedSPF && (m.SPF.Mechanism == MechanismAll || m.SPF.Mechanism == ""):
		return evidence.AuthPass, "only by an SPF record that allows everybody"
	case d.AlignedSPF:
		return evidence.AuthPass, ""
	case unsure:
		return evidence.AuthTempError, "not all of SPF and DKIM could be checked"
	}
	// The most telling reason: who did authenticate.
	var others []string
	if m.SPF.Result == evidence.AuthPass {
		others = append(others, "SPF of "+m.SPF.Domain)
	}
	for _, s := range m.DKIM {
		if s.Result == evidence.AuthPass && !slices.Contains(others, "DKIM of "+s.Domain) {
			others = append(others, "DKIM of "+s.Domain)
		}
	}
	if len(others) == 0 {
		return evidence.AuthFail, "neither SPF nor DKIM passes"
	}
	return evidence.AuthFail, clean("not aligned: "+strings.Join(others, ", "), maxText)
}
