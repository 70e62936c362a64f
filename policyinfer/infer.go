package policyinfer

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// Engine holds the model. It is immutable and safe for concurrent use.
type Engine struct {
	policies []Policy
	masks    map[observation]set
	all      set
}

// New returns an engine with every policy that can exist and the mask of every
// observation that a connection can give.
func New() *Engine {
	e := &Engine{policies: policies(), masks: make(map[observation]set)}
	if len(e.policies) > words*64 {
		panic(fmt.Sprintf("policyinfer: %d policies do not fit into a set", len(e.policies)))
	}
	for i := range e.policies {
		e.all.add(i)
	}
	for _, o := range observations() {
		e.masks[o] = e.compute(o)
	}
	return e
}

func (e *Engine) compute(o observation) set {
	var s set
	for i, p := range e.policies {
		if p.possible(o) {
			s.add(i)
		}
	}
	return s
}

// mask returns the policies under which o is possible.
func (e *Engine) mask(o observation) set {
	if s, ok := e.masks[o]; ok {
		return s
	}
	return e.compute(o) // e.g. a face of an imported history that we would not present
}

// observations lists those that our faces can give.
func observations() []observation {
	var faces []scenario.Face
	domains := []scenario.Domain{et, ut, scenario.UnknownDomain}
	for _, d := range domains {
		faces = append(faces, scenario.Plaintext(d, false), scenario.Plaintext(d, true))
		faces = append(faces, scenario.Default(d, scenario.SelfSigned), scenario.Default(d, scenario.CADefault))
	}
	for _, h := range append(scenario.MXHosts(), scenario.UT) {
		faces = append(faces, scenario.Named(h, scenario.HostKind(h)))
	}
	faces = append(faces, scenario.Named(scenario.UT, scenario.SelfSigned))
	var out []observation
	for _, f := range faces {
		for o := contacted; o <= refusedTLS; o++ {
			for _, sni := range []scenario.Ternary{scenario.Yes, scenario.No, scenario.Unknown} {
				for n := range 4 {
					out = append(out, observation{face: f, outcome: o, sni: sni, early: n&1 != 0, afterFailure: n&2 != 0})
				}
			}
		}
	}
	return out
}

// Options vary an inference.
type Options struct {
	// Explain fills Verdict.Eliminated.
	Explain bool
}

// Infer concludes from h. Its connections may be in any order; h is not
// changed.
func (e *Engine) Infer(h evidence.History, o Options) Verdict {
	h.Connections = slices.Clone(h.Connections)
	slices.SortStableFunc(h.Connections, func(a, b evidence.Connection) int { return a.Start.Compare(b.Start) })
	h.States = slices.Clone(h.States)
	slices.SortStableFunc(h.States, func(a, b evidence.State) int { return a.Time.Compare(b.Time) })

	t := timingOf(h.Test.Timing)
	as := attempts(&h, t)
	r := e.conclude(&h, t, as)
	v := e.verdict(&h, t, as, r)
	if o.Explain {
		v.Eliminated = e.explain(r)
	}
	return v
}

// result is what elimination left.
type result struct {
	candidates set
	facts      []fact
	attempts   []attempt // those that the conclusion rests on
	first      time.Time
	findings   []Finding
	hosts      map[string]Name
	mixed      bool
	// certain: the candidates come from the sender's own mails alone.
	leftOut int
}

func (e *Engine) eliminate(facts []fact) set {
	s := e.all
	for _, f := range facts {
		s = s.and(e.mask(f.observation))
	}
	return s
}

func (e *Engine) run(h *evidence.History, t timing, as []attempt, silence bool) result {
	l := read(h, t, as, silence)
	return result{candidates: e.eliminate(l.facts), facts: l.facts, attempts: as, first: l.first}
}

// conclude eliminates, and explains contradictions as far as that is safe.
func (e *Engine) conclude(h *evidence.History, t timing, as []attempt) result {
	r := e.run(h, t, as, true)
	if !r.candidates.empty() || len(r.facts) == 0 {
		return r
	}
	if strong, n := withoutWeak(as); n > 0 {
		// Two senders may share the address. What only the address ties to
		// this one is the first thing to doubt.
		r := e.run(h, t, strong, false)
		if !r.candidates.empty() {
			r.leftOut = n
			r.findings = append(r.findings, Finding{
				ID:   FindingAmbiguous,
				Text: fmt.Sprintf("%d connections without MAIL contradict the mails of this sender. They probably belong to another sender behind the same address and were left out.", n),
			})
			return r
		}
		as = strong
	}
	if r, ok := e.splitByTime(h, t, as); ok {
		return r
	}
	if r, ok := e.splitByHost(h, t, as); ok {
		return r
	}
	r.findings = append(r.findings, Finding{
		ID:   FindingContradictory,
		Text: "No single policy explains what was seen, and neither a change during the test nor different outbound hosts do.",
	})
	return r
}

// withoutWeak drops the events that only a client address ties to the sender.
func withoutWeak(as []attempt) (out []attempt, dropped int) {
	for _, a := range as {
		kept := a
		kept.events = slices.DeleteFunc(slices.Clone(a.events), func(ev event) bool { return ev.weak })
		kept.conns = slices.DeleteFunc(slices.Clone(a.conns), func(c *evidence.Connection) bool {
			return c.Attribution == evidence.ByAddress && len(c.Transactions) == 0
		})
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
	for i := 1; i < len(as); i++ {
		before := e.run(h, t, as[:i], false)
		after := e.run(h, t, as[i:], false)
		if before.candidates.empty() || after.candidates.empty() || len(after.facts) == 0 {
			continue
		}
		if !found {
			out, found, from = after, true, as[i-1].end
		} else {
			out.candidates = out.candidates.or(after.candidates)
			// The facts after the last possible moment are the ones that hold
			// whenever the change was.
			out.facts, out.attempts, out.first = after.facts, after.attempts, after.first
		}
		to = as[i].start
	}
	if !found {
		return result{}, false
	}
	out.findings = append(out.findings, Finding{
		ID:   FindingChanged,
		Text: fmt.Sprintf("The sender changed its behaviour during the test, between %s and %s. The verdict is about the time after that.", clock(from), clock(to)),
	})
	return out, true
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

// splitByHost looks whether each host of the sender is explained by a policy
// of its own.
func (e *Engine) splitByHost(h *evidence.History, t timing, as []attempt) (result, bool) {
	hosts := make(map[netip.Addr][]attempt)
	var order []netip.Addr
	for _, a := range as {
		for _, c := range a.conns {
			addr := hostOf(c)
			if _, ok := hosts[addr]; !ok {
				order = append(order, addr)
			}
			hosts[addr] = appendOf(hosts[addr], a, addr, c)
		}
	}
	if len(order) < 2 {
		return result{}, false
	}
	out := result{mixed: true, hosts: make(map[string]Name), attempts: as}
	finding := Finding{ID: FindingMixed, Text: "The outbound hosts of this sender do not have the same policy."}
	for _, addr := range order {
		r := e.run(h, t, hosts[addr], false)
		if r.candidates.empty() {
			return result{}, false
		}
		out.hosts[addr.String()] = e.nameOf(r)
		out.candidates = out.candidates.or(r.candidates)
		out.facts = append(out.facts, r.facts...)
		for _, f := range r.facts {
			finding.Connections = append(finding.Connections, f.conns[:min(1, len(f.conns))]...)
		}
	}
	out.findings = append(out.findings, finding)
	return out, true
}

// appendOf adds connection c of attempt a, with its events, to the attempts of
// one host.
func appendOf(to []attempt, a attempt, addr netip.Addr, c *evidence.Connection) []attempt {
	if n := len(to); n == 0 || !to[n-1].start.Equal(a.start) {
		to = append(to, attempt{start: a.start, end: a.end, complete: a.complete})
	}
	last := &to[len(to)-1]
	last.conns = append(last.conns, c)
	for _, ev := range a.events {
		if ev.conn == c && ev.host == addr {
			last.events = append(last.events, ev)
		}
	}
	return to
}

// names returns the distinct names of the policies in s, weakest first.
func (e *Engine) names(s set) []Name {
	seen := make(map[Name]bool)
	for i := range s.all() {
		seen[e.policies[i].Name()] = true
	}
	out := []Name{}
	for _, n := range Names() {
		if seen[n] {
			out = append(out, n)
		}
	}
	return out
}

// nameOf returns the name that r proves, or Undetermined.
func (e *Engine) nameOf(r result) Name {
	names := e.names(r.candidates)
	switch {
	case r.mixed:
		return Mixed
	case len(names) != 1 || !deliveredToET(r.facts):
		return Undetermined
	}
	return names[0]
}

func deliveredToET(facts []fact) bool {
	return slices.ContainsFunc(facts, func(f fact) bool {
		return f.face.Domain == et && (f.outcome == deliveredTLS || f.outcome == deliveredPlaintext)
	})
}
