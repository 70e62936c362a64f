package assess

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/policyinfer"
)

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// Two senders of different policy behind one address, in the same hour: no
// verdict is ever wrong, whoever begins and however they retry.
func TestTwoSendersBehindOneAddress(t *testing.T) {
	t.Parallel()
	names := policyinfer.Names()
	seeds := uint64(1)
	if v, err := strconv.ParseUint(os.Getenv("TLSINK_SIM"), 10, 64); err == nil {
		seeds = 1 + v/1000
	}
	for _, first := range names {
		t.Run(string(first), func(t *testing.T) {
			for _, second := range names {
				for seed := range seeds {
					synctest.Test(t, func(t *testing.T) { twoSenders(t, first, second, seed) })
				}
			}
		})
	}
}

func twoSenders(t *testing.T, first, second policyinfer.Name, seed uint64) {
	w := newWorld(t, seed)
	defer w.stop()
	retries := []time.Duration{5, 7, 10, 15, 20, 30}
	type queued struct {
		*sender
		every, next time.Duration
	}
	var all []*queued
	for i, p := range []policyinfer.Name{first, second} {
		s := w.sender(fmt.Sprintf("user%d@sender%d.example", i, i), p)
		s.perTry, s.sni = 1+w.rng.IntN(2), w.rng.IntN(3) == 0
		q := &queued{sender: s, every: retries[w.rng.IntN(len(retries))] * time.Minute}
		if i == 1 {
			q.next = time.Duration(w.rng.IntN(40)) * time.Minute
		}
		all = append(all, q)
	}
	for at := time.Duration(0); at < 3*time.Hour; {
		next := 3 * time.Hour
		for _, q := range all {
			if q.delivered() {
				continue
			}
			if at >= q.next {
				if q.port == 20000 {
					q.mail() // its first attempt: written just now
				}
				q.attempt()
				q.next = at + q.every
			}
			next = min(next, q.next)
		}
		w.wait(next - at)
		at = next
	}
	for _, q := range all {
		for _, r := range w.tests(q.from) {
			v, err := w.a.View(r.Test.ID)
			if err != nil {
				t.Fatal(err)
			}
			if v.Verdict.Policy != policyinfer.Undetermined && v.Verdict.Policy != q.policy {
				t.Errorf("seed %d, %s (every %v) beside %s (every %v): %s %s is called %s\nreasons %v", seed, first, all[0].every, second, all[1].every,
					q.policy, q.from, v.Verdict.Policy, v.Verdict.Reasons)
			}
		}
	}
}
