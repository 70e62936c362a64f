package policyinfer

import (
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// The defaults of evidence.Timing.
const (
	defaultSettle  = 10 * time.Minute
	defaultSilence = 30 * time.Minute
	defaultMargin  = 2 * time.Minute
)

// attemptGap separates attempts: connections of one sender that follow each
// other within it are one attempt. Where timing is compressed, so is the gap.
const (
	maxAttemptGap = 10 * time.Second
	minAttemptGap = time.Second
)

type timing struct{ settle, silence, margin, gap time.Duration }

func timingOf(t *evidence.Timing) timing {
	out := timing{settle: defaultSettle, silence: defaultSilence, margin: defaultMargin}
	if t != nil {
		set := func(to *time.Duration, d evidence.Duration) {
			if d > 0 {
				*to = time.Duration(d)
			}
		}
		set(&out.settle, t.Settle)
		set(&out.silence, t.Silence)
		set(&out.margin, t.Margin)
	}
	out.gap = min(max(out.settle/60, minAttemptGap), maxAttemptGap)
	if t != nil && t.Attempt > 0 {
		out.gap = time.Duration(t.Attempt)
	}
	return out
}

// grade says how much a refusal is worth.
type grade uint8

const (
	gradeNothing grade = iota
	gradeSilent
	gradeExplicit
)

// event is one thing that one connection shows.
type event struct {
	conn    *evidence.Connection
	host    netip.Addr
	face    scenario.Face
	outcome outcome
	sni     scenario.Ternary
	grade   grade // of a refusal
	// weak: only the client address ties the connection to this sender, or the
	// name of its slot.
	weak bool
}

func (e event) delivered() bool {
	return e.outcome == deliveredPlaintext || e.outcome == deliveredTLS
}

func (e event) refused() bool { return e.outcome == refusedPlaintext || e.outcome == refusedTLS }

// attempt is a run of connections.
type attempt struct {
	start, end time.Time
	conns      []*evidence.Connection
	events     []event
	complete   bool // it is over
	degraded   bool // our own zone or policy could not be verified meanwhile
}

// byConnection yields the connections of a with their events, which follow each
// other in the same order.
func (a *attempt) byConnection() iter.Seq2[*evidence.Connection, []event] {
	return func(yield func(*evidence.Connection, []event) bool) {
		rest := a.events
		for _, c := range a.conns {
			n := 0
			for n < len(rest) && rest[n].conn == c {
				n++
			}
			if !yield(c, rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// attempts groups the connections of h. The caller sorts them by start.
func attempts(h *evidence.History, t timing) []attempt {
	var out []attempt
	for i := range h.Connections {
		c := &h.Connections[i]
		end := c.End
		if end.Before(c.Start) {
			end = c.Start
		}
		if n := len(out); n == 0 || c.Start.Sub(out[n-1].end) > t.gap {
			out = append(out, attempt{start: c.Start, end: end})
		}
		a := &out[len(out)-1]
		a.conns = append(a.conns, c)
		if end.After(a.end) {
			a.end = end
		}
		a.events = append(a.events, events(h.Test, c)...)
	}
	windows := unverifiable(h.States, t.margin)
	for i := range out {
		a := &out[i]
		a.degraded = windows.overlap(a.start, a.end)
		open := slices.ContainsFunc(a.conns, func(c *evidence.Connection) bool { return c.Ending == evidence.EndingOpen })
		a.complete = h.Until.IsZero() || i < len(out)-1 || !open && h.Until.Sub(a.end) > t.gap
	}
	return out
}

// events reads one connection.
func events(test evidence.Test, c *evidence.Connection) []event {
	base := event{conn: c, host: hostOf(c), weak: tiedByAddress(c)}
	var out []event
	sniHost, sni := sniOf(test, c)
	if c.TLS != nil && helloSeen(c) {
		e := base
		e.outcome, e.sni, e.face = contacted, sni, tlsFace(c, sniHost, destination(c, sniHost))
		out = append(out, e)
	}
	for i := range c.Transactions {
		if e, ok := delivery(test, base, &c.Transactions[i], sniHost, sni); ok {
			out = append(out, e)
		}
	}
	if e, ok := refusal(base, sniHost, sni); ok {
		out = append(out, e)
	}
	return out
}

// tiedByAddress reports whether c was attributed by what others at the address
// of the sender may have as well. Only the sender's mail is told the names of a
// leased slot, but people try them by hand on its mail server, under its EHLO
// name (posttls-finger), and always leave without a mail. So to name the slot
// makes it certain which test c is part of, and not that it is the sender's.
func tiedByAddress(c *evidence.Connection) bool {
	return c.Attribution == evidence.ByAddress || c.Attribution == evidence.BySlot
}

func hostOf(c *evidence.Connection) netip.Addr {
	ap, err := netip.ParseAddrPort(c.Client)
	if err != nil {
		return netip.Addr{} // all connections without a readable client are one host
	}
	return ap.Addr().Unmap()
}

func helloSeen(c *evidence.Connection) bool {
	return c.TLS.SNI != nil || len(c.TLS.ClientVersions) > 0 || c.TLS.Stage != evidence.StageBeforeCertificate
}

// sniOf says which host the client named. A name that is not one of ours says
// nothing about the sender's habit.
func sniOf(test evidence.Test, c *evidence.Connection) (scenario.Host, scenario.Ternary) {
	if c.TLS == nil || !helloSeen(c) {
		return "", scenario.Unknown
	}
	if c.TLS.SNI == nil {
		return "", scenario.No
	}
	t, ok := scenario.Find(test.Zone, *c.TLS.SNI)
	if !ok || t.Slot != test.Slot || t.Role != scenario.RoleMX && t.Role != scenario.RoleUT {
		return "", scenario.Unknown
	}
	return t.Host, scenario.Yes
}

// destination is the domain a connection without recipients was meant for.
func destination(c *evidence.Connection, sni scenario.Host) scenario.Domain {
	if sni != "" {
		return sni.Domain()
	}
	if d := scenario.Domain(c.Destination); d == et || d == ut {
		return d
	}
	return scenario.UnknownDomain
}

func tlsFace(c *evidence.Connection, sni scenario.Host, d scenario.Domain) scenario.Face {
	kind := scenario.Kind(c.TLS.Certificate)
	if sni != "" {
		return scenario.Named(sni, kind)
	}
	return scenario.Default(d, kind)
}

// recipientDomain is the test domain of the recipients of a transaction:
// unknown if they are of both; ok is false if none is ours.
func recipientDomain(test evidence.Test, tx *evidence.Transaction) (d scenario.Domain, ok bool) {
	for _, r := range tx.RcptTo {
		one := domainOf(test, r)
		switch {
		case one == scenario.UnknownDomain:
			continue
		case !ok:
			d, ok = one, true
		case d != one:
			return scenario.UnknownDomain, true
		}
	}
	return d, ok
}

// domainOf returns the test domain of an address.
func domainOf(test evidence.Test, address string) scenario.Domain {
	at := strings.LastIndexByte(address, '@')
	t, ok := scenario.Find(test.Zone, address[at+1:])
	if !ok || t.Slot != test.Slot {
		return scenario.UnknownDomain
	}
	switch t.Role {
	case scenario.RoleET:
		return et
	case scenario.RoleUT:
		return ut
	}
	return scenario.UnknownDomain
}

func delivery(test evidence.Test, base event, tx *evidence.Transaction, sniHost scenario.Host, sni scenario.Ternary) (event, bool) {
	if !tx.Data {
		return event{}, false
	}
	d, ok := recipientDomain(test, tx)
	if !ok {
		return event{}, false
	}
	e := base
	e.weak = false // it carries the sender's own mail
	if !tx.TLS {
		e.outcome, e.sni = deliveredPlaintext, scenario.Unknown
		e.face = scenario.Plaintext(d, base.conn.StartTLSOffered && base.conn.EHLO)
		return e, true
	}
	if base.conn.TLS == nil {
		return event{}, false
	}
	if sniHost != "" && sniHost.Domain() != d {
		// The host says one domain and the recipient another: whose rules the
		// sender applied cannot be known.
		return event{}, false
	}
	e.outcome, e.sni, e.face = deliveredTLS, sni, tlsFace(base.conn, sniHost, d)
	return e, true
}

// refusal reads a connection that ended without MAIL.
func refusal(base event, sniHost scenario.Host, sni scenario.Ternary) (event, bool) {
	c, e := base.conn, base
	if len(c.Transactions) > 0 || c.MailFrom != nil || complained(c) {
		return event{}, false
	}
	d := destination(c, sniHost)
	if c.TLS != nil {
		e.outcome, e.sni, e.face = refusedTLS, sni, tlsFace(c, sniHost, d)
		e.grade = gradeTLS(c)
		return e, e.grade != gradeNothing
	}
	if c.StartTLSOffered && c.EHLO || len(c.Helo) == 0 {
		// It left before it knew, or although it could have had TLS.
		return event{}, false
	}
	e.outcome, e.sni, e.face = refusedPlaintext, scenario.Unknown, scenario.Plaintext(d, false)
	switch c.Ending {
	case evidence.EndingQuit:
		e.grade = gradeExplicit
	case evidence.EndingFIN, evidence.EndingCloseNotify:
		e.grade = gradeSilent
		if c.StartTLS {
			e.grade = gradeExplicit // it asked for TLS although none was offered
		}
	}
	return e, e.grade != gradeNothing
}

func gradeTLS(c *evidence.Connection) grade {
	if c.TLS.Stage == evidence.StageBeforeCertificate || c.TLS.Stage == "" {
		return gradeNothing
	}
	if c.TLS.Alert != nil {
		return gradeAlert(*c.TLS.Alert)
	}
	switch c.Ending {
	case evidence.EndingQuit:
		if c.TLS.Stage == evidence.StageFinished {
			return gradeExplicit
		}
	case evidence.EndingFIN, evidence.EndingCloseNotify:
		return gradeSilent
	}
	return gradeNothing
}

// gradeAlert: only alerts about certificates are a refusal of ours. Others may
// be about versions and algorithms (RFC 8446 §6.2).
func gradeAlert(text string) grade {
	switch text {
	case "bad certificate", "revoked certificate", "expired certificate",
		"unknown certificate", "unknown certificate authority", "bad certificate status response",
		"bad certificate hash value":
		return gradeExplicit
	case "access denied", "handshake failure", "close notify",
		"unsupported certificate", "certificate unobtainable": // perhaps about its kind, not about whose it is
		return gradeSilent
	}
	return gradeNothing
}

// complained reports whether we answered anything with an error, which may be
// why the client left. 454 to a STARTTLS that was not offered is no such
// reason: some senders try that when they need TLS.
func complained(c *evidence.Connection) bool {
	return slices.ContainsFunc(c.Replies, func(code string) bool {
		return code >= "4" && (code != "454" || !c.StartTLS || c.TLS != nil)
	})
}
