package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/deliver"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
)

// schedule is when a sender tries again.
type schedule struct {
	name string
	next func(age time.Duration, rng *rand.Rand) time.Duration
}

func schedules() []schedule {
	out := []schedule{
		// minimal_backoff_time, maximal_backoff_time and queue_run_delay of Postfix.
		{"Postfix", func(age time.Duration, rng *rand.Rand) time.Duration {
			return min(max(age, 300*time.Second), 4000*time.Second) + time.Duration(rng.Int64N(int64(300*time.Second)))
		}},
		// F,2h,15m; G,16h,1h,1.5, and a queue runner every 30 minutes.
		{"Exim", func(age time.Duration, rng *rand.Rand) time.Duration {
			if age == 0 {
				return 15*time.Minute + time.Duration(rng.Int64N(int64(30*time.Minute)))
			}
			if age < 2*time.Hour {
				return 30 * time.Minute
			}
			return max(time.Hour, age/2)
		}},
	}
	for _, every := range []time.Duration{10, 15, 20, 30, 60} {
		out = append(out, schedule{fmt.Sprintf("%d min", every), func(time.Duration, *rand.Rand) time.Duration { return every * time.Minute }})
	}
	return out
}

// measured is what one mode is to the senders of one kind and schedule.
type measured struct {
	minutes, attempts    []float64
	runs, bouncedET, ut  int
	bounced, undecided   int // mails of which a copy bounced; no verdict although none did
	decidedAfterBouncing int
}

func (m *measured) take(k kind, p trip, tests []row, start time.Time) {
	m.runs++
	lost := false
	for to, n := range map[string]*int{toET: &m.bouncedET, toUT: &m.ut} {
		if p.bounced[to] != "" {
			*n++
			lost = true
		}
	}
	decided := len(tests) == 1 && tests[0].verdict.Policy == k.want
	switch {
	case lost && decided:
		m.bounced++
		m.decidedAfterBouncing++
	case lost:
		m.bounced++
	case !decided:
		m.undecided++
	default:
		m.minutes = append(m.minutes, tests[0].rec.Concluded.Sub(start).Minutes())
		m.attempts = append(m.attempts, float64(tests[0].verdict.Attempts))
	}
}

// quantile of values that need not be sorted; "-" of none.
func quantile(values []float64, q float64) string {
	if len(values) == 0 {
		return "-"
	}
	slices.Sort(values)
	return fmt.Sprintf("%.0f", values[min(int(q*float64(len(values))), len(values)-1)])
}

func (m *measured) String() string {
	share := func(n int) string { return fmt.Sprintf("%d%%", 100*n/max(1, m.runs)) }
	return fmt.Sprintf("%4s %4s min, %2s %2s attempts, open %4s | bounced %4s: et %4s, ut %4s; verdict all the same %4s",
		quantile(m.minutes, 0.5), quantile(m.minutes, 0.99), quantile(m.attempts, 0.5), quantile(m.attempts, 0.99), share(m.undecided),
		share(m.bounced), share(m.bouncedET), share(m.ut), share(m.decidedAfterBouncing))
}

// patient delivers as s.schedule says, alone in the world, and returns when
// nothing of it is left there.
func (w *world) patient(s *mta, when schedule) (p trip, start time.Time) {
	s.someTime(25 * time.Minute)
	start = time.Now()
	m := s.write("user", toET, toUT)
	p = trip{accepted: make(map[string]bool), bounced: make(map[string]string)}
	pending := map[string]bool{toET: true, toUT: s.policy.DANE != deliver.DANERequire}
	if !pending[toUT] {
		delete(pending, toUT)
	}
	for len(pending) > 0 && time.Since(start) < mailPatience {
		p.attempts++
		s.attempt(w.t.Context(), m, pending, &p)
		if len(pending) > 0 {
			time.Sleep(when.next(time.Since(start).Round(time.Minute), s.rng))
		}
	}
	s.wait()
	for slices.ContainsFunc(w.tests(s.address("user")), func(r row) bool { return r.rec.State == history.StateRunning }) {
		time.Sleep(time.Hour)
	}
	return p, start
}

// modesOf are the senders to compare: each policy with the habits that matter.
func modesOf() map[string][]kind {
	out := make(map[string][]kind)
	for _, name := range append(deliver.Names(), "mta-sts lazy") {
		policy, _, _ := strings.Cut(name, " ")
		for _, collapses := range []bool{false, true} {
			for _, bounces := range []bool{false, true} {
				k := policyNamed(policy, func(k *kind) {
					k.label = name
					k.policy.CollapseSameAddress = collapses
					if bounces {
						k.policy.OnMissingTLS = deliver.BounceMissingTLS
					}
					if policy == "verify" {
						k.policy.SNI = deliver.SNINever
					}
					if strings.HasSuffix(name, "lazy") {
						k.policy.STS = deliver.STSLazy
					}
				})
				set := map[bool]string{false: "walks", true: "one address"}[collapses] + map[bool]string{true: ", bounces"}[bounces]
				if !bounces || k.want != policyinfer.None && k.want != policyinfer.May {
					out[set] = append(out[set], k)
				}
			}
		}
	}
	return out
}

// The figures of docs/downgrade-modes.md: TLSINK_SIM=20 go test -run DowngradeModes -v -timeout 0 ./cmd/tlsink
func TestDowngradeModes(t *testing.T) {
	if !thorough() {
		t.Skip("compares the modes only with TLSINK_SIM")
	}
	for set, kinds := range modesOf() {
		first := ownAddresses()["et and ut apart"]
		setups := map[string]func(*config.Config){"timed": func(*config.Config) {}, "first contact": first}
		if strings.HasSuffix(set, "bounces") {
			setups["two of ut"] = func(c *config.Config) { // addresses
				first(c)
				c.DNS.UTAddresses = append(c.DNS.UTAddresses, utIP().Next().Next())
			}
		}
		for _, when := range schedules() {
			if set != "walks" && when.name != "Postfix" && when.name != "Exim" && when.name != "15 min" {
				continue
			}
			for mode, setup := range setups {
				t.Run(fmt.Sprintf("%s/%s/%s", set, when.name, mode), func(t *testing.T) {
					var lines table
					defer lines.log(t)
					hoursOf(t, setup, func(w *world) { w.compare(kinds, when, mode, &lines) })
				})
			}
		}
	}
}

func (w *world) compare(kinds []kind, when schedule, mode string, lines *table) {
	n := 0
	for _, k := range kinds {
		var m measured
		for seed := range uint64(rounds(w.t)) {
			n++
			s := newMTA(w, k, time.Minute, seed, netip.AddrFrom4([4]byte{198, 18, byte(n / 250), byte(1 + n%250)}))
			p, start := w.patient(s, when)
			tests := w.tests(s.address("user"))
			for _, r := range tests {
				w.judge(k, r)
			}
			m.take(k, p, tests, start)
		}
		lines.add("%-13s %-13s %-8s %s", k.label, mode, when.name, &m)
	}
}
