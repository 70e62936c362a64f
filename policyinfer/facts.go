package policyinfer

import (
	"net/netip"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// fact is an observation that counts, with the connections that show it.
type fact struct {
	observation
	conns []evidence.ConnID
}

// ledger collects the facts of a run of attempts.
type ledger struct {
	test     evidence.Test
	t        timing
	all      []evidence.Connection    // of the whole history
	attempts []attempt                // those that are read
	first    map[netip.Addr]time.Time // first contact of each host to et
	facts    []fact
	index    map[observation]int
	met      map[netip.Addr]*host
	atET     map[string]bool // Message-IDs of mails that et got
	owned    map[*evidence.Connection]ownership
}

// read turns attempts into facts. silence: absence of contact may count.
func read(h *evidence.History, t timing, as []attempt, silence bool) *ledger {
	l := &ledger{test: h.Test, t: t, all: h.Connections, attempts: as, index: make(map[observation]int)}
	l.met = deliveriesByHost(as)
	l.atET = mailsAtET(as)
	l.owned = l.ownerships(h.States)
	l.first = l.firstContacts()
	l.deliveries()
	l.plaintextThoughOffered()
	l.contacts()
	l.refusals()
	if silence && h.Test.LeftOut == 0 {
		l.silentUT()
		l.silentMX03(h.States)
	}
	return l
}

func (l *ledger) add(o observation, conns ...evidence.ConnID) {
	i, ok := l.index[o]
	if !ok {
		i = len(l.facts)
		l.index[o] = i
		l.facts = append(l.facts, fact{observation: o})
	}
	f := &l.facts[i]
	for _, c := range conns {
		if !slices.Contains(f.conns, c) && len(f.conns) < maxCited {
			f.conns = append(f.conns, c)
		}
	}
}

// maxCited bounds the connections that one fact names.
const maxCited = 50

// firstContacts is when each host first met et for certain: a lazy sender
// fetches its policy from then on, and its hosts need not share what they know.
// A contact that may have been for ut counts only if a mail names both domains,
// so that both were tried together, and the sender has no other host, which may
// have carried the copy for et; one that only the address ties to the
// sender does not: it may be of another, and this host come later.
func (l *ledger) firstContacts() map[netip.Addr]time.Time {
	as := l.attempts
	both, hosts := false, make(map[netip.Addr]bool)
	for i := range l.all {
		c := &l.all[i]
		both = both || namesUT(l.test, c.Addressed) && names(l.test, c.Addressed, et)
		hosts[hostOf(c)] = true
	}
	both = both && len(hosts) == 1
	out := make(map[netip.Addr]time.Time)
	for _, a := range as {
		for _, e := range a.events {
			_, met := out[e.host]
			switch {
			case met || e.weak:
			case e.face.Domain == et:
				out[e.host] = e.conn.Start
			case both && e.face.Domain == scenario.UnknownDomain:
				out[e.host] = a.end // et may have come last
			}
		}
	}
	return out
}

func namesUT(test evidence.Test, addressed []string) bool { return names(test, addressed, ut) }

func names(test evidence.Test, addressed []string, d scenario.Domain) bool {
	return slices.ContainsFunc(addressed, func(a string) bool { return domainOf(test, a) == d })
}

// early reports whether a host of a lazy sender may still be without policy in
// attempt i: it is less than settle after its first contact. The first attempt
// of all may have been for ut alone.
func (l *ledger) early(i int, host netip.Addr) bool {
	first, ok := l.first[host]
	return i == 0 || !ok || l.attempts[i].start.Before(first.Add(l.t.settle))
}

func (l *ledger) deliveries() {
	for i, a := range l.attempts {
		for _, e := range a.events {
			if !e.delivered() {
				continue
			}
			l.add(observation{
				face: e.face, outcome: e.outcome, sni: e.sni, early: l.early(i, e.host), degraded: a.degraded,
				afterFailure: e.outcome == deliveredPlaintext && e.face.StartTLS,
			}, e.conn.ID)
		}
	}
}

// triedTLS returns the hosts that ever tried TLS, also in attempts that are not
// read. Where ut got its mail inside TLS, that says nothing about et.
func (l *ledger) triedTLS() map[netip.Addr]bool {
	out := make(map[netip.Addr]bool)
	for i := range l.all {
		c := &l.all[i]
		servedUT := c.TLS != nil && c.Destination == string(ut) && len(c.Transactions) > 0
		if (c.StartTLS || c.TLS != nil) && !servedUT {
			out[hostOf(c)] = true
		}
	}
	return out
}

// plaintextThoughOffered tells a sender that never uses TLS from one that
// falls back to plaintext after its TLS failed. That no TLS was tried is
// absence, so it must have been so in two attempts of a host, and at no other
// time: some remember where TLS failed.
func (l *ledger) plaintextThoughOffered() {
	if l.test.LeftOut > 0 {
		return // what was left out may have tried TLS
	}
	type seen struct {
		early, degraded bool
		attempts, last  int
		conns           []evidence.ConnID
	}
	plain := make(map[place]*seen)
	var order []place
	tried := l.triedTLS()
	for i, a := range l.attempts {
		if !a.complete {
			continue
		}
		for _, e := range a.events {
			if e.outcome != deliveredPlaintext || !e.face.StartTLS || tried[e.host] {
				continue
			}
			at := place{host: e.host, face: e.face}
			s := plain[at]
			if s == nil {
				s = &seen{last: -1}
				plain[at] = s
				order = append(order, at)
			}
			if s.last != i {
				s.last = i
				s.attempts++
				s.early, s.degraded = s.early || l.early(i, e.host), s.degraded || a.degraded
			}
			s.conns = append(s.conns, e.conn.ID)
		}
	}
	for _, at := range order {
		if s := plain[at]; s.attempts >= 2 {
			l.add(observation{face: at.face, outcome: deliveredPlaintext, sni: scenario.Unknown, early: s.early, degraded: s.degraded}, s.conns...)
		}
	}
}
