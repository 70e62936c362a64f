package mailauth

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/dmarc"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// How far a Date may be from now for a DKIM signature to count: older mail may
// be a replay; the future is left to bad clocks and time zones.
const (
	maxAge    = 5 * 24 * time.Hour
	maxFuture = 24 * time.Hour
)

// MayReport says whether a report may be mailed to the MAIL FROM address of tx,
// judged at a time. If not, reason says why, and temporary whether the same
// mail may be judged otherwise when it is tried again. Whether its Message-ID
// was reported before, and how many reports an address gets, is up to the
// caller.
//
// The domain of MAIL FROM must be authenticated, for this message, by
//
//   - SPF: pass by a term that says something about the client; or
//   - DKIM: a signature of an aligned domain that covers From, To and Date.
//     Signed mail can be replayed by others with any MAIL FROM. So From must be
//     the MAIL FROM address, one of our addresses must be in a signed To or Cc,
//     and the Date must be recent.
//
// Alignment is relaxed (RFC 7489 §3.1.1): the organizational domains must be
// equal. Mail from bounces.example.org is commonly signed by example.org, and
// the other way round; both answer to the same registrant, and From must equal
// MAIL FROM anyway.
func MayReport(tx evidence.Transaction, now time.Time) (ok bool, temporary bool, reason string) {
	m := tx.Message
	local, domain := split(tx.MailFrom)
	domain = scenario.Canonical(domain)
	switch {
	case m == nil:
		return false, false, "the message was not read"
	case tx.MailFrom == "":
		return false, false, "null reverse-path" // RFC 3834 §2
	case local == "" || domain == "" || strings.HasPrefix(domain, "["):
		return false, false, "MAIL FROM has no domain"
	case m.Automatic != "":
		return false, false, "automatic message: " + m.Automatic
	case tx.MessageID == "":
		return false, false, "not exactly one valid Message-ID"
	}

	spfReason := spfObjection(m.SPF, domain)
	if spfReason == "" {
		return true, false, "SPF pass by " + m.SPF.Mechanism
	}
	temporary = m.SPF.Result == evidence.AuthTempError
	reasons := []string{spfReason}
	for _, d := range m.DKIM {
		objection := dkimObjection(d, tx, domain, now)
		if objection == "" {
			switch d.Result {
			case evidence.AuthPass:
				return true, false, "DKIM signature by " + d.Domain
			case evidence.AuthTempError:
				temporary = true
			}
			objection = string(d.Result)
		}
		reasons = append(reasons, fmt.Sprintf("DKIM by %s: %s", d.Domain, objection))
	}
	if len(m.DKIM) == 0 {
		reasons = append(reasons, "no DKIM signature")
	}
	return false, temporary, strings.Join(reasons, "; ")
}

// spfObjection says why SPF does not authenticate domain; "" if it does.
func spfObjection(s evidence.SPF, domain string) string {
	switch {
	case s.Result != evidence.AuthPass:
		return "SPF " + string(s.Result)
	case s.Mechanism == MechanismAll || s.Mechanism == "":
		return "SPF pass for everybody"
	case scenario.Canonical(s.Domain) != domain:
		return "SPF pass for another domain"
	}
	return ""
}

// dkimObjection says why a signature would not authenticate domain even if it
// were valid; "" if it would.
func dkimObjection(d evidence.DKIM, tx evidence.Transaction, domain string, now time.Time) string {
	m := tx.Message
	if !aligned(d.Domain, domain) {
		return "not aligned with " + domain
	}
	for _, field := range []string{"from", "to", "date"} {
		if !slices.Contains(d.Headers, field) {
			return "does not cover " + field
		}
	}
	switch {
	case len(m.From) != 1 || !sameAddress(m.From[0], tx.MailFrom):
		return "From is not the MAIL FROM address"
	case !signedForUs(d, tx):
		return "none of our addresses in a signed To or Cc"
	case m.Date.IsZero():
		return "not exactly one valid Date"
	case now.Sub(m.Date) > maxAge || m.Date.Sub(now) > maxFuture:
		return "Date " + m.Date.Format(time.RFC3339) + " is not recent"
	}
	return ""
}

// aligned is relaxed alignment. Public suffixes align only with themselves.
func aligned(a, b string) bool { return dmarc.Aligned(a, b, false) }

// sameAddress compares addresses; only domains ignore case (RFC 5321 §2.4).
func sameAddress(a, b string) bool {
	localA, domainA := split(a)
	localB, domainB := split(b)
	return localA == localB && scenario.Canonical(domainA) == scenario.Canonical(domainB)
}

// signedForUs reports whether one of our addresses is in a field that d covers:
// anybody can add a Cc to a signed message.
func signedForUs(d evidence.DKIM, tx evidence.Transaction) bool {
	in := func(list []string) bool {
		return slices.ContainsFunc(tx.Addressed, func(a string) bool { return slices.Contains(list, a) })
	}
	return in(tx.Message.To) || (slices.Contains(d.Headers, "cc") && in(tx.Message.Cc))
}
