package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/deliver"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
)

// all runs one mail for each sender and lets the reports arrive.
func (w *world) all(senders []*mta, to ...string) []trip {
	trips := make([]trip, len(senders))
	together(senders, func(i int, s *mta) {
		s.someTime(20 * time.Minute)
		trips[i] = s.deliver(w.t.Context(), s.write("user", to...), nil)
	})
	time.Sleep(time.Hour)
	return trips
}

// The mail is sent again while the test runs, after the ack, and after the
// verdict. The first is no test of its own if it comes in time, the others are.
func TestHoursOfMailSentAgain(t *testing.T) {
	simulated(t, func(w *world, seed uint64, lines *table) {
		rng := rand.New(rand.NewPCG(seed, 10))
		senders := w.everyKind(rng, 2, nil)
		counts := make([][]int, len(senders)) // tests after each mail
		together(senders, func(i int, s *mta) {
			from, count := s.address("user"), func() { counts[i] = append(counts[i], len(w.tests(s.address("user")))) }
			first, second := s.write("user", toET, toUT), (*testMail)(nil)
			// While it runs: two mails at the same time, in the same queue.
			w.twoMails(s, first, func() *testMail { second = s.write("user", toET, toUT); return second })
			count()
			time.Sleep(time.Hour)
			s.deliver(w.t.Context(), s.write("user", toET, toUT), nil) // after the ack
			count()
			time.Sleep(time.Hour)
			// After the verdict, before the ack: the first mail is never delivered.
			ctx, cancel := context.WithCancel(w.t.Context())
			s.deliver(ctx, s.write("user", toET, toUT), func(int) {
				if list := w.tests(from); len(list) > 0 && list[len(list)-1].rec.State == history.StateConcluded {
					cancel()
				}
			})
			cancel()
			s.deliver(w.t.Context(), s.write("user", toET, toUT), nil)
			count()
		})
		time.Sleep(time.Hour)
		for i, s := range senders {
			tests := w.tests(s.address("user"))
			lines.add("%-40s tests %v: %s", s.label, counts[i], w.outcomes(s, "user"))
			w.reported(s.address("user"), len(tests))
			if c := counts[i]; c[0] > 2 || c[1] != c[0]+1 || c[2] != c[1]+2 && c[2] != c[1]+1 {
				w.t.Errorf("%s: %v tests after each mail, want 1 or 2, then one more, then two more", s.label, c)
			}
		}
	})
}

// twoMails delivers a mail, and some minutes later another one as well.
func (w *world) twoMails(s *mta, first *testMail, second func() *testMail) {
	done := make(chan struct{})
	other := s.again(s.rng.Uint64())
	go func() {
		defer close(done)
		time.Sleep(time.Minute + time.Duration(other.rng.Int64N(int64(6*time.Minute))))
		other.deliver(w.t.Context(), second(), nil)
	}()
	s.deliver(w.t.Context(), first, nil)
	<-done
}

// Each domain gets a mail of its own.
func TestHoursOfSeparateMails(t *testing.T) {
	simulated(t, func(w *world, seed uint64, lines *table) {
		senders := w.everyKind(rand.New(rand.NewPCG(seed, 11)), 4, nil)
		together(senders, func(_ int, s *mta) {
			s.someTime(20 * time.Minute)
			w.twoMails(s, s.write("user", toET), func() *testMail { return s.write("user", toUT) })
		})
		time.Sleep(time.Hour)
		for _, s := range senders {
			lines.add("%-40s %s", s.label, w.outcomes(s, "user"))
			w.reported(s.address("user"), len(w.tests(s.address("user"))))
		}
	})
}

// Only one of the domains gets a mail. What the other one would tell stays
// open.
func TestHoursOfOneDomain(t *testing.T) {
	for name, to := range map[string]string{"et": toET, "ut": toUT} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(w *world, seed uint64, lines *table) {
				rng := rand.New(rand.NewPCG(seed, 12))
				senders := w.everyKind(rng, 2, nil)
				trips := w.all(senders, to)
				for i, s := range senders {
					lines.add("%-40s accepted after %s: %s", s.label, trips[i], w.outcomes(s, "user"))
					tests := w.tests(s.address("user"))
					w.reported(s.address("user"), len(tests))
					for _, r := range tests {
						if to == toUT && r.verdict.Policy != policyinfer.Undetermined {
							w.t.Errorf("%s: %s from mail to ut alone", s.label, r.verdict.Policy)
						}
					}
				}
			})
		})
	}
}

// A sender that needs TLS bounces et's copy when no host offers it, and its
// user sends again; the copy for ut may still be in the queue.
func TestHoursOfBounces(t *testing.T) {
	simulated(t, func(w *world, seed uint64, lines *table) {
		rng := rand.New(rand.NewPCG(seed, 13))
		senders := w.everyKind(rng, 3, func(k *kind) { k.policy.OnMissingTLS = deliver.BounceMissingTLS })
		mails := make([]int, len(senders))
		together(senders, func(i int, s *mta) {
			var queue sync.WaitGroup
			defer queue.Wait()
			for range 10 {
				mails[i]++
				m := s.write("user", toET)
				m.message = bytes.Replace(m.message, []byte("To: "+toET), []byte("To: "+toET+", "+toUT), 1)
				rest := *m
				rest.to = []string{toUT}
				other := s.again(s.rng.Uint64())
				queue.Go(func() { other.deliver(w.t.Context(), &rest, nil) })
				if p := s.deliver(w.t.Context(), m, nil); p.accepted[toET] {
					return
				}
				time.Sleep(time.Minute + time.Duration(s.rng.Int64N(int64(20*time.Minute))))
			}
			w.t.Errorf("%s: %d mails and none delivered", s.label, mails[i])
		})
		time.Sleep(time.Hour)
		for i, s := range senders {
			lines.add("%-40s %d mails: %s", s.label, mails[i], w.outcomes(s, "user"))
			w.reported(s.address("user"), len(w.tests(s.address("user"))))
		}
	})
}

// An admin changes the policy and sends again. A test that saw both settings
// must not add them up to a third. The mail after that is a test of its own, and
// about the new setting alone.
func TestHoursOfAChangedPolicy(t *testing.T) {
	simulated(t, func(w *world, seed uint64, lines *table) {
		rng := rand.New(rand.NewPCG(seed, 14))
		type change struct {
			old, new *mta
			at       time.Duration
		}
		var changes []change
		names := deliver.Names()
		n := 4
		if thorough() {
			n = 40
		}
		for i := range n {
			from, to := rng.IntN(len(names)), rng.IntN(len(names)-1)
			if to >= from {
				to++
			}
			retry := retries()[rng.IntN(3)]
			a := newMTA(w, vary(rng, policyNamed(names[from])), retry, rng.Uint64(), clientIP(i+1))
			b := newMTA(w, vary(rng, policyNamed(names[to])), retry, rng.Uint64(), clientIP(i+1))
			b.domain, b.mails = a.domain, 100 // the same server with another setting
			changes = append(changes, change{a, b, time.Duration(rng.Int64N(int64(time.Hour)))})
		}
		var news []*mta
		for _, c := range changes {
			news = append(news, c.new)
		}
		together(news, func(i int, s *mta) {
			ctx, cancel := context.WithTimeout(w.t.Context(), changes[i].at)
			changes[i].old.deliver(ctx, changes[i].old.write("user", toET, toUT), nil)
			cancel()
			changes[i].old.wait()
			if p := s.deliver(w.t.Context(), s.write("user", toET, toUT), nil); !p.accepted[toET] {
				w.t.Errorf("%s: after %s accepted only %v", s.label, p, p.accepted)
			}
			time.Sleep(2 * time.Hour)
			s.deliver(w.t.Context(), s.write("user", toET, toUT), nil)
		})
		time.Sleep(9 * time.Hour)
		for _, c := range changes {
			tests := w.tests(c.new.address("user"))
			var told []string
			for i, r := range tests {
				v := r.verdict
				told = append(told, fmt.Sprintf("%s %v", v.Policy, v.Candidates))
				if v.Policy != c.new.want && v.Policy != c.old.want && v.Policy != policyinfer.Undetermined {
					w.t.Errorf("%s, then %s after %v: test %d WRONG: %s; history %s", c.old.label, c.new.label, c.at, i, v.Policy, w.dump(r.rec.Test.ID))
				}
				if i == len(tests)-1 {
					w.judge(c.new.kind, r)
				}
			}
			if len(tests) < 2 {
				w.t.Errorf("%s, then %s after %v: %d tests, want at least 2", c.old.label, c.new.label, c.at, len(tests))
			}
			lines.add("%-40s then %-40s after %3.0f min: %s", c.old.label, c.new.label, c.at.Minutes(), strings.Join(told, "; "))
		}
	})
}

// While our policy host is down, or our signatures are gone, senders that rely
// on them look as if they did not: no verdict may say so.
func TestHoursOfFaults(t *testing.T) {
	for name, fault := range map[string]struct {
		set  func(w *world, broken bool)
		want string
	}{
		"policy host down":   {func(w *world, broken bool) { w.policyDown.Store(broken) }, "own policy"},
		"signatures missing": {func(w *world, broken bool) { w.unsigned.Store(broken) }, "own zone"},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(w *world, seed uint64, lines *table) {
				w.faulty.Store(true)
				rng := rand.New(rand.NewPCG(seed, 15))
				senders := w.everyKind(rng, 3, nil)
				for _, s := range senders {
					s.blind.Store(name == "signatures missing" && rng.IntN(2) == 0)
				}
				fault.set(w, true)
				// The first check may be half done by now; the next follows after a tenth
				// of timing.self_check.
				time.Sleep(8 * time.Minute)
				if why := w.service().assess.Fault().Unverifiable; !strings.Contains(why, fault.want) {
					t.Errorf("self-check says %q", why)
				}
				time.AfterFunc(40*time.Minute, func() {
					fault.set(w, false)
					for _, s := range senders {
						s.blind.Store(false)
					}
				})
				trips := w.all(senders, toET, toUT)
				for i, s := range senders {
					lines.add("%-40s accepted after %s: %s", s.label, trips[i], w.suspended(s))
				}
				if why := w.service().assess.Fault().Unverifiable; why != "" {
					t.Errorf("after the repair the self-check says %q", why)
				}
			})
		})
	}
}

// suspended judges tests during a fault.
func (w *world) suspended(s *mta) string {
	w.t.Helper()
	var out []string
	for _, r := range w.tests(s.address("user")) {
		v := r.verdict
		out = append(out, fmt.Sprintf("%s %v after %.0f min", v.Policy, v.Candidates, r.took.Minutes()))
		found := slices.ContainsFunc(v.Findings, func(f policyinfer.Finding) bool { return f.ID == policyinfer.FindingUnverifiable })
		switch {
		case v.Policy != policyinfer.Undetermined && !v.Policy.Protected(), v.Policy == policyinfer.Verify:
			if r.rec.Opened.Before(bubbleStart().Add(46 * time.Minute)) {
				w.t.Errorf("%s: %s, although nothing was verifiable; history %s", s.label, v.Policy, w.dump(r.rec.Test.ID))
			}
		case v.Policy != policyinfer.Undetermined && v.Policy != s.want:
			w.t.Errorf("%s: WRONG: %s; history %s", s.label, v.Policy, w.dump(r.rec.Test.ID))
		}
		if !found && r.rec.Opened.Before(bubbleStart().Add(40*time.Minute)) {
			w.t.Errorf("%s: nothing is said about the fault: %+v", s.label, v.Findings)
		}
	}
	return strings.Join(out, "; ")
}

// bubbleStart is when the clock of every bubble starts.
func bubbleStart() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// A lazy sender is late with its first attempt, and somebody else at its
// address, of whom no mail is ever seen, was there before: that visit is not
// the first contact of the lazy sender.
func TestHoursOfALateLazySender(t *testing.T) {
	hours(t, func(w *world) {
		lazy := newMTA(w, policyNamed("mta-sts", func(k *kind) { k.policy.STS = deliver.STSLazy }), 15*time.Minute, 1, clientIP(1))
		other := newMTA(w, policyNamed("encrypt", func(k *kind) { k.policy.OnMissingTLS = deliver.BounceMissingTLS }), 15*time.Minute, 2, clientIP(1))
		m := lazy.write("user", toET, toUT)
		time.Sleep(time.Minute)
		if p := other.deliver(w.t.Context(), other.write("user", toET, toUT), nil); len(p.bounced) != 2 {
			t.Errorf("the other: %+v", p)
		}
		time.Sleep(20 * time.Minute)
		lazy.deliver(w.t.Context(), m, nil)
		lazy.wait()
		time.Sleep(time.Hour)
		for _, r := range w.tests(lazy.address("user")) {
			w.decided(lazy.kind, r)
			for _, reason := range r.verdict.Reasons {
				t.Log(reason.Text)
			}
			h, err := w.service().store.History(r.rec.Test.ID)
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(h.Connections, func(c evidence.Connection) bool { return c.Attribution == evidence.ByAddress }) {
				t.Log("the visit of the other was adopted")
			}
		}
	})
}
