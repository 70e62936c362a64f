package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/deliver"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
)

// rounds is how often a simulation runs: TLSINK_SIM times, else once.
func rounds(t *testing.T) int {
	t.Helper()
	v := os.Getenv("TLSINK_SIM")
	if v == "" {
		return 1
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("TLSINK_SIM=%q: want a number of runs", v)
	}
	return n
}

// thorough reports whether time does not matter.
func thorough() bool { return os.Getenv("TLSINK_SIM") != "" }

// some returns n members of a list, or all of them if time does not matter.
func some[T any](rng *rand.Rand, n int, list []T) []T {
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	if thorough() {
		return list
	}
	if raceEnabled {
		n = max(1, n/2)
	}
	return list[:min(n, len(list))]
}

// kinds are all policies; what a policy leaves open is random.
func kinds(rng *rand.Rand) []kind {
	var out []kind
	for _, name := range deliver.Names() {
		out = append(out, vary(rng, policyNamed(name)))
	}
	lazy := policyNamed("mta-sts", func(k *kind) { k.label, k.policy.STS = "mta-sts lazy", deliver.STSLazy })
	loose := policyNamed("may", func(k *kind) { k.label, k.policy.CA = "may, falls back", deliver.CAPlaintextAfterFailure })
	postfix := policyNamed("verify", func(k *kind) { k.label, k.policy.SNI = "verify, no SNI", deliver.SNINever })
	return append(out, vary(rng, lazy), vary(rng, loose), postfix)
}

// vary draws what differs between senders of one policy.
func vary(rng *rand.Rand, k kind) kind {
	p := &k.policy
	if rng.IntN(3) == 0 {
		p.SNI = deliver.SNIAlways
	}
	p.Refusal = []deliver.RefusalStyle{deliver.RefuseByQuit, deliver.RefuseByAlert, deliver.RefuseByClose}[rng.IntN(3)]
	p.MaxMX = rng.IntN(3)
	p.CollapseSameAddress = rng.IntN(4) == 0
	p.Filter = []deliver.FilterRule{deliver.FilterEarly, deliver.FilterLate}[rng.IntN(2)]
	p.UnadvertisedStartTLS = rng.IntN(8) == 0
	if p.SNI == deliver.SNIAlways {
		k.label += ", SNI"
	}
	k.label += []string{", quits", ", alerts", ", closes"}[p.Refusal]
	k.label += fmt.Sprintf(", %d MX", p.MaxMX)
	if p.CollapseSameAddress {
		k.label += ", collapses"
	}
	if p.UnadvertisedStartTLS {
		k.label += ", mox"
	}
	switch {
	case k.want == policyinfer.Verify && p.SNI == deliver.SNIAlways:
		k.open = "with SNI, verify does what a strict mta-sts does"
	case k.want == policyinfer.Verify && p.CollapseSameAddress:
		k.open = "its refusals come without a delivery in the same attempt"
	case k.want == policyinfer.DANEOnly && p.UnadvertisedStartTLS:
		k.open = "STARTTLS that was not offered could have been for ut"
	case k.want == policyinfer.May && p.CA != deliver.CAIgnored:
		k.open = "plaintext after a refusal comes by chance"
	}
	return k
}

// row is what is known about one test in the end.
type row struct {
	rec     history.TestRecord
	verdict policyinfer.Verdict
	took    time.Duration
}

// tests returns the tests of an envelope sender, the first one first.
func (w *world) tests(sender string) []row {
	w.t.Helper()
	records, err := w.service().store.Tests(context.Background(), history.TestFilter{})
	if err != nil {
		w.t.Fatal(err)
	}
	var out []row
	for _, r := range slices.Backward(records) {
		if r.Test.Sender != sender {
			continue
		}
		one := row{rec: r, took: r.Concluded.Sub(r.Opened)}
		if len(r.Verdict) > 0 {
			if err := json.Unmarshal(r.Verdict, &one.verdict); err != nil {
				w.t.Fatal(err)
			}
		}
		out = append(out, one)
	}
	return out
}

// judge checks what a test has found out: never a wrong verdict; one that is
// open names what is true among the candidates; the stored history says the
// same again; and one report came.
func (w *world) judge(k kind, r row) {
	w.t.Helper()
	v := r.verdict
	fail := func(format string, args ...any) {
		w.t.Helper()
		w.t.Errorf("%s: test %s of %s: %s\nverdict: %+v\nhistory: %s", k.label, r.rec.Test.ID, r.rec.Test.Sender, fmt.Sprintf(format, args...), v, w.dump(r.rec.Test.ID))
	}
	if r.rec.Concluded.IsZero() {
		fail("no verdict was reached")
		return
	}
	switch {
	case v.Policy == k.want:
	case v.Policy != policyinfer.Undetermined:
		fail("WRONG verdict %s, want %s", v.Policy, k.want)
	case !slices.Contains(v.Candidates, k.want):
		fail("WRONG candidates %v, want %s among them", v.Candidates, k.want)
	}
	h, err := w.service().store.History(r.rec.Test.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	h.Until = r.rec.Concluded
	h.Connections = slices.DeleteFunc(h.Connections, func(c evidence.Connection) bool { return c.Start.After(r.rec.Concluded) })
	again := policyinfer.New().Infer(h, policyinfer.Options{})
	if again.Policy != v.Policy {
		fail("the stored history gives %s %v", again.Policy, again.Candidates)
	}
}

// decided wants a verdict that is not open.
func (w *world) decided(k kind, r row) {
	w.t.Helper()
	w.judge(k, r)
	if r.verdict.Policy == policyinfer.Undetermined && k.open == "" && r.took < 8*time.Hour {
		w.t.Errorf("%s: test %s is undetermined after %v: %v, missing %v, findings %v; history: %s",
			k.label, r.rec.Test.ID, r.took, r.verdict.Candidates, r.verdict.Missing, r.verdict.Findings, w.dump(r.rec.Test.ID))
	}
}

// reported wants one report for each test of a sender.
func (w *world) reported(sender string, tests int) {
	w.t.Helper()
	if got := w.mailbox.reports(sender); len(got) != tests {
		w.t.Errorf("%d reports for %s, want %d", len(got), sender, tests)
	}
}

// dump writes the history of a test for later analysis and returns where.
func (w *world) dump(id string) string {
	h, err := w.service().store.History(id)
	if err != nil {
		return err.Error()
	}
	name := filepath.Join(w.t.ArtifactDir(), id+".jsonl")
	f, err := os.Create(name)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if err := evidence.WriteHistory(f, h); err != nil {
		return err.Error()
	}
	return name
}

// table gathers lines from several goroutines.
type table struct {
	mu    sync.Mutex
	lines []string
}

func (b *table) add(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, fmt.Sprintf(format, args...))
}

func (b *table) log(t *testing.T) {
	slices.Sort(b.lines)
	t.Log("\n" + strings.Join(b.lines, "\n"))
}

// together runs a function for each sender at the same time and waits.
func together(senders []*mta, run func(i int, s *mta)) {
	var wg sync.WaitGroup
	for i, s := range senders {
		wg.Go(func() { run(i, s) })
	}
	wg.Wait()
	for _, s := range senders {
		s.wait()
	}
}

// retries are intervals of real senders.
func retries() []time.Duration {
	return []time.Duration{5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour}
}

func (s *mta) someTime(most time.Duration) { time.Sleep(time.Duration(s.rng.Int64N(int64(most)))) }

// simulated runs one bubble for each seed, and logs what it tells. If time does
// not matter, so it does for each way to withhold STARTTLS.
func simulated(t *testing.T, run func(w *world, seed uint64, lines *table)) {
	t.Helper()
	every(t, "", func(*config.Config) {}, run)
	if thorough() {
		firstContact(t, run)
	}
}

// every runs one bubble for each seed in a configuration.
func every(t *testing.T, name string, setup func(*config.Config), run func(w *world, seed uint64, lines *table)) {
	t.Helper()
	for seed := range uint64(rounds(t)) {
		t.Run(fmt.Sprintf("%sseed %d", name, seed), func(t *testing.T) {
			var lines table
			defer lines.log(t)
			hoursOf(t, setup, func(w *world) { run(w, seed, &lines) })
		})
	}
}

// Senders of every policy and habit, each at an address of its own.
func TestHoursOfEveryPolicy(t *testing.T) {
	simulated(t, func(w *world, seed uint64, lines *table) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var senders []*mta
		for i, k := range kinds(rng) {
			senders = append(senders, newMTA(w, k, retries()[rng.IntN(5)], seed<<8+uint64(i), clientIP(i+1)))
		}
		trips := make([]trip, len(senders))
		together(senders, func(i int, s *mta) {
			s.someTime(20 * time.Minute)
			trips[i] = s.deliver(w.t.Context(), s.write("user", toET, toUT), nil)
		})
		time.Sleep(time.Hour) // for the last report
		for i, s := range senders {
			w.arrived(s, trips[i], lines)
		}
	})
}

// everyKind returns a sender of each kind, at an address of its own; only n of
// them if time matters.
func (w *world) everyKind(rng *rand.Rand, n int, change func(k *kind)) []*mta {
	var out []*mta
	for i, k := range some(rng, n, kinds(rng)) {
		if change != nil {
			change(&k)
		}
		out = append(out, newMTA(w, k, retries()[rng.IntN(4)], rng.Uint64(), clientIP(i+1)))
	}
	return out
}

// The service is stopped and started again, now and then, while tests run.
func TestHoursWithRestarts(t *testing.T) {
	simulated(t, func(w *world, seed uint64, lines *table) {
		rng := rand.New(rand.NewPCG(seed, 2))
		senders := w.everyKind(rng, 5, nil)
		trips := make([]trip, len(senders))
		var wg sync.WaitGroup
		done := make(chan struct{})
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Duration(rng.Int64N(int64(30 * time.Minute)))):
				}
				w.halt()
				time.Sleep(time.Duration(rng.Int64N(int64(5 * time.Minute))))
				w.start()
			}
		})
		together(senders, func(i int, s *mta) {
			s.someTime(20 * time.Minute)
			trips[i] = s.deliver(w.t.Context(), s.write("user", toET, toUT), nil)
		})
		close(done)
		wg.Wait()
		time.Sleep(time.Hour)
		for i, s := range senders {
			w.arrived(s, trips[i], lines)
		}
	})
}

// arrived checks a sender with one mail to et and ut.
func (w *world) arrived(s *mta, p trip, lines *table) {
	if !p.accepted[toET] || !p.accepted[toUT] && s.policy.DANE != deliver.DANERequire {
		w.t.Errorf("%s: after %s accepted only %v, bounced %v", s.label, p, p.accepted, p.bounced)
		for _, r := range w.tests(s.address("user")) {
			w.t.Logf("test %s: %s, history: %s", r.rec.Test.ID, r.rec.State, w.dump(r.rec.Test.ID))
		}
	}
	tests := w.tests(s.address("user"))
	if len(tests) != 1 {
		w.t.Errorf("%s: %d tests, want 1", s.label, len(tests))
		for _, r := range tests {
			w.t.Logf("%+v\n%s", r, w.dump(r.rec.Test.ID))
		}
		return
	}
	r := tests[0]
	w.decided(s.kind, r)
	w.reported(s.address("user"), 1)
	note := ""
	if r.verdict.Policy == policyinfer.Undetermined {
		note = fmt.Sprintf(" %v %s", r.verdict.Candidates, s.open)
	}
	lines.add("%-40s retry %2.0f min: %-12s after %3.0f min, %2d attempts; accepted after %s%s",
		s.label, s.retry.Minutes(), r.verdict.Policy, r.took.Minutes(), r.verdict.Attempts, p, note)
}
