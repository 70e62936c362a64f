package mailauth

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"blitiri.com.ar/go/spf"

	"github.com/tlsink/tlsink/evidence"
)

// MechanismAll is the mechanism of a pass that says nothing about the client:
// the term all, or one that is as wide.
const MechanismAll = "all"

// checkSPF evaluates SPF for the MAIL FROM domain (RFC 7208 §2.4). The HELO
// identity is not used: a report goes to MAIL FROM only.
func (i *Inspector) checkSPF(ctx context.Context, client netip.Addr, helo, mailFrom string) evidence.SPF {
	_, domain := split(mailFrom)
	out := evidence.SPF{Result: evidence.AuthNone, Domain: clean(strings.ToLower(domain), maxAddress)}
	if domain == "" || strings.HasPrefix(domain, "[") {
		out.Reason = "no domain in MAIL FROM"
		return out
	}
	if strings.Count(mailFrom, "@") > 1 {
		// The library cuts at the first @, RFC 5321 §4.1.2 at the last.
		out.Reason = "local part with @"
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	var t spfTrace
	result, err := spf.CheckHostWithSender(client.Unmap().AsSlice(), helo, mailFrom,
		spf.WithContext(ctx), spf.WithResolver(i.lookups), spf.WithTraceFunc(t.trace))
	out.Result = evidence.AuthResult(result)
	if err != nil {
		out.Reason = clean(err.Error(), maxText)
	}
	switch out.Result {
	case evidence.AuthPass, evidence.AuthFail, evidence.AuthSoftFail, evidence.AuthNeutral:
		out.Mechanism = t.mechanism(err)
		if out.Mechanism == MechanismAll && t.term != "" && !strings.EqualFold(t.term, "all") {
			out.Reason = clean("the term "+strconv.Quote(t.term)+" matches nearly every client", maxText)
		}
	}
	return out
}

// spfTrace finds the term that matched in the library's trace, whose arguments
// name each term with its result. Terms of included records come before the
// include; so the last term that is not include or redirect is the one.
type spfTrace struct{ term string }

func (t *spfTrace) trace(format string, args ...any) {
	switch {
	case format == "all: %v":
		t.term = MechanismAll
	case format == "%q %v, %v" && len(args) == 3:
		if term, ok := args[0].(string); ok && name(term) != "include" {
			t.term = term
		}
	}
}

// name returns the mechanism of a term without qualifier.
func name(term string) string {
	if end := strings.IndexAny(term, ":/"); end >= 0 {
		term = term[:end]
	}
	return strings.ToLower(term)
}

// mechanism returns the name of the mechanism that matched, "" if none did.
// The library's error is what counts; the trace only adds detail.
func (t *spfTrace) mechanism(matched error) string {
	var kind string
	switch {
	case errors.Is(matched, spf.ErrMatchedAll):
		return MechanismAll
	case errors.Is(matched, spf.ErrMatchedIP):
		kind = "ip"
	case errors.Is(matched, spf.ErrMatchedA):
		kind = "a"
	case errors.Is(matched, spf.ErrMatchedMX):
		kind = "mx"
	case errors.Is(matched, spf.ErrMatchedPTR):
		kind = "ptr"
	case errors.Is(matched, spf.ErrMatchedExists):
		kind = "exists"
	default:
		return ""
	}
	term := name(t.term)
	if !strings.HasPrefix(term, kind) || wide(t.term) {
		// A term that the trace does not show cannot be judged: the cautious
		// answer is that it says nothing.
		return MechanismAll
	}
	return term
}

// wide reports whether a term matches (nearly) every client, as all does:
// networks larger than any real one, or exists without the client's address.
func wide(term string) bool {
	lower := strings.ToLower(term)
	if name(term) == "exists" {
		// RFC 7208 §7.2: i, c and p (and, reversed, ir) are the client.
		return !strings.Contains(lower, "%{i") && !strings.Contains(lower, "%{c") && !strings.Contains(lower, "%{p")
	}
	v6 := name(term) == "ip6"
	rest := lower
	if colon := strings.IndexByte(lower, ':'); v6 && colon >= 0 {
		rest = lower[colon+1:]
	}
	_, masks, ok := strings.Cut(rest, "/")
	if !ok {
		return false
	}
	// a and mx: ip4-cidr-length, or //ip6-cidr-length, or both (§5.6).
	four, six, dual := strings.Cut(masks, "//")
	if !dual && strings.HasPrefix(masks, "/") {
		four, six = "", masks[1:]
	}
	if v6 {
		four, six = "", masks
	}
	return short(four, 8) || short(six, 16)
}

// short reports whether a prefix length is given and below least.
func short(prefix string, least int) bool {
	n, err := strconv.Atoi(prefix)
	return err == nil && n < least
}
