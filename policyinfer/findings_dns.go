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
// verdict; that they are not there is nothing. Only deliveries that came after
// the lookup, and that the looked-up policy forbids, show it.
func (e *Engine) unusedLookups(h *evidence.History, t timing, r result) []Finding {
	if len(h.Queries)+len(h.Fetches) == 0 || len(r.attempts) == 0 || slices.ContainsFunc(r.attempts, func(a attempt) bool { return a.degraded }) {
		return nil
	}
	hosts := make(map[netip.Prefix]bool)
	for addr := range deliveriesByHost(r.attempts) {
		if addr.IsValid() {
			hosts[evidence.ClientOf(addr)] = true
		}
	}
	from := r.attempts[0].start.Add(-lookupBefore) // the rest may be from before a change
	var out []Finding
	add := func(id, text string, since time.Time, forbids func(event) bool) {
		var conns []evidence.ConnID
		for _, a := range r.attempts {
			for _, d := range a.events {
				if d.delivered() && d.face.Domain == et && !d.conn.Start.Before(since) && forbids(d) {
					conns = appendCited(conns, d.conn.ID)
				}
			}
		}
		if len(conns) > 0 {
			out = append(out, Finding{id, text, conns})
		}
	}
	if since, ok := askedTLSA(h, r.attempts, hosts, from); ok {
		mismatch := func(d event) bool { return d.face.TLSA == scenario.TLSAMismatch }
		switch {
		case e.every(r, func(p Policy) bool { return p.DANE == DANEOff && p.STS == STSOff }):
			add(FindingTLSAUnused, "The sender asks for TLSA records, but then hands mail over where they don't match or without TLS: DANE seems to be switched on, but not to work.",
				since, func(d event) bool { return d.outcome == deliveredPlaintext || mismatch(d) })
		case e.every(r, func(p Policy) bool { return p.STS != STSOff && (p.DANE == DANEOff || p.Both == STSWins) }):
			add(FindingSTSOverDANE, "The sender asks for TLSA records, but where they don't match, an MTA-STS policy is enough for it: MTA-STS overrides DANE, which RFC 8461 §2 forbids, or its DANE does not work.",
				since, mismatch)
		}
	}
	if since, ok := fetchedPolicy(h, hosts, from); ok && e.every(r, func(p Policy) bool { return p.STS == STSOff }) {
		add(FindingSTSUnused, "The sender fetches the MTA-STS policy, but then hands mail over to servers that it forbids or without TLS: MTA-STS seems to be switched on, but not to work.",
			since.Add(t.settle), func(d event) bool {
				return d.outcome == deliveredPlaintext || and(trusted(d.face.Certificate), d.face.InPolicy) == scenario.No
			})
	}
	return out
}

// lookupBefore is how long before its connections a sender looks things up.
const lookupBefore = 10 * time.Second

// askedTLSA returns when the sender first asked for TLSA records of et, if that
// is certain: from an address of its own, or through the same resolver in two
// attempts. A validator of the zone, or a
// curious person, asks at other times.
func askedTLSA(h *evidence.History, as []attempt, hosts map[netip.Prefix]bool, from time.Time) (time.Time, bool) {
	asked := make(map[string]map[int]bool)
	var first time.Time
	found := false
	note := func(at time.Time) {
		if !found || at.Before(first) {
			first, found = at, true
		}
	}
	for _, q := range h.Queries {
		target, ok := scenario.Find(h.Test.Zone, q.Name)
		if !ok || q.Time.Before(from) || q.Type != "TLSA" || target.Role != scenario.RoleTLSA || target.Slot != h.Test.Slot || target.Host.Domain() != et {
			continue
		}
		if hosts[clientOf(q.Client)] {
			note(q.Time)
			continue
		}
		i := slices.IndexFunc(as, func(a attempt) bool { return !q.Time.Before(a.start.Add(-lookupBefore)) && !q.Time.After(a.end) })
		if i < 0 || q.Client == "" {
			continue
		}
		if asked[q.Client] == nil {
			asked[q.Client] = make(map[int]bool)
		}
		if asked[q.Client][i] = true; len(asked[q.Client]) >= 2 {
			note(q.Time)
		}
	}
	return first, found
}

// fetchedPolicy returns when an address of the sender first got the policy.
func fetchedPolicy(h *evidence.History, hosts map[netip.Prefix]bool, from time.Time) (first time.Time, found bool) {
	for _, f := range h.Fetches {
		target, ok := scenario.Find(h.Test.Zone, f.Host)
		if !ok || f.Time.Before(from) || target.Role != scenario.RolePolicy || target.Slot != h.Test.Slot || f.Status != 200 || !hosts[clientOf(f.Client)] {
			continue
		}
		if !found || f.Time.Before(first) {
			first, found = f.Time, true
		}
	}
	return first, found
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
