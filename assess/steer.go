package assess

import (
	"maps"
	"slices"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// Met counts the connections of a sender that named an MX host, by host.
type Met map[scenario.Host]int

// Choices returns the MX hosts that a sender should meet next, most wanted
// first, or none if the MX order makes no difference. v is what is known of it;
// handedOver: et got a mail inside TLS. first says whether mx04 or mx05 comes
// first where both are wanted as much.
//
// mx04 and mx05 tell most policies apart. A sender that tries them one after
// the other and then mx06 shows in one attempt whose refusals they were; one
// that tries one host an attempt meets what it has met least. Where TLS is
// required anyhow, mx03 tells whether any certificate will do.
func Choices(v *policyinfer.Verdict, met Met, handedOver bool, first scenario.Host) []scenario.Host {
	missing := v.Missing
	if len(met) == 0 && len(missing) > 0 {
		second := scenario.MX04
		if first == scenario.MX04 {
			second = scenario.MX05
		}
		return []scenario.Host{first, second, scenario.MX06, scenario.MX03}
	}
	if !handedOver && met[scenario.MX04] > 0 && met[scenario.MX05] > 0 && met[scenario.MX06] == 0 {
		return []scenario.Host{scenario.MX06} // nothing can be told before et got something
	}
	var out []scenario.Host
	for _, m := range missing {
		if m.Face >= 3 && m.Face <= 6 {
			out = append(out, scenario.MXHosts()[m.Face-3])
		}
	}
	rank := func(h scenario.Host) int { // the least comes first
		switch {
		case h == first:
			return 4*met[h] - 1
		case h == scenario.MX04, h == scenario.MX05:
			return 4 * met[h]
		case h == scenario.MX03 && handedOver && v.Sender.PlaintextUnprotected == "no":
			return 4*met[h] - 2
		}
		return 4*met[h] + 4
	}
	slices.SortStableFunc(out, func(a, b scenario.Host) int { return rank(a) - rank(b) })
	return out
}

// Needs returns, by slot, for each test that the MX order matters to, the hosts
// it needs to be met, most wanted first.
func (a *Assessor) Needs() map[int][][]scenario.Host {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make(map[int][][]scenario.Host)
	for slot, needs := range a.needs(len(a.tests)) {
		for _, id := range slices.Sorted(maps.Keys(needs)) {
			out[slot] = append(out[slot], needs[id])
		}
	}
	return out
}

// needs are those of running tests, for evidence, and of concluded ones, so that
// their mail is handed over soon: every sender likes mx06. It looks for most of
// them at most in each slot.
func (a *Assessor) needs(most int) map[int]map[string][]scenario.Host {
	out := make(map[int]map[string][]scenario.Host)
	for id, t := range a.tests {
		slot := t.rec.Test.Slot
		if len(out[slot]) >= most {
			continue
		}
		if list := t.needs(a.o.Zone); len(list) > 0 {
			if out[slot] == nil {
				out[slot] = make(map[string][]scenario.Host)
			}
			out[slot][id] = list
		}
	}
	return out
}

func (t *test) needs(zone string) []scenario.Host {
	switch {
	case t.rec.State == history.StateConcluded && t.lacksAck(scenario.ET):
		return []scenario.Host{scenario.MX06}
	case t.running() && t.verdict != nil:
		met, handedOver := t.met(zone)
		first := scenario.MX04
		if id := t.rec.Test.ID; t.rec.Test.Slot == 0 && id[len(id)-1]%2 == 0 {
			first = scenario.MX05 // a leased slot rests with mx04 first: no need to turn it
		}
		return Choices(t.verdict, met, handedOver, first)
	}
	return nil
}

// fewTests is up to how many tests of a slot an early turn is worth its price:
// for a while after it nobody knows which order a sender has.
const fewTests = 2

// Steer returns the slots of which what tests need has changed since the last
// call, and in which so few run that the MX order should follow at once.
func (a *Assessor) Steer() (slots []int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	needs := a.needs(fewTests + 1) // often asked: not of all
	for slot, now := range needs {
		if len(now) <= fewTests && !maps.EqualFunc(now, a.steered[slot], slices.Equal) {
			slots = append(slots, slot)
		}
	}
	a.steered = needs
	slices.Sort(slots)
	return slots
}

// met reads what the sender of t has met, also where it is not certain that it
// was this sender: it decides nothing but the order.
func (t *test) met(zone string) (met Met, handedOver bool) {
	met = make(Met)
	count := func(c evidence.Connection) {
		if c.TLS == nil || c.TLS.SNI == nil {
			return
		}
		target, ok := scenario.Find(zone, *c.TLS.SNI)
		if !ok || target.Role != scenario.RoleMX || target.Slot != t.rec.Test.Slot {
			return
		}
		met[target.Host]++
		handedOver = handedOver || c.Data
	}
	for _, c := range t.own {
		count(c)
	}
	for _, client := range t.clients {
		for _, c := range client.loose {
			if !c.Start.Before(t.rec.Opened) {
				count(c)
			}
		}
	}
	return met, handedOver
}
