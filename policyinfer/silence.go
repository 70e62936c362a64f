package policyinfer

import (
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// minSilentAttempts is how often a sender must have stayed away.
const minSilentAttempts = 3

// silentUT: a mail that names ut was delivered over TLS at a host whose TLSA
// records match, the sender kept coming, and nothing that could have been for
// ut ever came. Connections that were not offered STARTTLS and left could have
// been, but the silence that counts is the one after STARTTLS was offered.
func (l *ledger) silentUT() {
	var first, last time.Time
	var conns []evidence.ConnID
	n, named := 0, false
	for _, a := range l.attempts {
		seen := false
		for _, c := range a.conns {
			if maybeUT(l.test, c) {
				return
			}
		}
		for _, e := range a.events {
			if e.outcome != deliveredTLS || e.sni != scenario.Yes || e.face.TLSA != scenario.TLSAMatch {
				continue
			}
			named = named || namesUT(l.test, e.conn)
			seen = seen || named
			conns = append(conns, e.conn.ID)
		}
		if !seen || !a.complete {
			continue
		}
		if n++; n == 1 {
			first = a.start
		}
		last = a.start
	}
	if named && n >= minSilentAttempts && last.Sub(first) >= l.t.silence {
		l.add(observation{face: scenario.Face{Domain: ut, Host: scenario.UT}, outcome: neverAtUT}, conns...)
	}
}

// maybeUT reports whether c could have been for ut.
func maybeUT(test evidence.Test, c *evidence.Connection) bool {
	if host, sni := sniOf(test, c); sni == scenario.Yes && host != scenario.UT {
		return false
	}
	if c.Destination == string(et) && len(c.RcptTo) > 0 {
		return false
	}
	if c.TLS != nil || c.StartTLS || len(c.Transactions) > 0 || len(c.RcptTo) > 0 {
		return true
	}
	return c.StartTLSOffered
}

// silentMX03: mx03 was the most preferred host for longer than its TTL and a
// minute while the sender came, and it went elsewhere, to the most preferred
// of the others: it knew the order.
func (l *ledger) silentMX03(states []evidence.State) {
	var first, last time.Time
	var conns []evidence.ConnID
	n := 0
	for _, a := range l.attempts {
		for _, e := range a.events {
			if e.outcome == contacted && (e.face.Host == scenario.MX03 || e.sni != scenario.Yes && e.face.Domain != ut) {
				return
			}
		}
		next, ok := mostPreferredAfterMX03(states, a, l.t.margin)
		if !ok || !a.complete {
			continue
		}
		for _, e := range a.events {
			if e.outcome != contacted || e.face.Domain != et {
				continue
			}
			if e.face.Host == next {
				if n++; n == 1 {
					first = a.start
				}
				last = a.start
				conns = append(conns, e.conn.ID)
			}
			break // only the first contact shows the order that the sender used
		}
	}
	if n >= minSilentAttempts && last.Sub(first) >= l.t.silence {
		l.add(observation{face: scenario.Face{Domain: et, Host: scenario.MX03}, outcome: neverAtMX03}, conns...)
	}
}

// mostPreferredAfterMX03 returns the second most preferred host if mx03 was,
// for certain and alone, the most preferred during the whole attempt.
func mostPreferredAfterMX03(states []evidence.State, a attempt, margin time.Duration) (scenario.Host, bool) {
	var at *evidence.State
	for i := range states {
		s := &states[i]
		if len(s.MX) == 0 {
			continue
		}
		if s.Time.After(a.end) {
			break
		}
		if s.Time.After(a.start) {
			return "", false // it changed meanwhile
		}
		if at == nil || !sameOrder(at, s) {
			at = s
		}
	}
	if at == nil || a.start.Sub(at.Time) < margin {
		return "", false
	}
	var second scenario.Host
	best, unique := 0, false
	for _, h := range scenario.MXHosts()[1:] {
		p := at.MX[string(h)]
		if p <= at.MX[string(scenario.MX03)] {
			return "", false
		}
		switch {
		case second == "" || p < best:
			second, best, unique = h, p, true
		case p == best:
			unique = false
		}
	}
	return second, unique
}

func sameOrder(a, b *evidence.State) bool {
	for _, h := range scenario.MXHosts() {
		if a.MX[string(h)] != b.MX[string(h)] {
			return false
		}
	}
	return true
}
