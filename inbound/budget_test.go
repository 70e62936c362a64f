package inbound_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
)

// Whoever has many domains can't send us to the same server again and again.
func TestLooksAreBounded(t *testing.T) {
	domain := func(i int, address string) string {
		return fmt.Sprintf("d%[1]d.example. MX 10 mx.d%[1]d.example.\nmx.d%[1]d.example. %[2]s\n", i, address)
	}
	for _, c := range []struct {
		name   string
		victim func(i int) string
		limit  int
		looked int // of 60 domains
	}{
		{"one address", func(int) string { return "A 1.1.1.1" }, 10, 10},
		{"one IPv6 address", func(int) string { return "AAAA 2606:4700::1" }, 10, 10},
		{"one network", func(i int) string { return fmt.Sprintf("A 1.1.1.%d", i) }, 10, 40},
		{"one IPv6 network", func(i int) string { return fmt.Sprintf("AAAA 2606:4700:0:%x::1", i) }, 10, 40},
		{"many networks", func(i int) string { return fmt.Sprintf("A 1.1.%d.1", i) }, 10, 60},
		{"no limit", func(int) string { return "A 1.1.1.1" }, -1, 60},
		{"the default", func(int) string { return "A 1.1.1.1" }, 0, 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := now
			var zone strings.Builder
			for i := 1; i <= 60; i++ {
				zone.WriteString(domain(i, c.victim(i)))
			}
			s := analyzer(t, zone.String(), func(o *inbound.Options, _ *setup) {
				o.MaxLooks, o.Now = c.limit, func() time.Time { return clock }
			})
			s.prober.results[""] = probe.Result{Reached: check.Pass()}
			var last inbound.Analysis
			for i := 1; i <= 60; i++ {
				last = s.analyze(t, fmt.Sprintf("d%d.example", i))
			}
			if len(s.prober.calls) != c.looked {
				t.Errorf("%d looks, want %d", len(s.prober.calls), c.looked)
			}
			r := last.Hosts[0].Servers[0].Reached
			if cut := c.looked < 60; cut != (r.Outcome == check.Untested) || cut && !strings.Contains(r.Why, "too often") {
				t.Errorf("the last one: %+v", r)
			}
			clock = clock.Add(time.Hour)
			if a := s.analyze(t, "d60.example"); !a.Hosts[0].Servers[0].Reached.OK() {
				t.Errorf("an hour later: %+v", a.Hosts[0].Servers[0].Reached)
			}
		})
	}
}

func TestOwnAddresses(t *testing.T) {
	own := netip.MustParseAddr("1.1.1.1")
	s := analyzer(t, "example.org. MX 10 mx.example.org.\nmx.example.org. A 1.1.1.1\n", func(o *inbound.Options, _ *setup) {
		o.Allowed = func(a netip.Addr) bool { return inbound.Public(a) && a != own }
	})
	a := s.analyze(t, "example.org")
	if r := a.Hosts[0].Servers[0].Reached; r.Outcome != check.Untested || !strings.Contains(r.Why, "one of this service") || len(s.prober.calls) != 0 {
		t.Errorf("%+v, %d probes", r, len(s.prober.calls))
	}
}
