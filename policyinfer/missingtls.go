package policyinfer

import (
	"fmt"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// What a sender does with a mail that needs TLS when no MX offers it cannot be
// told from what a connection shows, since it is about what comes later. So no
// observation eliminates it; it is told here, from the fate of one mail.

// letter is one mail, by Message-ID.
type letter struct {
	id        string
	date      time.Time
	names     map[scenario.Domain]bool // in its header, or as a recipient
	delivered map[scenario.Domain][]event
	utInPlain []event // copies for ut that came without TLS, where it was withheld
}

// letters gathers the mails that were transferred, in order.
func letters(test evidence.Test, as []attempt) []*letter {
	var out []*letter
	for _, a := range as {
		for _, c := range a.conns {
			for i := range c.Transactions {
				tx := &c.Transactions[i]
				d, ok := recipientDomain(test, tx)
				if !tx.Data || tx.MessageID == "" || !ok || d == scenario.UnknownDomain {
					continue
				}
				j := slices.IndexFunc(out, func(m *letter) bool { return m.id == tx.MessageID })
				if j < 0 {
					j = len(out)
					out = append(out, &letter{id: tx.MessageID, names: make(map[scenario.Domain]bool), delivered: make(map[scenario.Domain][]event)})
				}
				m, ev := out[j], event{conn: c, host: hostOf(c)}
				for _, of := range []scenario.Domain{et, ut} {
					m.names[of] = m.names[of] || d == of || names(test, tx.Addressed, of)
				}
				if tx.Message != nil {
					m.date = tx.Message.Date
				}
				if tx.TLS {
					m.delivered[d] = append(m.delivered[d], ev)
				} else if d == ut && !c.StartTLSOffered {
					m.utInPlain = append(m.utInPlain, ev)
				}
			}
		}
	}
	return out
}

// needsTLS: all candidates leave et where STARTTLS is not offered. handsUT: ut
// gets its mail then, so that a host that left was at et.
func (e *Engine) needsTLS(r result) (needs, handsUT bool) {
	needs = e.every(r, func(p Policy) bool { return !p.deliversPlaintext(et, true) })
	return needs, r.handedInPlaintext(ut) || e.every(r, func(p Policy) bool { return p.deliversPlaintext(ut, true) })
}

// withoutTLS returns the part of that name: retry or bounce if it is shown.
func (e *Engine) withoutTLS(h *evidence.History, t timing, r result) string {
	if r.mixed || r.candidates.empty() || len(r.findings) > 0 {
		return Unknown
	}
	needs, handsUT := e.needsTLS(r)
	if !needs {
		return Unknown
	}
	if _, ok := e.bouncedAtOnce(h, t, r); ok {
		return "bounce"
	}
	if retried(h.Test, r.attempts, handsUT) {
		return "retry"
	}
	return Unknown
}

// leftWithout returns what host left in attempt a because STARTTLS was not
// offered, as far as it said so, and was the sender: under its own EHLO name.
func leftWithout(l *ledger, a attempt, host event) (out []event) {
	if !a.complete || a.degraded {
		return nil
	}
	for _, e := range a.events {
		if e.outcome == refusedPlaintext && e.grade == gradeExplicit && e.host == host.host && (!e.weak || l.saysItsName(e)) {
			out = append(out, e)
		}
	}
	return out
}

// retried reports whether a mail outlived that STARTTLS was withheld from it:
// its host left for that reason while it had the mail, and delivered every
// copy later. It had the mail if it handed its copy for ut over in the same
// attempt, or if the mail was written before: since people write again after a
// bounce and clocks go wrong, it must then have left in two attempts. There
// must be no other mail, which it could have left for.
func retried(test evidence.Test, as []attempt, handsUT bool) bool {
	mails := letters(test, as)
	if len(mails) != 1 || test.LeftOut > 0 || len(mails[0].delivered[et]) == 0 {
		return false
	}
	m, last := mails[0], mails[0].delivered[et][0]
	if !handsUT && m.names[ut] {
		// What it left may have been ut: that copy must have come, too.
		if len(m.delivered[ut]) == 0 {
			return false
		}
		if other := m.delivered[ut][0]; other.host != last.host {
			return false
		} else if other.conn.Start.Before(last.conn.Start) {
			last = other
		}
	}
	l := &ledger{met: deliveriesByHost(as)}
	before := 0
	for _, a := range as {
		left := leftWithout(l, a, last)
		if !a.end.Before(last.conn.Start) || len(left) == 0 || slices.ContainsFunc(a.events, plaintextToET) {
			continue
		}
		sure := slices.ContainsFunc(left, func(e event) bool { return !e.weak })
		if handsUT && (sure || noneLost(a, left)) && slices.ContainsFunc(m.utInPlain, func(e event) bool {
			return e.host == last.host && slices.Contains(a.conns, e.conn)
		}) {
			return true
		}
		if sure && !m.date.IsZero() && a.start.After(m.date.Add(dateSkew)) {
			before++
		}
	}
	return before >= 2
}

// plaintextToET: a lazy sender that has no policy yet; who left was another.
func plaintextToET(e event) bool {
	return e.outcome == deliveredPlaintext && e.face.Domain != ut
}

// noneLost reports whether every connection of attempt a without MAIL is one
// of those that left. Else one that broke off may be the sender's try, and
// what left somebody else's under its name.
func noneLost(a attempt, left []event) bool {
	return !slices.ContainsFunc(a.conns, func(c *evidence.Connection) bool {
		return len(c.Transactions) == 0 && !slices.ContainsFunc(left, func(e event) bool { return e.conn == c })
	})
}

// bouncedAtOnce reports a mail whose copy for et was given up when STARTTLS was
// withheld: its host left et in the attempt in which it handed the copy for ut
// over in plaintext, and went on trying the copy for ut, but never again
// anything that could have been the one for et. This rests on absence, so it
// takes what silence takes.
func (e *Engine) bouncedAtOnce(h *evidence.History, t timing, r result) (Finding, bool) {
	needs, handsUT := e.needsTLS(r)
	if !needs || !handsUT || h.Test.LeftOut > 0 || r.leftOut > 0 {
		return Finding{}, false
	}
	var l *ledger
	for _, m := range letters(h.Test, r.attempts) {
		if !m.names[et] || !m.names[ut] || len(m.utInPlain) == 0 || len(m.delivered[et]) > 0 {
			continue
		}
		if l == nil {
			l = &ledger{met: deliveriesByHost(r.attempts)}
		}
		if conns, span := gaveUp(h.Test, l, r.attempts, m); len(conns) > 0 && span >= t.silence {
			lasted := span.Round(time.Second).String()
			return Finding{
				ID: FindingBounced, Connections: conns, Args: map[string]string{ArgSpan: lasted},
				Text: fmt.Sprintf("The mail for et was given up after the first attempt, when encryption was not offered: it was not tried again, while its copy for ut was tried for %s more. "+
					"An attacker can so make mail bounce; it should wait and be tried again.", lasted),
			}, true
		}
	}
	return Finding{}, false
}

// gaveUp returns the connections that show it, and for how long ut was tried
// without et.
func gaveUp(test evidence.Test, l *ledger, as []attempt, m *letter) (conns []evidence.ConnID, span time.Duration) {
	left := -1
	attempts := 0
	var first, last time.Time
	for i, a := range as {
		if left < 0 {
			for _, plain := range m.utInPlain {
				if !slices.Contains(a.conns, plain.conn) {
					continue
				}
				for _, e := range leftWithout(l, a, plain) {
					left, conns = i, appendCited(conns, e.conn.ID)
				}
			}
			continue
		}
		if slices.ContainsFunc(a.conns, func(c *evidence.Connection) bool { return maybeET(test, c, m.id) }) {
			return nil, 0
		}
		came := slices.IndexFunc(m.delivered[ut], func(e event) bool { return slices.Contains(a.conns, e.conn) })
		if came < 0 || !a.complete {
			continue
		}
		if attempts++; attempts == 1 {
			first = a.start
		}
		last = a.start
		conns = appendCited(conns, m.delivered[ut][came].conn.ID)
	}
	if left < 0 || attempts < minSilentAttempts {
		return nil, 0
	}
	return conns, last.Sub(first)
}

// maybeET reports whether c could have been for et with the mail id.
func maybeET(test evidence.Test, c *evidence.Connection, id string) bool {
	if len(c.Transactions) == 0 {
		host, sni := sniOf(test, c)
		return (sni != scenario.Yes || host != scenario.UT) && c.Destination != string(ut)
	}
	return slices.ContainsFunc(c.Transactions, func(tx evidence.Transaction) bool {
		d, ok := recipientDomain(test, &tx)
		return (!ok || d != ut) && (!tx.Data || tx.MessageID == "" || tx.MessageID == id)
	})
}
