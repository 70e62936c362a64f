package policyinfer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

// Now and then our own servers are not what they have to be, so that a sender
// seems to have any policy; that is found afterwards. Whatever it looked like,
// no verdict rests on it.
func TestSimulatedSendersAtABrokenSink(t *testing.T) {
	t.Parallel()
	e := New()
	named, suffered := 0, 0
	for seed := range uint64(simRuns(t)) {
		r := newSimRun(seed, e.policies)
		if r.kind != simAlone && r.kind != simStrange {
			continue
		}
		r.trouble = false
		rng, found := rand.New(rand.NewPCG(seed, 3)), false
		for range r.attempts {
			since, fault := r.w.now, rng.IntN(3) == 0
			if fault {
				seems := e.policies[rng.IntN(len(e.policies))]
				for _, h := range r.s.hosts {
					h.p = seems
				}
			}
			r.strangers()
			r.s.run(r.w)
			r.strangers()
			rest := r.s.retry + time.Duration(rng.IntN(60))*time.Second
			if fault {
				found = true
				for _, h := range r.s.hosts {
					h.p = r.s.truth.now
				}
				r.w.wait(time.Second)
				r.w.fails("mx05", since)
				lasts := time.Duration(rng.Int64N(int64(rest)))
				r.w.wait(lasts)
				r.w.fails("", time.Time{})
				rest -= lasts
			}
			r.again()
			r.w.wait(rest)
			h := r.w.snapshot(len(r.w.h.Connections))
			if !simHasMail(h) {
				continue
			}
			x := r.s.truth.expect(h)
			if found {
				x.Findings = append(x.Findings, FindingBroken)
			}
			v := e.Infer(h, Options{})
			if wrong := x.wrong(v); len(wrong) > 0 {
				t.Errorf("seed %d, %s, %v: %v\nverdict %s %v, findings %v", seed, r.kind, r.s.truth.now, wrong, v.Policy, v.Candidates, v.Findings)
				break
			}
			if slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.ID == FindingBroken }) {
				suffered++
				if v.Policy != Undetermined {
					named++
				}
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d verdicts beside a fault, %d of them name a policy", suffered, named)
	if named == 0 {
		t.Error("no fault is ever got over")
	}
}

// fails notes that our own servers are broken, perhaps since some time, or no
// longer.
func (w *simWorld) fails(why string, since time.Time) {
	w.fault = evidence.State{Broken: why, BrokenSince: since}
	w.state()
}
