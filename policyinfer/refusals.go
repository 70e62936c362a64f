package policyinfer

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// maxHelo bounds the EHLO names that are remembered of one host.
const maxHelo = 100

// host is what a host of the sender certainly did.
type host struct {
	delivered []event // one for each face, channel and SNI
	tls       bool    // something was delivered over TLS
	helo      map[string]bool
}

// deliveriesByHost gathers what is certain: who handed over mail, and where.
func deliveriesByHost(as []attempt) map[netip.Addr]*host {
	out := make(map[netip.Addr]*host)
	for _, a := range as {
		for _, e := range a.events {
			if !e.delivered() {
				continue
			}
			h := out[e.host]
			if h == nil {
				h = &host{helo: make(map[string]bool)}
				out[e.host] = h
			}
			h.delivered = appendDistinct(h.delivered, e)
			h.tls = h.tls || e.outcome == deliveredTLS
			for _, name := range e.conn.Helo {
				if len(h.helo) < maxHelo {
					h.helo[strings.ToLower(name)] = true
				}
			}
		}
	}
	return out
}

func appendDistinct(to []event, e event) []event {
	if slices.ContainsFunc(to, func(d event) bool {
		return d.host == e.host && d.face == e.face && d.outcome == e.outcome && d.sni == e.sni
	}) {
		return to
	}
	return append(to, e)
}

// at returns what is certain about a host; never nil.
func (l *ledger) at(addr netip.Addr) *host {
	if h := l.met[addr]; h != nil {
		return h
	}
	return &host{}
}

// contacts records the use of TLS and SNI, whatever came of it. A connection
// that only its client address ties to the sender may be a scanner's.
func (l *ledger) contacts() {
	for i, a := range l.attempts {
		for _, e := range a.events {
			if e.outcome == contacted && !e.weak {
				l.add(observation{face: e.face, outcome: contacted, sni: e.sni, early: l.early(i, e.host), degraded: a.degraded}, e.conn.ID)
			}
		}
	}
}

// place is a face as one host met it.
type place struct {
	host netip.Addr
	face scenario.Face
	sni  scenario.Ternary
	out  outcome
	weak bool // only the client address ties it to the sender, and no walk does
}

// tally counts, for one place, the attempts in which it was refused.
type tally struct {
	explicit, silent int
	sure             struct{ explicit, silent int } // of these, neither early nor degraded
	early, degraded  bool                           // some of them were
	conns            []evidence.ConnID
}

func (l *ledger) refusals() {
	tallies, order := l.tally()
	bad := l.badGoodFaces(tallies)
	for _, p := range order {
		t := tallies[p]
		if isGood(p.face) || l.blocked(p, bad) {
			continue
		}
		here := l.deliveredAt(p)
		if p.weak && l.deliveredByAny(p) {
			continue // more likely somebody else's than a change of this sender
		}
		once := l.at(p.host).tls && (!p.weak || p.out == refusedPlaintext)
		o := observation{face: p.face, outcome: p.out, sni: p.sni, doubtful: p.weak && p.face.Host == scenario.MX03}
		switch {
		case counts(t.sure.explicit, t.sure.silent, once, here):
			l.add(o, t.conns...)
		case counts(t.explicit, t.silent, once, here):
			o.early, o.degraded = t.early, t.degraded
			l.add(o, t.conns...)
		}
	}
}

// tally counts the refusals of each place, over the attempts that are over: in
// another a delivery may still follow.
func (l *ledger) tally() (tallies map[place]*tally, order []place) {
	tallies = make(map[place]*tally)
	for i, a := range l.attempts {
		if !a.complete {
			continue
		}
		anchored, cut := l.anchored(a), cutOff(a)
		for p, r := range l.refusedIn(a) {
			if p.weak && p.out == refusedTLS && !isGood(p.face) && (!l.at(p.host).tls || !anchored[p.host]) {
				continue // another may have come alone, or the copy for et have bounced
			}
			if p.weak && cut {
				continue // that may have been this sender, and the refusal another's
			}
			t := tallies[p]
			if t == nil {
				t = &tally{}
				tallies[p] = t
				order = append(order, p)
			}
			t.count(r.grade, l.early(i, p.host), a.degraded)
			t.conns = append(t.conns, r.conns...)
		}
	}
	slices.SortFunc(order, comparePlaces)
	return tallies, order
}

// anchored returns the hosts that, in this attempt, handed over a mail that et
// got, too, now or at another time: its copy for et was being tried from there.
func (l *ledger) anchored(a attempt) map[netip.Addr]bool {
	out := make(map[netip.Addr]bool)
	for c, events := range a.byConnection() {
		if slices.ContainsFunc(events, event.delivered) && slices.ContainsFunc(c.Transactions, func(tx evidence.Transaction) bool {
			return tx.Data && l.atET[tx.MessageID]
		}) {
			out[events[0].host] = true
		}
	}
	return out
}

// mailsAtET returns the Message-IDs of what was handed over to et.
func mailsAtET(as []attempt) map[string]bool {
	out := make(map[string]bool)
	for _, a := range as {
		for c, events := range a.byConnection() {
			if slices.ContainsFunc(events, func(e event) bool { return e.delivered() && e.face.Domain == et }) {
				for _, tx := range c.Transactions {
					out[tx.MessageID] = out[tx.MessageID] || tx.Data
				}
			}
		}
	}
	return out
}

// cutOff reports whether a connection, perhaps to et, ended before it showed
// what it would have done.
func cutOff(a attempt) bool {
	for c, events := range a.byConnection() {
		if len(c.Transactions) == 0 && c.Destination != string(ut) && !slices.ContainsFunc(events, event.refused) {
			return true
		}
	}
	return false
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

func (t *tally) count(g grade, early, degraded bool) {
	add := func(explicit, silent *int) {
		if g == gradeExplicit {
			*explicit++
		} else {
			*silent++
		}
	}
	add(&t.explicit, &t.silent)
	if !early && !degraded {
		add(&t.sure.explicit, &t.sure.silent)
	}
	t.early, t.degraded = t.early || early, t.degraded || degraded
}

type refused struct {
	grade grade
	conns []evidence.ConnID
}

// refusedIn returns what was refused in an attempt and not delivered there as
// well: some senders abort, reconnect without verification and deliver.
func (l *ledger) refusedIn(a attempt) map[place]refused {
	delivered := make(map[netip.Addr][]event)
	for _, e := range a.events {
		if e.delivered() {
			delivered[e.host] = appendDistinct(delivered[e.host], e)
		}
	}
	accepted := a.mayHaveAccepted()
	out := make(map[place]refused)
	for _, e := range a.events {
		if !e.refused() || reconnected(e, accepted[e.host]) || slices.ContainsFunc(delivered[e.host], func(d event) bool { return overrides(d, e) }) {
			continue
		}
		if e.weak && !isGood(e.face) && (!l.saysItsName(e) || l.strays(e)) {
			continue
		}
		p := place{e.host, e.face, e.sni, e.outcome, e.weak && l.owned[e.conn] != proven}
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

// reconnected reports whether the sender did what some do at once after they
// have aborted a handshake: connect again and not verify. They do so at the same
// host, but a certificate that varies may be another one by then. accepted is
// what this host may have accepted in the same attempt.
func reconnected(r event, accepted []event) bool {
	const atOnce = 2 * time.Second
	if r.outcome != refusedTLS || r.conn.TLS.Stage != evidence.StageCertificate {
		return false
	}
	next := sort.Search(len(accepted), func(i int) bool { return !accepted[i].conn.Start.Before(r.conn.Start) })
	for _, d := range accepted[next:] {
		if d.conn.Start.Sub(r.conn.End) > atOnce {
			break
		}
		if !d.delivered() || d.sni == r.sni && d.face.Host == r.face.Host && (d.face.Domain == r.face.Domain || r.face.Domain == scenario.UnknownDomain) {
			return true
		}
	}
	return false
}

// mayHaveAccepted returns, in order of time, what each host handed over inside
// TLS, and an event without outcome for a connection that was cut off before
// that could be known.
func (a *attempt) mayHaveAccepted() map[netip.Addr][]event {
	out := make(map[netip.Addr][]event)
	for c, events := range a.byConnection() {
		told := false
		for _, e := range events {
			told = told || e.delivered() || e.refused()
			if e.outcome == deliveredTLS {
				out[e.host] = append(out[e.host], e)
			}
		}
		if !told {
			addr := hostOf(c)
			out[addr] = append(out[addr], event{conn: c, host: addr})
		}
	}
	return out
}

// saysItsName reports whether a client that only its address ties to the
// sender says EHLO with a name that the sender's mails came with from there: a
// health check or a scanner seldom does. It never ties a connection to a
// sender, it only raises doubt.
func (l *ledger) saysItsName(e event) bool {
	known := l.at(e.host).helo
	return slices.ContainsFunc(e.conn.Helo, func(name string) bool { return known[strings.ToLower(name)] })
}

func comparePlaces(a, b place) int {
	weak := func(p place) int {
		if p.weak {
			return 1
		}
		return 0
	}
	offered := func(p place) int {
		if p.face.StartTLS {
			return 1
		}
		return 0
	}
	return cmp.Or(a.host.Compare(b.host), cmp.Compare(a.face.Domain, b.face.Domain), cmp.Compare(a.face.Host, b.face.Host),
		cmp.Compare(a.face.Certificate, b.face.Certificate), offered(a)-offered(b), cmp.Compare(a.face.TLSA, b.face.TLSA),
		cmp.Compare(a.face.InPolicy, b.face.InPolicy), cmp.Compare(a.sni, b.sni), cmp.Compare(a.out, b.out), weak(a)-weak(b))
}

func (l *ledger) deliveredAt(p place) bool {
	r := event{face: p.face, outcome: p.out, sni: p.sni}
	return slices.ContainsFunc(l.at(p.host).delivered, func(d event) bool { return overrides(d, r) })
}

// deliveredByAny reports whether any host of the sender delivered at p.
func (l *ledger) deliveredByAny(p place) bool {
	for addr := range l.met {
		if p.host = addr; l.deliveredAt(p) {
			return true
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

// goodFace is a good face as refusals at other faces relate to it: those at an
// MX host to mx06, those without SNI to the default certificate.
type goodFace struct {
	host scenario.Host
	sni  scenario.Ternary
}

// goodFaceFor is the good face whose refusal, without any delivery there,
// makes refusals at p meaningless: the sender dislikes something else.
func goodFaceFor(p place) (goodFace, bool) {
	if p.out != refusedTLS {
		return goodFace{}, false
	}
	g := goodFace{sni: p.sni}
	switch p.face.Host {
	case scenario.MX03, scenario.MX04, scenario.MX05, scenario.MX06:
		g.host = scenario.MX06
	case scenario.UT:
		if p.sni == scenario.Yes {
			g.host = scenario.UT
		}
	}
	return g, true
}

// blocked reports whether refusals at p mean nothing, because the good face was
// refused, too: by the same host, or by another while this host is not known to
// like it.
func (l *ledger) blocked(p place, bad map[goodFace]map[netip.Addr]bool) bool {
	g, ok := goodFaceFor(p)
	if !ok || len(bad[g]) == 0 {
		return false
	}
	return bad[g][p.host] || !l.deliveredAtGood(p.host, g)
}

// badGoodFaces returns the good faces that hosts refused without ever
// delivering there.
func (l *ledger) badGoodFaces(tallies map[place]*tally) map[goodFace]map[netip.Addr]bool {
	out := make(map[goodFace]map[netip.Addr]bool)
	for p := range tallies {
		g, ok := goodFaceFor(p)
		if !ok || !isGood(p.face) || l.deliveredAtGood(p.host, g) {
			continue
		}
		if out[g] == nil {
			out[g] = make(map[netip.Addr]bool)
		}
		out[g][p.host] = true
	}
	return out
}

// deliveredAtGood: without SNI, a delivery to either domain shows that the
// default certificate from the public CA is accepted.
func (l *ledger) deliveredAtGood(addr netip.Addr, g goodFace) bool {
	return slices.ContainsFunc(l.at(addr).delivered, func(d event) bool {
		return d.outcome == deliveredTLS && d.sni == g.sni && isGood(d.face) && (g.sni != scenario.Yes || d.face.Host == g.host)
	})
}
