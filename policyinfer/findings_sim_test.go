package policyinfer

import (
	"math/rand/v2"
	"testing"
	"time"
)

// What findings say about the policy of a sender, so that simulated senders
// can prove them wrong.
func findingTruths() map[string]func(Policy) bool {
	return map[string]func(Policy) bool{
		FindingFallback:       func(p Policy) bool { return p.CA == CAElsePlaintext },
		FindingVerifiesUnused: func(p Policy) bool { return p.CA != CAIgnored && p.Name() == May },
		FindingVerifiesNoSNI:  func(p Policy) bool { return p.CA != CAIgnored && p.SNI == SNINever },
		FindingEither:         func(p Policy) bool { return p.DANE != DANEOff && p.STS != STSOff && p.Both == EitherSuffices },
		FindingLazy:           func(p Policy) bool { return p.STS == STSLazy },
		FindingUnlistedMX:     func(p Policy) bool { return p.STS != STSOff && p.Filter == FilterLate },
		FindingAlsoSTS:        func(p Policy) bool { return p.DANE != DANEOff && p.STS != STSOff && p.Both == DANEWins },
		FindingBounced:        func(p Policy) bool { return p.MissingTLS == BounceMissing },
		// Nothing of these kinds happens in the simulation.
		FindingGoodRefused: never, FindingPipelined: never, FindingOldTLS: never, FindingWeakSuites: never, FindingNoCommonTLS: never,
		FindingMixed: never, FindingFamilies: never, FindingOptedOut: never, FindingRequireTLS: never, FindingUnverifiable: never,
		FindingSTSOverDANE: never, FindingTLSAUnused: never, FindingSTSUnused: never,
	}
}

func never(Policy) bool { return false }

// A wrong finding is as bad as a wrong verdict.
func TestFindingsAboutSimulatedSenders(t *testing.T) {
	e, truths := New(), findingTruths()
	seen := make(map[string]int)
	for seed := range simRuns(t) / 2 {
		rng := rand.New(rand.NewPCG(uint64(seed), 5))
		p := e.policies[seed%len(e.policies)]
		w, s := newSimWorld(rng), newSimSender(rng, p)
		w.weak, s.sent = rng.IntN(2) == 0, w.now
		for range 4 + rng.IntN(10) {
			s.attempt(w)
			if (s.bouncedET || s.bouncedUT) && rng.IntN(4) == 0 {
				s.bouncedET, s.bouncedUT, s.mails, s.sent = false, false, s.mails+1, w.now
			}
			w.wait(s.retry + time.Duration(rng.IntN(60))*time.Second)
			w.h.Until = w.now
		}
		v := e.Infer(w.h, Options{})
		for _, f := range v.Findings {
			seen[f.ID]++
			if is := truths[f.ID]; is != nil && !is(p) { // e.g. attribution-ambiguous says nothing about p
				t.Fatalf("seed %d, %s (%s): finding %s: %s %v", seed, p.Name(), p, f.ID, f.Text, f.Connections)
			}
		}
	}
	for _, id := range []string{FindingFallback, FindingEither, FindingLazy, FindingUnlistedMX} {
		if seen[id] == 0 && simRuns(t) >= 3000 {
			t.Errorf("no sender showed %s: %v", id, seen)
		}
	}
}
