package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/deliver"
	"github.com/tlsink/tlsink/policyinfer"
)

// outcomes judges all tests of a mailbox of s and says how they ended.
func (w *world) outcomes(s *mta, user string) string {
	w.t.Helper()
	var out []string
	for _, r := range w.tests(s.address(user)) {
		w.judge(s.kind, r)
		one := fmt.Sprintf("%s after %.0f min", r.verdict.Policy, r.took.Minutes())
		if r.verdict.Policy == policyinfer.Undetermined {
			one += fmt.Sprint(" ", r.verdict.Candidates)
		}
		out = append(out, one)
	}
	return strings.Join(out, "; ")
}

// Two senders of different policies share an address, and send in the same
// hour. What they show without a mail cannot be told apart, so a verdict may
// stay open; it must never be that of the other.
func TestHoursOfTwoSendersAtOneAddress(t *testing.T) {
	names := deliver.Names()
	simulated(t, func(w *world, seed uint64, lines *table) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var senders []*mta
		var offsets []time.Duration
		var pairs [][2]string
		for i := range names {
			for j := range i {
				pairs = append(pairs, [2]string{names[i], names[j]})
			}
		}
		for i, pair := range some(rng, 4, pairs) {
			for _, name := range pair {
				senders = append(senders, newMTA(w, vary(rng, policyNamed(name)), retries()[1+rng.IntN(3)], rng.Uint64(), clientIP(i+1)))
				offsets = append(offsets, time.Duration(rng.Int64N(int64(time.Hour))))
			}
		}
		together(senders, func(i int, s *mta) {
			time.Sleep(offsets[i])
			if p := s.deliver(w.t.Context(), s.write("user", toET, toUT), nil); !p.accepted[toET] {
				w.t.Errorf("%s: after %s accepted only %v, bounced %v", s.label, p, p.accepted, p.bounced)
			}
		})
		time.Sleep(time.Hour)
		decided := 0
		for i := 0; i < len(senders); i += 2 {
			a, b := senders[i], senders[i+1]
			lines.add("%-40s %s | beside %s: %s", a.label, w.outcomes(a, "user"), b.label, w.outcomes(b, "user"))
			for _, s := range []*mta{a, b} {
				tests := w.tests(s.address("user"))
				w.reported(s.address("user"), len(tests))
				if len(tests) > 0 && tests[0].verdict.Policy == s.want {
					decided++
				}
			}
		}
		lines.add("~ decided: %d of %d", decided, len(senders))
	})
}

// Several users of one provider test at once. All of them learn about the
// provider.
func TestHoursOfSeveralUsersOfOneProvider(t *testing.T) {
	const users = 3
	simulated(t, func(w *world, seed uint64, lines *table) {
		rng := rand.New(rand.NewPCG(seed, 4))
		var providers []*mta
		var each []*mta // a provider for each of its users
		for i, k := range some(rng, 3, kinds(rng)) {
			p := newMTA(w, k, retries()[1+rng.IntN(3)], rng.Uint64(), clientIP(i+1))
			providers = append(providers, p)
			for range users {
				each = append(each, p.again(rng.Uint64()))
			}
		}
		together(each, func(i int, s *mta) {
			s.someTime(40 * time.Minute)
			user := fmt.Sprint("user", i%users)
			if p := s.deliver(w.t.Context(), s.write(user, toET, toUT), nil); !p.accepted[toET] {
				w.t.Errorf("%s: after %s accepted only %v, bounced %v", s.label, p, p.accepted, p.bounced)
			}
		})
		time.Sleep(time.Hour)
		for _, p := range providers {
			var all []string
			for u := range users {
				user := fmt.Sprint("user", u)
				all = append(all, w.outcomes(p, user))
				w.reported(p.address(user), len(w.tests(p.address(user))))
			}
			lines.add("%-40s %s", p.label, strings.Join(all, " | "))
		}
	})
}

// A provider sends each attempt from another of its addresses. Each host has
// its own memory, as for MTA-STS policies.
func TestHoursOfSeveralAddresses(t *testing.T) {
	simulated(t, func(w *world, seed uint64, lines *table) {
		rng := rand.New(rand.NewPCG(seed, 6))
		var senders []*mta
		for i, k := range kinds(rng) {
			senders = append(senders, newMTA(w, k, retries()[rng.IntN(4)], rng.Uint64(), clientIP(3*i+1), clientIP(3*i+2), clientIP(3*i+3)))
		}
		trips := make([]trip, len(senders))
		together(senders, func(i int, s *mta) {
			s.someTime(20 * time.Minute)
			trips[i] = s.deliver(w.t.Context(), s.write("user", toET, toUT), nil)
		})
		time.Sleep(time.Hour)
		for i, s := range senders {
			tests := w.tests(s.address("user"))
			w.reported(s.address("user"), len(tests))
			lines.add("%-40s retry %2.0f min: %s; accepted after %s", s.label, s.retry.Minutes(), w.outcomes(s, "user"), trips[i])
		}
	})
}
