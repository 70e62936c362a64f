package policyinfer

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
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
	attempts []attempt
	first    time.Time // first contact to et
	facts    []fact
	index    map[observation]int
}

// read turns attempts into facts. silence: absence of contact may count.
func read(h *evidence.History, t timing, as []attempt, silence bool) *ledger {
	l := &ledger{test: h.Test, t: t, attempts: as, index: make(map[observation]int)}
	l.first = firstContact(h.Test, as)
	l.deliveries()
	l.plaintextThoughOffered()
	l.contacts()
	l.refusals()
	if silence {
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

// firstContact is when the sender first met et for certain: a lazy sender
// fetches its policy from then on. A contact that may have been for ut counts
// only if a mail names both domains, so that both were tried together.
func firstContact(test evidence.Test, as []attempt) time.Time {
	both := false
	for _, a := range as {
		for _, c := range a.conns {
			both = both || namesUT(test, c.Addressed) && names(test, c.Addressed, et)
		}
	}
	for _, a := range as {
		for _, e := range a.events {
			if both || e.face.Domain == et {
				return a.start
			}
		}
	}
	return time.Time{}
}

func namesUT(test evidence.Test, addressed []string) bool { return names(test, addressed, ut) }

func names(test evidence.Test, addressed []string, d scenario.Domain) bool {
	return slices.ContainsFunc(addressed, func(a string) bool { return domainOf(test, a) == d })
}

// early reports whether a lazy sender may still be without policy in attempt
// i: it is its first, or less than settle after the first contact.
func (l *ledger) early(i int) bool {
	return i == 0 || l.first.IsZero() || l.attempts[i].start.Before(l.first.Add(l.t.settle))
}

func (l *ledger) deliveries() {
	for i, a := range l.attempts {
		for _, e := range a.events {
			if !e.delivered() {
				continue
			}
			l.add(observation{
				face: e.face, outcome: e.outcome, sni: e.sni, early: l.early(i),
				afterFailure: e.outcome == deliveredPlaintext && e.face.StartTLS,
			}, e.conn.ID)
		}
	}
}

// plaintextThoughOffered tells a sender that never uses TLS from one that
// falls back to plaintext after its TLS failed. That no TLS was tried is
// absence, so it must have been so in two attempts.
func (l *ledger) plaintextThoughOffered() {
	type seen struct {
		early    bool
		attempts int
		conns    []evidence.ConnID
	}
	plain := make(map[scenario.Face]*seen)
	var order []scenario.Face
	for i, a := range l.attempts {
		if !a.complete {
			continue
		}
		tried := slices.ContainsFunc(a.conns, func(c *evidence.Connection) bool { return c.StartTLS })
		counted := make(map[scenario.Face]bool)
		for _, e := range a.events {
			if tried || e.outcome != deliveredPlaintext || !e.face.StartTLS {
				continue
			}
			s := plain[e.face]
			if s == nil {
				s = &seen{}
				plain[e.face] = s
				order = append(order, e.face)
			}
			if !counted[e.face] {
				counted[e.face] = true
				s.attempts++
				s.early = s.early || l.early(i)
			}
			s.conns = append(s.conns, e.conn.ID)
		}
	}
	for _, f := range order {
		if s := plain[f]; s.attempts >= 2 {
			l.add(observation{face: f, outcome: deliveredPlaintext, sni: scenario.Unknown, early: s.early}, s.conns...)
		}
	}
}

// contacts records the use of TLS and SNI, whatever came of it. A connection
// that only its client address ties to the sender counts if that host also
// delivered over TLS for this sender.
func (l *ledger) contacts() {
	strong := l.deliveredTLS()
	for i, a := range l.attempts {
		for _, e := range a.events {
			if e.outcome == contacted && (!e.weak || strong[e.host]) {
				l.add(observation{face: e.face, outcome: contacted, sni: e.sni, early: l.early(i)}, e.conn.ID)
			}
		}
	}
}

// deliveredTLS returns the hosts that delivered something over TLS.
func (l *ledger) deliveredTLS() map[netip.Addr]bool {
	out := make(map[netip.Addr]bool)
	for _, a := range l.attempts {
		for _, e := range a.events {
			if e.outcome == deliveredTLS {
				out[e.host] = true
			}
		}
	}
	return out
}

// place is a face as one host met it.
type place struct {
	host netip.Addr
	face scenario.Face
	sni  scenario.Ternary
	out  outcome
	weak bool // only the client address ties it to the sender
}

// tally counts, for one place, the attempts in which it was refused.
type tally struct {
	explicit, silent int
	late             struct{ explicit, silent int } // of these, not early
	conns            []evidence.ConnID
}

func (l *ledger) refusals() {
	tallies := make(map[place]*tally)
	var order []place
	for i, a := range l.attempts {
		if !a.complete {
			continue // a delivery may still follow
		}
		anchored := slices.ContainsFunc(a.events, func(e event) bool { return e.delivered() })
		for p, r := range refusedIn(a) {
			if p.weak && !anchored && p.out == refusedTLS {
				continue // another sender behind the same address may have come alone
			}
			t := tallies[p]
			if t == nil {
				t = &tally{}
				tallies[p] = t
				order = append(order, p)
			}
			t.count(r.grade, l.early(i))
			t.conns = append(t.conns, r.conns...)
		}
	}
	slices.SortStableFunc(order, comparePlaces)
	strong, good := l.deliveredTLS(), l.badGoodFaces(tallies)
	for _, p := range order {
		t := tallies[p]
		if isGood(p.face) || good[goodFaceFor(p)] {
			continue
		}
		here := l.deliveredAt(p)
		if p.weak && here {
			continue // more likely somebody else's than a change of this sender
		}
		once := strong[p.host] && (!p.weak || p.out == refusedPlaintext)
		o := observation{face: p.face, outcome: p.out, sni: p.sni}
		switch {
		case counts(t.late.explicit, t.late.silent, once, here):
			l.add(o, t.conns...)
		case counts(t.explicit, t.silent, once, here):
			o.early = true
			l.add(o, t.conns...)
		}
	}
}

// counts is the rule of grades. once: one explicit refusal may suffice, since
// the host delivered over TLS elsewhere, and it is certain whose refusal it
// was. Where the same host delivered at another time it needs two attempts.
func counts(explicit, silent int, once, deliveredHere bool) bool {
	switch {
	case explicit >= 2:
		return true
	case deliveredHere:
		return false
	case explicit == 1 && once:
		return true
	}
	return explicit+silent >= 2
}

func (t *tally) count(g grade, early bool) {
	add := func(explicit, silent *int) {
		if g == gradeExplicit {
			*explicit++
		} else {
			*silent++
		}
	}
	add(&t.explicit, &t.silent)
	if !early {
		add(&t.late.explicit, &t.late.silent)
	}
}

type refused struct {
	grade grade
	conns []evidence.ConnID
}

// refusedIn returns what was refused in an attempt and not delivered there as
// well: some senders abort, reconnect without verification and deliver.
func refusedIn(a attempt) map[place]refused {
	out := make(map[place]refused)
	for _, e := range a.events {
		if !e.refused() || slices.ContainsFunc(a.events, func(d event) bool { return overrides(d, e) }) {
			continue
		}
		p := place{e.host, e.face, e.sni, e.outcome, e.weak}
		r := out[p]
		r.grade = max(r.grade, e.grade)
		r.conns = append(r.conns, e.conn.ID)
		out[p] = r
	}
	return out
}

// overrides reports whether delivery d shows that refusal r was none: same
// face and channel, where a domain that is not known may be the same.
func overrides(d, r event) bool {
	switch {
	case d.outcome == deliveredTLS && r.outcome == refusedTLS:
		if d.face == r.face {
			return true
		}
		return r.sni != scenario.Yes && d.sni != scenario.Yes && r.face.Domain == scenario.UnknownDomain && d.face.Certificate == r.face.Certificate
	case d.outcome == deliveredPlaintext && r.outcome == refusedPlaintext:
		// A sender that gives et its mail in plaintext gives it to ut, too; the
		// reverse does not hold.
		return d.face.Domain == r.face.Domain || r.face.Domain == scenario.UnknownDomain && d.face.Domain != ut
	}
	return false
}

func comparePlaces(a, b place) int {
	if c := a.host.Compare(b.host); c != 0 {
		return c
	}
	key := func(p place) string {
		return fmt.Sprint(p.face.Domain, p.face.Host, p.face.Certificate, p.face.StartTLS, p.sni, p.out, p.weak)
	}
	return strings.Compare(key(a), key(b))
}

func (l *ledger) deliveredAt(p place) bool {
	for _, a := range l.attempts {
		for _, e := range a.events {
			if e.host == p.host && e.delivered() && overrides(e, event{face: p.face, outcome: p.out, sni: p.sni}) {
				return true
			}
		}
	}
	return false
}

// isGood reports whether every policy of the model that comes to f delivers
// there. A refusal of it has a reason that we don't know.
func isGood(f scenario.Face) bool {
	switch f.Host {
	case scenario.MX06:
		return true
	case scenario.UT, "":
		return f.Certificate.Trusted()
	}
	return false
}

// goodFaceFor is the good face whose refusal, without any delivery there,
// makes refusals at p meaningless: the sender dislikes something else.
func goodFaceFor(p place) place {
	if p.out != refusedTLS {
		return place{}
	}
	g := place{host: p.host, sni: p.sni, out: refusedTLS}
	switch p.face.Host {
	case scenario.MX03, scenario.MX04, scenario.MX05:
		g.face.Host = scenario.MX06
	case scenario.UT:
		if p.sni == scenario.Yes {
			g.face.Host = scenario.UT
		}
	}
	return g
}

// badGoodFaces returns the good faces that were refused and never delivered
// at, reduced to the form of goodFaceFor.
func (l *ledger) badGoodFaces(tallies map[place]*tally) map[place]bool {
	out := make(map[place]bool)
	for p := range tallies {
		if p.out == refusedTLS && isGood(p.face) && !l.deliveredAtGood(p) {
			out[place{host: p.host, sni: p.sni, out: refusedTLS, face: scenario.Face{Host: named(p)}}] = true
		}
	}
	return out
}

// named is the host that SNI told; Default faces of ut carry a host without it.
func named(p place) scenario.Host {
	if p.sni == scenario.Yes {
		return p.face.Host
	}
	return ""
}

// deliveredAtGood: without SNI, a delivery to either domain shows that the
// default certificate from the public CA is accepted.
func (l *ledger) deliveredAtGood(p place) bool {
	for _, a := range l.attempts {
		for _, e := range a.events {
			if e.host == p.host && e.outcome == deliveredTLS && e.sni == p.sni && isGood(e.face) &&
				(p.sni != scenario.Yes || e.face.Host == p.face.Host) {
				return true
			}
		}
	}
	return false
}
