package assess

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// A large provider: several users with policies of their own, all from the same
// addresses and with the same EHLO names, two of them in a slot each, two on
// slot 0. People try names by hand, tokens are passed on, mails are sent again,
// the service restarts, a test is deleted.
func TestCrowdOfOneProvider(t *testing.T) {
	t.Parallel()
	const seeds = 12
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { crowd(t, seed) })
		})
	}
}

func crowd(t *testing.T, seed uint64) {
	w, rng := newWorld(t, seed), newRNG(seed+1000)
	policies := policyinfer.Names()
	ips := []string{"192.0.2.10", "192.0.2.11", "192.0.2.77"}[:1+rng.IntN(3)]
	var all []*sender
	for i := range 5 {
		s := w.sender(fmt.Sprintf("user%d@d%d.example", i, i), policies[rng.IntN(len(policies))])
		s.ips, s.sni, s.perTry, s.port = ips, rng.IntN(2) == 0, 1+rng.IntN(3), 20000+5000*i
		switch i {
		case 0:
			s.lease(1, token, "FIRST2")
		case 1:
			s.lease(2, otherToken, "SECND2")
		case 4: // who was told the token of another one
			if rng.IntN(3) > 0 {
				continue
			}
			s.lease(1, token, "FIRST2")
		}
		all = append(all, s)
	}
	for range 14 {
		for _, s := range all {
			if rng.IntN(4) > 0 {
				s.attempt()
			}
			w.wait(time.Duration(rng.IntN(90)) * time.Second)
		}
		happens(w, rng, all, ips)
		w.wait(time.Duration(rng.IntN(7)) * time.Minute)
		for _, s := range all {
			judged(t, w, s)
		}
	}
	w.stop()
}

// happens lets something happen that is nobody's test.
func happens(w *world, rng *rand.Rand, all []*sender, ips []string) {
	s := all[rng.IntN(len(all))]
	switch rng.IntN(6) {
	case 0:
		w.stop()
		w.start()
	case 1:
		host := scenario.MXHosts()[rng.IntN(4)]
		w.stray(ips[rng.IntN(len(ips))], s.helo, scenario.Names(zone, s.slot).Host(host), nil)
	case 2:
		s.mail()
	case 3:
		if rng.IntN(3) == 0 {
			if _, err := w.a.Forget(w.t.Context(), s.from); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func judged(t *testing.T, w *world, s *sender) {
	t.Helper()
	for _, r := range w.tests(s.from) {
		v, err := w.a.View(r.Test.ID)
		if err != nil {
			t.Fatal(err)
		}
		if v.Verdict.Conclusive && v.Verdict.Policy != s.policy && r.State != history.StateRunning {
			t.Fatalf("%s in slot %d, leased %v, shared %v: %s is called %s; left out %d, %v", s.from, r.Test.Slot, r.Leased, r.Shared, s.policy, v.Verdict.Policy, r.Test.LeftOut, by(v))
		}
	}
}
