package inbound_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/inbound/records"
)

// many is a domain with n MX hosts, each with an address of its own.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "example.org. MX %d mx%04d.example.org.\nmx%04d.example.org. A 1.1.%d.%d\n", i, i, i, i/250, i%250+1)
	}
	return b.String()
}

func servers(a inbound.Analysis) (probed, untested int) {
	for _, h := range a.Hosts {
		for _, s := range h.Servers {
			if s.Reached.OK() {
				probed++
			} else {
				untested++
			}
		}
	}
	return probed, untested
}

func TestLimits(t *testing.T) {
	addresses := func(host string, net, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%s A 1.%d.%d.%d\n", host, net, i/250, i%250+1)
		}
		return b.String()
	}
	names := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "example.org. MX 10 mx%02d.example.org.\nmx%02d.example.org. A 1.1.1.1\n", i, i)
		}
		return b.String()
	}
	for _, c := range []struct {
		name, zone       string
		hosts            int
		probed, untested int
		leftOut          []string
	}{
		{"16 MX", many(16), 16, 16, 0, nil},
		{"a thousand MX", many(1000), 16, 16, 0, []string{"984 more MX hosts were not looked at, only the 16 most preferred"}},
		{
			"a thousand addresses", "example.org. MX 10 mx.example.org.\n" + addresses("mx.example.org.", 2, 1000), 1, 16, 0,
			[]string{"984 more addresses of mx.example.org were not looked at, only 16"},
		},
		{
			"hosts with many addresses", "example.org. MX 10 a.example.org.\nexample.org. MX 20 b.example.org.\nexample.org. MX 30 c.example.org.\n" +
				addresses("a.example.org.", 2, 15) + addresses("b.example.org.", 3, 15) + addresses("c.example.org.", 4, 15), 3, 32, 13,
			[]string{"13 more servers were not connected to, only 32"},
		},
		{
			"names at one address", names(6), 6, 4, 2,
			[]string{
				"mx04.example.org at 1.1.1.1 was not probed: the address was, under 4 other names",
				"mx05.example.org at 1.1.1.1 was not probed: the address was, under 4 other names",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := analyzer(t, c.zone)
			s.prober.results[""] = probe.Result{Reached: check.Pass()}
			a := s.analyze(t, "example.org")
			probed, untested := servers(a)
			if len(a.Hosts) != c.hosts || probed != c.probed || untested != c.untested || len(s.prober.calls) != c.probed {
				t.Errorf("%d hosts, %d probed, %d untested, %d probes", len(a.Hosts), probed, untested, len(s.prober.calls))
			}
			if diff := cmp.Diff(c.leftOut, a.LeftOut); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
			if n := s.world.lookups(); n > 100 {
				t.Errorf("%d lookups", n)
			}
		})
	}
}

func TestManyTLSARecords(t *testing.T) {
	zone := "example.org. A 1.1.1.1\n"
	for i := range 100 {
		zone += fmt.Sprintf("_25._tcp.example.org. TLSA 3 1 1 %064x\n", i)
	}
	s := analyzer(t, zone)
	a := s.analyze(t, "example.org")
	if h := a.Hosts[0]; len(h.Records) != 64 || h.TLSA.Count != 100 || !h.Records[63].Usable {
		t.Errorf("%d records, %+v", len(h.Records), h.TLSA)
	}
	if !cmp.Equal(a.LeftOut, []string{"36 more TLSA records of example.org were not looked at, only 64"}) {
		t.Errorf("left out %q", a.LeftOut)
	}
}

// Whatever names refer to each other, lookups are bounded, and what they cut is
// untested.
func TestLookupsAreBounded(t *testing.T) {
	clock := now
	s := analyzer(t, many(16), func(o *inbound.Options, s *setup) {
		o.Now = func() time.Time { return clock }
		o.MaxLookups = 60
		s.rec.greedy = 1_000_000
	})
	s.prober.results[""] = probe.Result{Reached: check.Pass()}
	a := s.analyze(t, "example.org")
	if n := s.world.lookups() - 1; n != 60 { // and one of the root
		t.Errorf("%d lookups", n)
	}
	if len(a.LeftOut) != 1 || !strings.Contains(a.LeftOut[0], "after 60 DNS lookups no more were made") {
		t.Errorf("left out %q", a.LeftOut)
	}
	if a.SPF.Valid.Outcome != check.Untested || !strings.Contains(a.SPF.Valid.Why, "more than 60") {
		t.Errorf("SPF %+v", a.SPF)
	}
	if probed, _ := servers(a); probed != 16 {
		t.Errorf("%d probed: the hosts come first", probed)
	}
	clock = clock.Add(2 * time.Minute)
	s.analyze(t, "example.org")
	if n := s.world.lookups("MX"); n != 2 {
		t.Errorf("%d analyses: one that is cut short is not remembered for long", n)
	}

	s = analyzer(t, many(16), func(o *inbound.Options, _ *setup) { o.MaxLookups, o.Parallel = 10, 1 })
	a = s.analyze(t, "example.org")
	for i, h := range a.Hosts {
		if cut := i >= 3; cut != (h.A.Status == dnssec.Error) || cut && h.DANE.Outcome != check.Untested {
			t.Errorf("host %d: A %+v, DANE %+v", i, h.A, h.DANE)
		}
	}
	if len(a.Faults) > 0 {
		t.Errorf("faults %+v: what was not looked up is none", a.Faults)
	}
}

// What is not done in time is untested, and the rest is there.
func TestTotalTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := analyzer(t, many(8), func(o *inbound.Options, s *setup) {
			s.rec.sts = records.MTASTS{Published: check.Skip("no time")}
			s.prober.delay, o.ServerTimeout = 3*time.Minute, 4*time.Minute
			s.prober.results[""] = probe.Result{Reached: check.Pass(), StartTLS: check.Pass()}
		})
		began := time.Now()
		a := s.analyze(t, "example.org")
		if took := time.Since(began); took != 5*time.Minute {
			t.Errorf("took %s", took)
		}
		whole, part := 0, 0
		for _, h := range a.Hosts {
			switch h.Servers[0].StartTLS.Outcome {
			case check.Yes:
				whole++
			case check.Untested:
				part++
			}
		}
		if whole != 4 || part != 4 || !cmp.Equal(a.LeftOut, []string{"the time was up after 5m0s: what was not done by then is not tested"}) {
			t.Errorf("%d whole, %d in part, left out %q", whole, part, a.LeftOut)
		}
		before := len(s.prober.calls)
		time.Sleep(61 * time.Second)
		s.analyze(t, "example.org") // an injected clock that stands still: it is remembered
		if len(s.prober.calls) != before {
			t.Error("not remembered")
		}
	})
}

func TestSlowDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := analyzer(t, many(16), func(_ *inbound.Options, s *setup) { s.world.delay = time.Minute })
		a := s.analyze(t, "example.org")
		if a.Route != inbound.RouteMX || a.TXT.Status != dnssec.Error || a.TXT.Why != "it was not done within 5m0s" {
			t.Errorf("%+v, TXT %+v", a.Route, a.TXT)
		}
		for _, h := range a.Hosts {
			if h.A.Status == "" || h.DANE.Outcome == "" {
				t.Errorf("%s: %+v", h.Name, h)
			}
		}

		s = analyzer(t, many(16), func(_ *inbound.Options, s *setup) { s.world.delay = time.Hour })
		if a = s.analyze(t, "example.org"); a.Route != inbound.RouteUnknown || a.MX.Status != dnssec.Error {
			t.Errorf("%+v, MX %+v", a.Route, a.MX)
		}
	})
}

// One server that says nothing costs its own time only.
func TestTarpit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := analyzer(t, oneMX, func(_ *inbound.Options, s *setup) { s.prober.hang = true })
		began := time.Now()
		a := s.analyze(t, "example.org")
		got := a.Hosts[0].Servers[0].Reached
		if took := time.Since(began); took != 2*time.Minute || got.Outcome != check.Untested || got.Why == "" {
			t.Errorf("took %s: %+v", took, got)
		}
		if !cmp.Equal(a.LeftOut, []string{"mx.example.org at 1.1.1.1 was not looked at to the end: it took more than 2m0s"}) {
			t.Errorf("left out %q", a.LeftOut)
		}
	})
}

// Whoever waits for a busy server waits no longer than its own time.
func TestWaitingForAServerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := analyzer(t, "a.example. A 1.1.1.1\nb.example. A 1.1.1.1\n", func(o *inbound.Options, s *setup) {
			o.Timeout = time.Minute
			s.prober.hold = make(chan struct{})
		})
		done := make(chan inbound.Analysis, 1)
		go func() { done <- s.analyze(t, "a.example") }()
		synctest.Wait()
		began := time.Now()
		got := s.analyze(t, "b.example").Hosts[0].Servers[0].Reached
		if took := time.Since(began); took != time.Minute || got.Outcome != check.Untested || !strings.Contains(got.Why, "other analyses were talking to this server") {
			t.Errorf("took %s: %+v", took, got)
		}
		close(s.prober.hold)
		<-done
		if !cmp.Equal(s.prober.calls, []string{"1.1.1.1 a.example"}) {
			t.Errorf("probes %q", s.prober.calls)
		}
	})
}

func TestTLSVersions(t *testing.T) {
	yes, no, skip := check.Pass(), check.Fail("alert"), check.Skip("reset")
	server := func(starttls check.Result, versions ...check.Result) inbound.Server {
		s := inbound.Server{Result: probe.Result{Reached: check.Pass(), StartTLS: starttls}}
		for i, v := range versions {
			s.Versions = append(s.Versions, probe.Version{Version: []string{probe.TLS13, probe.TLS12, probe.TLS11, probe.TLS10}[i], Accepted: v})
		}
		return s
	}
	modern, usual, old := server(yes, yes, yes, no, no), server(yes, no, yes, yes, yes), server(yes, no, no, no, yes)
	plain, gone := server(no), inbound.Server{Result: probe.Result{Reached: skip}}
	for _, c := range []struct {
		name    string
		servers []inbound.Server
		want    inbound.Versions
	}{
		{"none", nil, inbound.Versions{}},
		{"not reached", []inbound.Server{gone}, inbound.Versions{}},
		{"one", []inbound.Server{modern}, inbound.Versions{HighestOne: "1.3", HighestAll: "1.3", LowestOne: "1.2", LowestAll: "1.2", Tested: 1, TestedLowest: 1}},
		{"two alike", []inbound.Server{usual, usual}, inbound.Versions{HighestOne: "1.2", HighestAll: "1.2", LowestOne: "1.0", LowestAll: "1.0", Tested: 2, TestedLowest: 2}},
		{"two that differ", []inbound.Server{modern, usual}, inbound.Versions{HighestOne: "1.3", HighestAll: "1.2", LowestOne: "1.0", LowestAll: "1.2", Tested: 2, TestedLowest: 2}},
		{"one not reached", []inbound.Server{modern, gone}, inbound.Versions{HighestOne: "1.3", HighestAll: "1.3", LowestOne: "1.2", LowestAll: "1.2", Tested: 1, TestedLowest: 1}},
		{"one without STARTTLS", []inbound.Server{old, plain}, inbound.Versions{HighestOne: "1.0", HighestAll: "none", LowestOne: "none", LowestAll: "1.0", Tested: 2, TestedLowest: 2}},
		{"all without", []inbound.Server{plain}, inbound.Versions{HighestOne: "none", HighestAll: "none", LowestOne: "none", LowestAll: "none", Tested: 1, TestedLowest: 1}},
		{"all refused", []inbound.Server{server(yes, no, no, no, no)}, inbound.Versions{HighestOne: "none", HighestAll: "none", LowestOne: "none", LowestAll: "none", Tested: 1, TestedLowest: 1}},
		{"old ones without an answer", []inbound.Server{server(yes, yes, yes, skip, no)}, inbound.Versions{HighestOne: "1.3", HighestAll: "1.3", Tested: 1}},
		{"the newest without an answer", []inbound.Server{server(yes, skip, yes, no, no)}, inbound.Versions{LowestOne: "1.2", LowestAll: "1.2", TestedLowest: 1}},
		{"one between without an answer", []inbound.Server{server(yes, yes, skip, yes, no)}, inbound.Versions{HighestOne: "1.3", HighestAll: "1.3", LowestOne: "1.1", LowestAll: "1.1", Tested: 1, TestedLowest: 1}},
		{"each certain about one end", []inbound.Server{server(yes, skip, yes, no, no), server(yes, yes, yes, skip, skip)}, inbound.Versions{HighestOne: "1.3", HighestAll: "1.3", LowestOne: "1.2", LowestAll: "1.2", Tested: 1, TestedLowest: 1}},
		{"old ones not tried", []inbound.Server{server(yes, no, yes)}, inbound.Versions{HighestOne: "1.2", HighestAll: "1.2", LowestOne: "1.2", LowestAll: "1.2", Tested: 1, TestedLowest: 1}},
		{"refused or not tried", []inbound.Server{server(yes, no, skip)}, inbound.Versions{}},
		{"no versions", []inbound.Server{server(yes)}, inbound.Versions{}},
	} {
		got := inbound.Analysis{Hosts: []inbound.Host{{Servers: c.servers[:len(c.servers)/2]}, {Servers: c.servers[len(c.servers)/2:]}}}.TLSVersions()
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// One analysis with 1, 4 and 16 MX hosts whose servers answer at once: what the
// analysis itself costs.
func BenchmarkAnalyze(b *testing.B) {
	for _, n := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("%dMX", n), func(b *testing.B) {
			s := analyzer(b, many(n), func(o *inbound.Options, _ *setup) { o.CacheFor, o.RetryAfter = -1, -1 })
			s.prober.results[""] = shows(newChain(b, "mx.example.org").all())
			b.ReportAllocs()
			for b.Loop() {
				s.prober.calls, s.prober.names = nil, nil
				s.analyze(b, "example.org")
			}
			b.ReportMetric(float64(len(s.prober.calls)), "probes/op")
		})
	}
}
