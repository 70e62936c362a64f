package policyinfer

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

// conclude eliminates, and explains contradictions as far as that is safe.
func (e *Engine) conclude(h *evidence.History, t timing, as []attempt) result {
	r := e.run(h, t, as, true)
	if !r.candidates.empty() || len(r.facts) == 0 {
		return r
	}
	readings := e.splits(h, t, as)
	strong, n := withoutWeak(as)
	if n == 0 {
		return r.explained(readings)
	}
	// Two senders may share the address. What only the address ties to this one
	// is the first thing to doubt. But it may be this one's, which changed, or
	// whose hosts differ: every reading stays possible.
	without := *h
	without.Test.LeftOut += n // absence of what was dropped says nothing
	alone := e.run(&without, t, strong, false)
	if alone.candidates.empty() {
		return r.explained(append(e.splits(&without, t, strong), readings...))
	}
	alone.leftOut = n
	alone.findings = append(alone.findings, Finding{
		ID:          FindingAmbiguous,
		Text:        fmt.Sprintf("%d connections without MAIL contradict the mails of this sender. They may belong to another sender behind the same address.", n),
		Connections: weakConnections(as), Args: map[string]string{ArgConnections: strconv.Itoa(n)},
	})
	// Or it has a rule for each domain, and the name is about et.
	atET := r
	atET.candidates = e.eliminate(notAtUT(r.facts))
	return r.explained(append([]result{alone, atET}, readings...))
}

// weakConnections returns those that only a client address ties to the sender.
func weakConnections(as []attempt) (out []evidence.ConnID) {
	for _, a := range as {
		for _, c := range a.conns {
			if weak(c) {
				out = appendCited(out, c.ID)
			}
		}
	}
	return out
}

// explained returns the first reading of a contradiction r, with what is
// possible under any of them. Where both a change and different hosts explain
// it, neither is certain.
func (r result) explained(readings []result) result {
	if len(readings) == 0 {
		r.findings = append(r.findings, Finding{
			ID:          FindingContradictory,
			Text:        "No single policy explains what was seen, and neither a change during the test nor different outbound hosts do.",
			Connections: r.shown(func(o observation) bool { return o.outcome != contacted }),
		})
		return r
	}
	out := readings[0]
	differ := false
	conns := citedBy(out.findings)
	for _, other := range readings[1:] {
		out.candidates = out.candidates.or(other.candidates)
		differ = differ || other.mixed != out.mixed
		conns = appendCited(conns, citedBy(other.findings)...)
	}
	if differ && out.leftOut == 0 {
		out.mixed, out.hosts = false, nil
		out.findings = []Finding{{
			ID: FindingChangedOrMixed, Connections: conns,
			Text: "What was seen contradicts itself: either the sender changed its behaviour during the test, or its outbound hosts do not have the same policy.",
		}}
	}
	return out
}

func citedBy(findings []Finding) (out []evidence.ConnID) {
	for _, f := range findings {
		out = appendCited(out, f.Connections...)
	}
	return out
}

// maxSplitWork bounds the search for a change: it reads everything once for
// each attempt, and for each host. No sender comes near it within the life of a test.
const maxSplitWork = 1_000_000

// tooManyHosts bounds what reads the whole history once for each host.
func tooManyHosts(h *evidence.History, hosts int) bool {
	return hosts*(len(h.Connections)+len(h.States)) > maxSplitWork
}

// splits returns the readings that a change during the test and different
// hosts allow, in this order.
func (e *Engine) splits(h *evidence.History, t timing, as []attempt) (out []result) {
	work := 0
	for _, a := range as {
		work += len(a.events) * len(as)
	}
	// Without one of the readings, the other would look certain.
	if _, order := byHost(as); work > maxSplitWork || tooManyHosts(h, len(order)) {
		return nil
	}
	if r, ok := e.splitByTime(h, t, as); ok {
		out = append(out, r)
	}
	if r, ok := e.splitByHost(h, t, as); ok {
		out = append(out, r)
	}
	return out
}

// withoutWeak drops the events that only a client address ties to the sender.
func withoutWeak(as []attempt) (out []attempt, dropped int) {
	for _, a := range as {
		kept := a
		kept.events = slices.DeleteFunc(slices.Clone(a.events), func(ev event) bool { return ev.weak })
		kept.conns = slices.DeleteFunc(slices.Clone(a.conns), weak)
		dropped += len(a.conns) - len(kept.conns)
		if len(kept.conns) > 0 {
			out = append(out, kept)
		}
	}
	return out, dropped
}

// splitByTime looks for a moment before which one policy explains everything,
// and after which another does. The verdict is about the time after it, and
// holds for every such moment.
func (e *Engine) splitByTime(h *evidence.History, t timing, as []attempt) (result, bool) {
	var out result
	found := false
	var from, to time.Time
	var last int
	var conns []evidence.ConnID
	for i := 1; i < len(as); i++ {
		before := e.run(h, t, as[:i], false)
		after := e.run(h, t, as[i:], false)
		if before.candidates.empty() || after.candidates.empty() || len(after.facts) == 0 {
			continue
		}
		if !found {
			out, found, from = after, true, as[i-1].end
			conns = as[i-1].acted(conns)
		} else {
			out.candidates = out.candidates.or(after.candidates)
			// The facts after the last possible moment are the ones that hold
			// whenever the change was.
			out.facts, out.attempts, out.first = after.facts, after.attempts, after.first
		}
		to, last = as[i].start, i
	}
	if !found {
		return result{}, false
	}
	out.findings = append(out.findings, Finding{
		ID:          FindingChanged,
		Text:        fmt.Sprintf("The sender changed its behaviour during the test, between %s and %s. The verdict is about the time after that.", clock(from), clock(to)),
		Connections: as[last].acted(conns), Args: map[string]string{ArgFrom: clock(from), ArgTo: clock(to)},
	})
	return out, true
}

// acted adds the connections on which something was delivered or refused.
func (a attempt) acted(to []evidence.ConnID) []evidence.ConnID {
	for _, e := range a.events {
		if e.delivered() || e.refused() {
			to = appendCited(to, e.conn.ID)
		}
	}
	return to
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

// splitByHost looks whether each host of the sender is explained by a policy
// of its own.
func (e *Engine) splitByHost(h *evidence.History, t timing, as []attempt) (result, bool) {
	hosts, order := byHost(as)
	if len(order) < 2 {
		return result{}, false
	}
	out := result{mixed: true, hosts: make(map[string]HostVerdict), attempts: as, first: make(map[netip.Addr]time.Time)}
	var own []hostResult
	finding := Finding{ID: FindingMixed, Text: "The outbound hosts of this sender do not have the same policy, so the protection of a mail depends on which of them sends it."}
	for _, addr := range order {
		r := e.run(h, t, hosts[addr], false)
		if r.candidates.empty() {
			return result{}, false
		}
		out.hosts[addr.String()] = e.hostVerdict(h, t, r)
		out.candidates = out.candidates.or(r.candidates)
		out.facts = append(out.facts, r.facts...)
		maps.Copy(out.first, r.first)
		own = append(own, hostResult{addr, r})
		for _, f := range r.facts {
			finding.Connections = appendCited(finding.Connections, f.conns[:min(1, len(f.conns))]...)
		}
	}
	out.findings = append(out.findings, finding)
	if f, ok := e.familiesDiffer(own); ok {
		out.findings = append(out.findings, f)
	}
	return out, true
}

// shownByOneHost doubts a name that says that something is enforced, if it
// follows only from what several hosts did: one of them may enforce DANE, another
// MTA-STS, and together they look like a sender that does both; or one enforces
// DANE, and the other nothing, and together they look like encrypt. So a host
// must show it by itself.
func (e *Engine) shownByOneHost(h *evidence.History, t timing, r result) result {
	name := e.nameOf(r)
	if !name.Protected() && name != Encrypt {
		return r
	}
	hosts, order := byHost(r.attempts)
	if len(order) < 2 {
		return r
	}
	if tooManyHosts(h, len(order)) {
		r.candidates, r.piecedTogether = e.all, true
		return r
	}
	possible := r.candidates
	for _, addr := range order {
		one := e.run(h, t, hosts[addr], true)
		own := e.names(one.candidates)
		if name == DANEOnly {
			own = slices.DeleteFunc(own, func(n Name) bool { return n == DANE })
		}
		if slices.Equal(own, []Name{name}) {
			return r
		}
		if slices.ContainsFunc(one.facts, func(f fact) bool { return f.face.Domain == et }) {
			possible = possible.or(one.candidates)
		}
	}
	r.candidates, r.piecedTogether = possible, true
	return r
}

// byHost gives each host its part of the attempts; order is that of their first
// connections.
func byHost(as []attempt) (hosts map[netip.Addr][]attempt, order []netip.Addr) {
	hosts = make(map[netip.Addr][]attempt)
	for _, a := range as {
		for c, events := range a.byConnection() {
			addr := hostOf(c)
			if _, ok := hosts[addr]; !ok {
				order = append(order, addr)
			}
			hosts[addr] = appendOf(hosts[addr], a, c, events)
		}
	}
	return hosts, order
}

// hostResult is what the evidence of one host leaves.
type hostResult struct {
	addr netip.Addr
	result
}

// hostVerdict puts the result of one host into words, under the rules that
// hold for the verdict of a sender.
func (e *Engine) hostVerdict(h *evidence.History, t timing, r result) HostVerdict {
	v := HostVerdict{Policy: e.nameOf(r), Candidates: e.names(r.candidates), Sender: e.parts(r.candidates)}
	v.Sender.WithoutTLS = e.withoutTLS(h, t, r)
	degraded := slices.ContainsFunc(r.attempts, func(a attempt) bool { return a.degraded })
	switch v.Policy {
	case None, May, Encrypt, Verify:
		if degraded || v.Policy != Verify && !laterAttempt(r, t.settle) {
			v.Policy = Undetermined
		}
	}
	v.Conclusive = v.Policy != Undetermined
	return v
}

// familiesDiffer reports that the hosts of IPv4 may all have one policy, and
// those of IPv6, too, but not the same: no name is left of both.
func (e *Engine) familiesDiffer(own []hostResult) (Finding, bool) {
	four, six := e.all, e.all
	var conns [2][]evidence.ConnID
	for _, o := range own {
		family := 0
		if o.addr.Is4() {
			four = four.and(o.candidates)
		} else {
			six = six.and(o.candidates)
			family = 1
		}
		for _, f := range o.facts {
			conns[family] = appendCited(conns[family], f.conns[:min(1, len(f.conns))]...)
		}
	}
	v4, v6 := e.names(four), e.names(six)
	if four == e.all || six == e.all || len(v4) == 0 || len(v6) == 0 || slices.ContainsFunc(v4, func(n Name) bool { return slices.Contains(v6, n) }) {
		return Finding{}, false
	}
	return Finding{
		ID: FindingFamilies, Connections: append(conns[0], conns[1]...), Args: map[string]string{ArgIPv4: joined(v4, ","), ArgIPv6: joined(v6, ",")},
		Text: fmt.Sprintf("Mail that leaves over IPv4 is treated like %s, over IPv6 like %s. Probably only one of the two was configured.", joined(v4, " or "), joined(v6, " or ")),
	}, true
}

func joined(names []Name, by string) string {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = string(n)
	}
	return strings.Join(words, by)
}

// appendOf adds connection c of attempt a, with its events, to the attempts of
// one host.
func appendOf(to []attempt, a attempt, c *evidence.Connection, events []event) []attempt {
	if n := len(to); n == 0 || !to[n-1].start.Equal(a.start) {
		to = append(to, attempt{start: a.start, end: a.end, complete: a.complete, degraded: a.degraded})
	}
	last := &to[len(to)-1]
	last.conns = append(last.conns, c)
	last.events = append(last.events, events...)
	return to
}
