package policyinfer

import (
	"net/netip"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// unusedLookups reports that the sender asks for what it then does not
// enforce. That queries and fetches are there may make a finding, never a
// verdict; that they are not there is nothing. Only deliveries that the same
// client made after the lookup, and that what it looked up forbids, show it.
func (e *Engine) unusedLookups(h *evidence.History, t timing, r result) []Finding {
	if len(h.Queries)+len(h.Fetches) == 0 || len(r.attempts) == 0 || slices.ContainsFunc(r.attempts, func(a attempt) bool { return a.degraded }) {
		return nil
	}
	from := r.attempts[0].start.Add(-lookupBefore) // the rest may be from before a change
	var out []Finding
	add := func(id, text string, since map[netip.Prefix]time.Time, wait time.Duration, forbids func(event) bool) {
		var conns []evidence.ConnID
		for _, a := range r.attempts {
			for _, d := range a.events {
				at, ok := since[evidence.ClientOf(d.host)]
				if ok && d.delivered() && d.face.Domain == et && !d.conn.Start.Before(at.Add(wait)) && forbids(d) {
					conns = appendCited(conns, d.conn.ID)
				}
			}
		}
		if len(conns) > 0 {
			out = append(out, Finding{ID: id, Text: text, Connections: conns})
		}
	}
	asked, mismatch := askedTLSA(h, r.attempts, from), func(d event) bool { return d.face.TLSA == scenario.TLSAMismatch }
	switch {
	case e.every(r, func(p Policy) bool { return p.DANE == DANEOff && p.STS == STSOff }):
		add(FindingTLSAUnused, "The sender asks for TLSA records, but then hands mail over where they don't match or without TLS: DANE seems to be switched on, but not to work.",
			asked, 0, func(d event) bool { return d.outcome == deliveredPlaintext || mismatch(d) })
	case e.every(r, func(p Policy) bool { return p.STS != STSOff && (p.DANE == DANEOff || p.Both == STSWins) }):
		add(FindingSTSOverDANE, "The sender asks for TLSA records, but where they don't match, an MTA-STS policy is enough for it: MTA-STS overrides DANE, which RFC 8461 §2 forbids, or its DANE does not work.",
			asked, 0, mismatch)
	}
	if e.every(r, func(p Policy) bool { return p.STS == STSOff }) {
		add(FindingSTSUnused, "The sender fetches the MTA-STS policy, but then hands mail over to servers that it forbids or without TLS: MTA-STS seems to be switched on, but not to work.",
			fetchedPolicy(h, from), t.settle, func(d event) bool {
				return d.outcome == deliveredPlaintext || and(trusted(d.face.Certificate), d.face.InPolicy) == scenario.No
			})
	}
	return out
}

// lookupBefore is how long before its connections a sender looks things up.
const lookupBefore = 10 * time.Second

// askedTLSA returns when a client first asked for TLSA records of et, if that
// is certain: from its own address, or through the same resolver in two
// attempts in which nobody else came. A validator of the zone, or a curious
// person, asks at other times.
func askedTLSA(h *evidence.History, as []attempt, from time.Time) map[netip.Prefix]time.Time {
	type through struct {
		resolver string
		client   netip.Prefix
	}
	first := make(map[netip.Prefix]time.Time)
	attempts := make(map[through]map[int]bool)
	for _, q := range h.Queries {
		target, ok := scenario.Find(h.Test.Zone, q.Name)
		if !ok || q.Time.Before(from) || q.Type != "TLSA" || target.Role != scenario.RoleTLSA || target.Slot != h.Test.Slot || target.Host.Domain() != et {
			continue
		}
		earliest(first, clientOf(q.Client), q.Time)
		i := slices.IndexFunc(as, func(a attempt) bool {
			return !q.Time.Before(a.start.Add(-lookupBefore)) && !q.Time.After(a.end)
		})
		if i < 0 || q.Client == "" {
			continue
		}
		client, ok := as[i].onlyClient()
		if !ok {
			continue
		}
		k := through{q.Client, client}
		if attempts[k] == nil {
			attempts[k] = make(map[int]bool)
		}
		if attempts[k][i] = true; len(attempts[k]) >= 2 {
			earliest(first, client, q.Time)
		}
	}
	return first
}

// fetchedPolicy returns when each client first got the policy.
func fetchedPolicy(h *evidence.History, from time.Time) map[netip.Prefix]time.Time {
	first := make(map[netip.Prefix]time.Time)
	for _, f := range h.Fetches {
		target, ok := scenario.Find(h.Test.Zone, f.Host)
		if ok && !f.Time.Before(from) && target.Role == scenario.RolePolicy && target.Slot == h.Test.Slot && f.Status == 200 {
			earliest(first, clientOf(f.Client), f.Time)
		}
	}
	return first
}

func earliest(first map[netip.Prefix]time.Time, client netip.Prefix, at time.Time) {
	if was, ok := first[client]; client.IsValid() && (!ok || at.Before(was)) {
		first[client] = at
	}
}

// onlyClient returns the client of all connections of a; ok is false if there
// are several, or one that can't be told.
func (a attempt) onlyClient() (client netip.Prefix, ok bool) {
	for _, c := range a.conns {
		one := evidence.ClientOf(hostOf(c))
		if !one.IsValid() || client.IsValid() && one != client {
			return netip.Prefix{}, false
		}
		client = one
	}
	return client, client.IsValid()
}

// clientOf is the client of an address with or without a port; zero, which is
// no host's, if it is neither.
func clientOf(s string) netip.Prefix {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return evidence.ClientOf(ap.Addr())
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}
	}
	return evidence.ClientOf(addr)
}
