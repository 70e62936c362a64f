package policyinfer

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// newSimTruth is the truth about a sender of policy p, one of all.
func newSimTruth(p Policy, all []Policy) *simTruth {
	return &simTruth{now: p, policies: all, hosts: make(map[netip.Addr]Policy), met: make(map[netip.Addr]bool), contact: make(map[netip.Addr]time.Time), known: make(map[Policy]simExpect)}
}

// simTruth is what may be said of a sender.
type simTruth struct {
	now       Policy
	kind      simKind
	before    *Policy // before its setting was changed
	hosts     map[netip.Addr]Policy
	met       map[netip.Addr]bool
	contact   map[netip.Addr]time.Time // with et
	optOut    bool
	trouble   bool // our zone breaks at times
	accidents bool // a connection may end as if it was left, and a mail then go out in plaintext
	policies  []Policy
	shadows   []*simShadow // from each mail on
	since     *simShadow   // from the change on; one of shadows
	mails     int          // that were written before the change
	attempt   int
	known     map[Policy]simExpect
}

func (t *simTruth) saw(o simOutcome, at time.Time) {
	if _, ok := t.contact[o.host]; !ok && o.domain == scenario.ET && (o.delivered || o.sni) {
		t.contact[o.host] = at
	}
	first, ok := t.contact[o.host]
	o.early = !ok || at.Sub(first) < defaultSettle
	for _, s := range t.shadows {
		s.saw(o, t.attempt)
	}
}

// all explains everything that was seen.
func (t *simTruth) all() *simShadow { return t.shadows[0] }

// writes is when a mail is written: what came before may not count any more.
func (t *simTruth) writes() { t.shadows = append(t.shadows, newSimShadow(t.policies)) }

// changes is a change of the settings.
func (t *simTruth) changes(to Policy, mails int) {
	before := t.now
	t.before, t.now, t.mails = &before, to, mails
	t.writes()
	t.since = t.shadows[len(t.shadows)-1]
}

// right returns the policies that a verdict may be about:
//   - that of the sender, which is the one after a change;
//   - the one before, as long as nothing since then contradicts it;
//   - those of the hosts that were met, if hosts differ;
//   - where hosts differ, or a setting was changed while a mail was on its way
//     and no other has come yet: one under which a single sender would have done
//     just the same. No evidence can tell such a history from that of an honest
//     sender of this policy.
func (t *simTruth) right(h evidence.History) []Policy {
	out := []Policy{t.now}
	switch t.kind {
	case simMixed:
		out = t.all().policies()
		for h := range t.met {
			out = append(out, t.hosts[h])
		}
	case simResent, simChanged:
		if t.before == nil {
			break
		}
		if !t.came(h) {
			for _, s := range t.shadows {
				if s == t.since {
					break
				}
				out = append(out, s.policies()...)
			}
		}
		if t.since.has(*t.before) {
			out = append(out, *t.before)
		}
	}
	return out
}

// has reports whether a policy of the sender is named n, now or before, on any
// host.
func (t *simTruth) has(n Name) bool {
	own := []Policy{t.now}
	if t.before != nil {
		own = append(own, *t.before)
	}
	if t.kind == simMixed {
		own = slices.Collect(maps.Values(t.hosts))
	}
	return slices.ContainsFunc(own, func(p Policy) bool { return simName(p) == n })
}

// came reports whether a mail came that was written after the change, for a
// domain that had got another one: this is what tells that there may have been
// a change.
func (t *simTruth) came(h evidence.History) bool {
	type copies struct{ before, since bool }
	seen := make(map[string]copies)
	for _, c := range h.Connections {
		for _, tx := range c.Transactions {
			for _, to := range tx.Addressed {
				n, _ := strconv.Atoi(strings.Trim(tx.MessageID, "<abexmplndsr.@>"))
				of := seen[to]
				seen[to] = copies{of.before || tx.Data && n <= t.mails, of.since || tx.Data && n > t.mails}
			}
		}
	}
	for _, of := range seen {
		if of.before && of.since {
			return true
		}
	}
	return false
}

func (t *simTruth) expect(h evidence.History) simExpect {
	x := simExpect{Policy: []Name{}, Sender: make(map[string][]string), Findings: t.findings()}
	if t.optOut && simOptOutSeen(h) {
		return x
	}
	for _, p := range t.right(h) {
		if _, ok := t.known[p]; !ok {
			t.known[p] = simTrueOf(p)
		}
		x.allow(t.known[p])
	}
	if t.kind == simMixed {
		x.Policy, x.Hosts = append(slices.Clone(x.Policy), Mixed), make(map[string]simExpect)
		for a := range t.met {
			x.Hosts[a.String()] = simTrueOf(t.hosts[a])
		}
	}
	return x
}

// findings returns the ids of those that say nothing about a policy.
func (t *simTruth) findings() []string {
	out := []string{FindingAmbiguous} // doubt is never wrong
	if t.optOut {
		out = append(out, FindingOptedOut, FindingRequireTLS)
	}
	if t.trouble {
		out = append(out, FindingUnverifiable)
	}
	if t.accidents {
		out = append(out, FindingGoodRefused, FindingFallback)
	}
	if t.before != nil {
		out = append(out, simFindings(*t.before)...)
	}
	switch t.kind {
	case simMixed:
		out = append(out, FindingMixed, FindingFamilies, FindingChanged, FindingChangedOrMixed, FindingContradictory)
	case simResent, simChanged:
		out = append(out, FindingChanged, FindingChangedOrMixed, FindingContradictory)
	}
	return out
}

func simOptOutSeen(h evidence.History) bool {
	for _, c := range h.Connections {
		for _, tx := range c.Transactions {
			if tx.TLSRequiredNo || tx.RequireTLS {
				return true
			}
		}
	}
	return false
}
