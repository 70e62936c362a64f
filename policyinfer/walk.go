package policyinfer

import (
	"net/netip"
	"slices"
	"sort"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// RFC 5321 §5.1: a sender tries MX hosts in order of preference. That helps to
// tell its refusals from those of others behind the same address and EHLO name,
// who hand over nothing themselves.

// ownership is what the order of contacts says about a connection that only
// the client address ties to the sender.
type ownership uint8

const (
	outOfStep ownership = iota // the sender's mail shows another order than this
	inStep                     // it fits an order that the sender may have had
	// proven: the sender's mail came to a later host of the order, so it has been
	// to this one and did not hand it over. For that to be a mistake, the sender
	// must skip a host without a trace, and somebody else be refused just there
	// in the same seconds.
	proven
)

// ownerships judges the contacts with MX hosts, by name, in each attempt. It is
// nil if no MX order is recorded.
func (l *ledger) ownerships(states []evidence.State) map[*evidence.Connection]ownership {
	orders := ordersOf(states)
	if len(orders) == 0 {
		return nil
	}
	out := make(map[*evidence.Connection]ownership)
	for _, a := range l.attempts {
		possible, certain := ordersDuring(orders, a, l.t.margin)
		for _, w := range l.walks(a) {
			i := slices.IndexFunc(possible, w.follows)
			if i < 0 {
				continue
			}
			for _, s := range w {
				out[s.conn] = inStep
			}
			if certain && a.complete && !a.degraded {
				for _, c := range w.proven() {
					out[c] = proven
				}
			}
		}
	}
	return out
}

// strays reports whether a connection to an MX host does not fit the order in
// which the sender's mail comes.
func (l *ledger) strays(e event) bool {
	return l.owned != nil && e.sni == scenario.Yes && e.face.Domain == et && l.owned[e.conn] == outOfStep
}

// walk is one client's way along the MX hosts in an attempt, in order of time.
type walk []step

// step is one connection of a walk.
type step struct {
	conn      *evidence.Connection
	host      scenario.Host // empty if it ended before that was known
	delivered bool
	explicit  bool // refused, in a way that says so
}

// walks returns what each client did at et in attempt a, under the EHLO names
// that the sender's mails come with.
func (l *ledger) walks(a attempt) map[netip.Addr]walk {
	out := make(map[netip.Addr]walk)
	for c, events := range a.byConnection() {
		addr := hostOf(c)
		host, _ := sniOf(l.test, c)
		if host == scenario.UT || c.Destination == string(ut) || len(c.Helo) > 0 && !l.saysItsName(event{conn: c, host: addr}) {
			continue
		}
		s := step{conn: c, host: host}
		for _, e := range events {
			s.delivered = s.delivered || e.outcome == deliveredTLS || e.outcome == deliveredPlaintext && e.face.StartTLS
			s.explicit = s.explicit || e.outcome == refusedTLS && e.grade == gradeExplicit
		}
		out[addr] = append(out[addr], s)
	}
	return out
}

// follows reports whether w goes along order from its first host on, without a
// gap. A host may be met twice in a row, and mx03, which the MTA-STS policy
// does not list, be skipped; a connection whose host is not known may have been
// for any, unless the sender's mail came in it: one that does not name hosts
// does not refuse them by name.
func (w walk) follows(order []scenario.Host) bool {
	at := 0
	for i, s := range w {
		switch {
		case i > 0 && s.host != "" && s.host == w[i-1].host:
			continue
		case at < len(order) && order[at] == scenario.MX03 && s.host != scenario.MX03 && s.host != "":
			at++
		}
		if at == len(order) || s.host == "" && s.delivered || s.host != "" && s.host != order[at] {
			return false
		}
		at++
	}
	return true
}

// proven returns the refusals before a delivery of a walk that follows the
// order. It proves nothing if it is not clear what each connection came to, and
// nothing about mx03, which may be skipped.
func (w walk) proven() (out []*evidence.Connection) {
	var refused []*evidence.Connection
	for i, s := range w {
		switch {
		case s.host == "", i > 0 && s.host == w[i-1].host:
			return nil
		case s.delivered:
			out, refused = append(out, refused...), nil
		case !s.explicit:
			return nil
		case s.host != scenario.MX03:
			refused = append(refused, s.conn)
		}
	}
	return out
}

// ordersDuring returns the orders that resolvers may have had in an attempt, most
// preferred host first, and whether it is certain which one.
func ordersDuring(orders []evidence.State, a attempt, margin time.Duration) (out [][]scenario.Host, certain bool) {
	inEffect := 0
	// What was replaced longer ago than margin, nobody has any more.
	recent := sort.Search(len(orders), func(i int) bool { return orders[i].Time.After(a.start.Add(-margin)) })
	for _, s := range orders[max(recent-1, 0):] {
		if s.Time.After(a.end) {
			break
		}
		inEffect++
		if hosts, ok := orderOf(s.MX); ok {
			out = append(out, hosts)
		}
	}
	first := orders[0].Time.After(a.start.Add(-margin)) // before it, who knows
	return out, inEffect == 1 && len(out) == 1 && !first
}

// orderOf sorts the hosts by preference; ok is false if that is not known, or
// not unique.
func orderOf(mx map[string]int) (hosts []scenario.Host, ok bool) {
	hosts = scenario.MXHosts()
	slices.SortFunc(hosts, func(x, y scenario.Host) int { return mx[string(x)] - mx[string(y)] })
	for i, h := range hosts {
		if mx[string(h)] <= 0 || i > 0 && mx[string(h)] == mx[string(hosts[i-1])] {
			return nil, false
		}
	}
	return hosts, true
}
