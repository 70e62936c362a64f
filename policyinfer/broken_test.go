package policyinfer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

// breakAtRandom adds a fault of our own servers to the states of h.
func breakAtRandom(h evidence.History, rng *rand.Rand) evidence.History {
	if len(h.Connections) == 0 {
		return h
	}
	first, last := h.Connections[0].Start, h.Connections[len(h.Connections)-1].End
	life := max(last.Sub(first), time.Second)
	at := func(from time.Time) time.Time { return from.Add(time.Duration(rng.Int64N(int64(life)))) }
	since := at(first.Add(-life / 4))
	begin := since.Add(time.Duration(rng.Int64N(int64(life / 4))))
	h.States = slices.Clone(h.States)
	h.States = append(h.States, evidence.State{Time: begin, Broken: "mx05", BrokenSince: since})
	if rng.IntN(4) > 0 {
		h.States = append(h.States, evidence.State{Time: at(begin)})
	}
	return h
}

// A fault of our own servers never makes another verdict of one: it takes
// evidence away, and what is left has the same name or none. States between are
// as the world makes them.
func TestFaultsOfOursOnlyTakeAway(t *testing.T) {
	t.Parallel()
	e := New()
	seen := make(map[Name]int)
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 3))
		newSimRun(seed, e.policies).play(func(h evidence.History, _ simExpect) bool {
			a, b := e.Infer(h, Options{}), e.Infer(breakAtRandom(h, rng), Options{})
			if b.Policy != a.Policy && b.Policy != Undetermined {
				t.Errorf("seed %d: %s without a fault, %s with one", seed, a.Policy, b.Policy)
			}
			if b.Conclusive && !a.Conclusive {
				t.Errorf("seed %d: conclusive with a fault only", seed)
			}
			if a.Conclusive && slices.ContainsFunc(b.Findings, func(f Finding) bool { return f.ID == FindingBroken }) {
				seen[b.Policy]++
			}
			return !t.Failed()
		})
	}
	if seen[Undetermined] == 0 || len(seen) < 3 {
		t.Errorf("verdicts with a fault: %v; the faults hit nothing", seen)
	}
}

func TestWindowsOfAFault(t *testing.T) {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	fault := func(minute, since int) evidence.State {
		return evidence.State{Time: at(minute), Broken: "x", BrokenSince: at(since)}
	}
	good := func(minute int) evidence.State { return evidence.State{Time: at(minute)} }
	for name, c := range map[string]struct {
		states []evidence.State
		in     []int
		out    []int
	}{
		"none":              {[]evidence.State{good(0), good(10)}, nil, []int{0, 10}},
		"from the check on": {[]evidence.State{good(0), fault(10, 5), good(20)}, []int{5, 10, 21}, []int{4, 23}},
		"without since":     {[]evidence.State{good(0), {Time: at(10), Broken: "x"}, good(20)}, []int{10, 20}, []int{9, 23}},
		"to the end":        {[]evidence.State{fault(10, 5)}, []int{5, 1000}, []int{4}},
		"merged":            {[]evidence.State{fault(10, 5), fault(20, 5), good(30), fault(31, 29), good(40)}, []int{5, 30, 41}, []int{4, 43}},
		"apart":             {[]evidence.State{fault(10, 5), good(15), fault(40, 35), good(50)}, []int{5, 17, 35, 52}, []int{4, 18, 34, 53}},
		"reaches far back":  {[]evidence.State{fault(10, 9), good(15), fault(40, 1), good(50)}, []int{1, 16, 30, 52}, []int{0, 53}},
	} {
		t.Run(name, func(t *testing.T) {
			ws := broken(c.states, 2*time.Minute)
			for _, m := range c.in {
				if !ws.overlap(at(m), at(m)) {
					t.Errorf("minute %d is in none of %v", m, ws)
				}
			}
			for _, m := range c.out {
				if ws.overlap(at(m), at(m)) {
					t.Errorf("minute %d is in %v", m, ws)
				}
			}
		})
	}
}
