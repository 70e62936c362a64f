package policyinfer

import (
	"slices"
	"sort"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// minSilentAttempts is how often a sender must have stayed away.
const minSilentAttempts = 3

// dateSkew is how far a sender's clock may be ahead of ours.
const dateSkew = 2 * time.Minute

// silentUT: a mail that names ut was delivered over TLS at hosts whose TLSA
// records match, the sender kept coming with it, and nothing that could have
// been for ut ever came. Connections that were not offered STARTTLS and left
// could have been, but the silence that counts is the one after STARTTLS was
// offered.
func (l *ledger) silentUT() {
	mails := make(map[string]*silentMail)
	var order []string
	for _, a := range l.attempts {
		if slices.ContainsFunc(a.conns, func(c *evidence.Connection) bool { return maybeUT(l.test, c) }) {
			return
		}
		for c, events := range a.byConnection() {
			if !a.complete || !slices.ContainsFunc(events, func(e event) bool {
				return e.outcome == deliveredTLS && e.sni == scenario.Yes && e.face.TLSA == scenario.TLSAMatch
			}) {
				continue
			}
			for _, tx := range c.Transactions {
				if !namesUT(l.test, tx.Addressed) {
					continue
				}
				m := mails[tx.MessageID]
				if m == nil {
					m = &silentMail{first: a.start, last: a.start, attempts: 1}
					mails[tx.MessageID] = m
					order = append(order, tx.MessageID)
				}
				if !a.start.Equal(m.last) {
					m.last = a.start
					m.attempts++
				}
				if tx.Message != nil {
					m.date = tx.Message.Date
				}
				m.conns = appendCited(m.conns, c.ID)
			}
		}
	}
	withheld := l.withheld()
	for _, id := range order {
		m := mails[id]
		if m.attempts >= minSilentAttempts && m.last.Sub(m.first) >= l.t.silence && !maybeBounced(withheld, m.date) {
			l.add(observation{face: scenario.Face{Domain: ut, Host: scenario.UT}, outcome: neverAtUT}, m.conns...)
		}
	}
}

// silentMail is a mail that should have come to ut, too.
type silentMail struct {
	first, last, date time.Time
	attempts          int
	conns             []evidence.ConnID
}

// withheld returns when the sender left, perhaps ut, because STARTTLS was
// withheld.
func (l *ledger) withheld() (out []time.Time) {
	for _, a := range l.attempts {
		for _, e := range a.events {
			if e.outcome == refusedPlaintext && e.face.Domain != et {
				out = append(out, e.conn.Start)
			}
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

// maybeBounced reports whether the copy for ut of a mail written at date may
// have bounced when STARTTLS was withheld. A sender that bounces then does so
// for either domain, and ut has one host: so ut may have been met once, and et
// not at all, or its copy would not have come later. Two meetings without
// STARTTLS since the mail was written show that the sender does not bounce;
// none at all, that it had no reason to.
func maybeBounced(withheld []time.Time, date time.Time) bool {
	since := func(t time.Time) int {
		i, _ := slices.BinarySearchFunc(withheld, t, time.Time.Compare)
		return len(withheld) - i
	}
	return since(date) < 2 && since(date.Add(-dateSkew)) > 0
}

// maybeUT reports whether c could have been for ut.
func maybeUT(test evidence.Test, c *evidence.Connection) bool {
	if host, sni := sniOf(test, c); sni == scenario.Yes && host != scenario.UT {
		return false
	}
	switch {
	case c.Destination == string(ut): // by an address of its own: a contact, whatever came of it
		return true
	case c.Destination == string(et):
		return false
	}
	if c.TLS != nil || len(c.Transactions) > 0 || len(c.RcptTo) > 0 {
		return true
	}
	return c.StartTLSOffered // a STARTTLS that was not offered changes nothing
}

// minOrderly is how many bits of order a sender must have shown, and never
// another order, before a host that was passed over means anything: one that
// tries hosts at random would look like it by chance. An attempt shows two, of
// one host of four; three if the next host came second. So it takes seven
// attempts of one host, or five of several.
const minOrderly = 14

// silentMX03: mx03 was the most preferred host for longer than its TTL and a
// minute while the sender came, and it went elsewhere, to the most preferred
// of the others: it knew the order, as at all other times.
func (l *ledger) silentMX03(states []evidence.State) {
	var first, last time.Time
	var conns []evidence.ConnID
	silent, orderly := 0, 0
	orders := ordersOf(states)
	for _, a := range l.attempts {
		if slices.ContainsFunc(a.events, func(e event) bool {
			return e.outcome == contacted && (e.face.Host == scenario.MX03 || e.sni != scenario.Yes && e.face.Domain != ut)
		}) {
			return
		}
		at, ok := stateDuring(orders, a, l.t.margin)
		if !ok || !a.complete || slices.ContainsFunc(a.conns, func(c *evidence.Connection) bool { return maybeMX03(l.test, c) }) {
			continue
		}
		// Only the first contact shows the order that was used.
		i := slices.IndexFunc(a.events, func(e event) bool { return e.outcome == contacted && e.face.Domain == et })
		if i < 0 || a.events[i].weak {
			continue
		}
		order, ok := orderOf(at.MX)
		if !ok {
			continue
		}
		passed := order[0] == scenario.MX03
		if passed {
			order = order[1:]
		}
		if a.events[i].face.Host != order[0] {
			return
		}
		if orderly += 2 + secondOf(a.events[i+1:], order); !passed {
			continue
		}
		if silent++; silent == 1 {
			first = a.start
		}
		last = a.start
		conns = append(conns, a.events[i].conn.ID)
	}
	if silent >= minSilentAttempts && orderly >= minOrderly && last.Sub(first) >= l.t.silence {
		l.add(observation{face: scenario.Face{Domain: et, Host: scenario.MX03}, outcome: neverAtMX03}, conns...)
	}
}

// secondOf returns 1 if the host that was tried after the first one of an order
// is the second one.
func secondOf(later []event, order []scenario.Host) int {
	i := slices.IndexFunc(later, func(e event) bool {
		return e.outcome == contacted && e.face.Domain == et && e.face.Host != order[0]
	})
	if i < 0 || later[i].weak || later[i].face.Host != order[1] {
		return 0
	}
	return 1
}

// maybeMX03 reports whether c may have been meant for mx03: it ended before
// its host was known.
func maybeMX03(test evidence.Test, c *evidence.Connection) bool {
	host, _ := sniOf(test, c)
	return host == "" && c.Destination != string(ut)
}

// ordersOf returns the changes of the MX order, in order of time.
func ordersOf(states []evidence.State) (out []evidence.State) {
	for _, s := range states {
		if len(s.MX) > 0 && (len(out) == 0 || !sameOrder(&out[len(out)-1], &s)) {
			out = append(out, s)
		}
	}
	return out
}

// stateDuring returns the MX order that every resolver must have had during
// the whole attempt: it is older than margin, and did not change meanwhile.
func stateDuring(orders []evidence.State, a attempt, margin time.Duration) (*evidence.State, bool) {
	next := sort.Search(len(orders), func(i int) bool { return orders[i].Time.After(a.end) })
	if next == 0 || a.start.Sub(orders[next-1].Time) < margin {
		return nil, false
	}
	return &orders[next-1], true
}

func sameOrder(a, b *evidence.State) bool {
	for _, h := range scenario.MXHosts() {
		if a.MX[string(h)] != b.MX[string(h)] {
			return false
		}
	}
	return true
}
