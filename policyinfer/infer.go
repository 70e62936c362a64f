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
	named    map[Name]set // the policies of each name
}

// New returns an engine with every policy that can exist and the mask of every
// observation that a connection can give.
func New() *Engine {
	e := &Engine{policies: policies(), masks: make(map[observation]set), named: make(map[Name]set)}
	if len(e.policies) > words*64 {
		panic(fmt.Sprintf("policyinfer: %d policies do not fit into a set", len(e.policies)))
	}
	for i, p := range e.policies {
		e.all.add(i)
		named := e.named[p.Name()]
		named.add(i)
		e.named[p.Name()] = named
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
	if kept, fault, ok := beside(&h, t); ok {
		return e.withoutFault(&h, &kept, t, o, fault)
	}
	return e.infer(&h, t, o)
}

// infer concludes from a history in order of time.
func (e *Engine) infer(h *evidence.History, t timing, o Options) Verdict {
	as := attempts(h, t)
	r := e.shownByOneHost(h, t, e.sinceResent(h, t, as, e.conclude(h, t, as)))
	v := e.verdict(h, t, as, r)
	if o.Explain {
		v.Eliminated = e.explain(r)
	}
	return v
}

// result is what elimination left.
type result struct {
	candidates set
	facts      []fact
	attempts   []attempt                // those that the conclusion rests on
	first      map[netip.Addr]time.Time // contact of each host to et
	findings   []Finding
	hosts      map[string]HostVerdict
	mixed      bool
	// piecedTogether: no host alone shows what all together seem to enforce.
	piecedTogether bool
	leftOut        int // connections of no mail that contradict the mails, and were not used
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
	facts := e.withoutEmptySilence(l.facts)
	r := result{candidates: e.eliminate(facts), facts: facts, attempts: as, first: l.first}
	if !certificatesMatter(facts) && e.allProtected(r.candidates) {
		// SNI habits alone never make a sender protected: its hosts may differ in
		// them. Nor does what it does at ut: it may have a rule for each domain.
		without := slices.Clone(facts)
		for i := range without {
			without[i].sni = scenario.Unknown
		}
		r.candidates = e.eliminate(without).or(e.eliminate(notAtUT(without)))
	}
	return r
}

// certificatesMatter reports whether anything shows that certificates matter: a
// refusal inside TLS, or silence.
func certificatesMatter(facts []fact) bool {
	return slices.ContainsFunc(facts, func(f fact) bool {
		return f.outcome == neverAtUT || f.outcome == neverAtMX03 || f.outcome == refusedTLS && f.face.Domain != ut
	})
}

func notAtUT(facts []fact) []fact {
	return slices.DeleteFunc(slices.Clone(facts), func(f fact) bool { return f.face.Domain == ut })
}

func (e *Engine) allProtected(s set) bool {
	names := e.names(s)
	return len(names) > 0 && names[0].Protected() // the weakest comes first
}

// withoutEmptySilence drops the silence at ut unless the rest shows DANE: it
// tells dane-only from dane, but a copy may also get lost on its way.
func (e *Engine) withoutEmptySilence(facts []fact) []fact {
	silent := func(f fact) bool { return f.outcome == neverAtUT }
	if !slices.ContainsFunc(facts, silent) {
		return facts
	}
	seen := slices.DeleteFunc(slices.Clone(facts), func(f fact) bool { return silent(f) || f.outcome == neverAtMX03 })
	for i := range e.eliminate(seen).all() {
		if e.policies[i].DANE == DANEOff {
			return slices.DeleteFunc(slices.Clone(facts), silent)
		}
	}
	return facts
}

// names returns the distinct names of the policies in s, weakest first.
func (e *Engine) names(s set) []Name {
	out := []Name{}
	for _, n := range Names() {
		if s.and(e.named[n]) != (set{}) {
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
	case len(names) != 1 || !deliveredToET(r.facts) || r.piecedTogether:
		return Undetermined
	case (names[0] == May || names[0] == None) && !r.handedInPlaintext(et):
		return Undetermined // what it does at ut may be another rule
	}
	return names[0]
}

func deliveredToET(facts []fact) bool {
	return slices.ContainsFunc(facts, func(f fact) bool {
		return f.face.Domain == et && (f.outcome == deliveredTLS || f.outcome == deliveredPlaintext)
	})
}

func (r result) handedInPlaintext(d scenario.Domain) bool {
	return slices.ContainsFunc(r.facts, func(f fact) bool { return f.face.Domain == d && f.outcome == deliveredPlaintext })
}
