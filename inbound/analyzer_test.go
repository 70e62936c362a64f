package inbound_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/network"
	"github.com/tlsink/tlsink/inbound/probe"
)

const (
	oneMX = "example.org. MX 10 mx.example.org.\nmx.example.org. A 1.1.1.1\n"
	twoMX = "example.org. MX 10 mx1.example.org.\nexample.org. MX 20 mx2.example.org.\nmx1.example.org. A 1.1.1.1\nmx2.example.org. A 1.1.1.2\n"
)

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		opts inbound.Options
		want string
	}{
		{"no resolver", inbound.Options{HELO: "probe.example.net"}, "resolver"},
		{"no name", inbound.Options{Resolver: newWorld(t, "")}, "HELO"},
		{"bad name", inbound.Options{Resolver: newWorld(t, ""), HELO: "a\r\nb"}, "HELO"},
	} {
		if _, err := inbound.New(c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestAnalyzeRefuses(t *testing.T) {
	s := analyzer(t, oneMX)
	if _, err := s.Analyze(t.Context(), "192.0.2.1"); err == nil || !strings.Contains(err.Error(), "IP address") {
		t.Errorf("address: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Analyze(ctx, "example.org"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if n := s.world.lookups(); n > 0 {
		t.Errorf("%d lookups", n)
	}
}

// One whole analysis, also as JSON.
func TestAnalysis(t *testing.T) {
	ch := newChain(t, "mx.example.org")
	s := analyzer(t, oneMX+"mx.example.org. AAAA 2606:4700::1\n_25._tcp.mx.example.org. TLSA 3 1 1 "+spki(ch.leaf)+"\nexample.org. SOA ns. host. 1 60 60 60 60\n", func(o *inbound.Options, s *setup) {
		o.Network = networks{"1.1.1.1": {AS: 13335, Name: "CLOUD\x1bFLARE", Country: "US"}}
		s.rec.sts = policy("enforce", "mx.example.org")
	})
	s.prober.results["1.1.1.1"] = shows(ch.all())
	got := s.analyze(t, "Example.org.")
	shown := shows(nil)
	want := inbound.Analysis{
		Domain: "example.org", Started: now, Ended: now, Route: inbound.RouteMX,
		Zone: inbound.RRset{Status: dnssec.Secure, Count: 1}, MX: inbound.RRset{Status: dnssec.Secure, Count: 1}, TXT: inbound.RRset{Status: dnssec.Secure},
		Hosts: []inbound.Host{{
			Name: "mx.example.org", Preference: 10, A: inbound.RRset{Status: dnssec.Secure, Count: 1}, AAAA: inbound.RRset{Status: dnssec.Secure, Count: 1},
			TLSA: inbound.RRset{Status: dnssec.Secure, Count: 1}, TLSAName: "mx.example.org", DANE: check.Pass(), Listed: check.Pass(),
			Records: []inbound.TLSARecord{{Usage: 3, Selector: 1, MatchingType: 1, Data: spki(ch.leaf), Usable: true}},
			Servers: []inbound.Server{
				{Address: netip.MustParseAddr("1.1.1.1"), Network: network.Info{AS: 13335, Name: "CLOUDFLARE", Country: "US"}, Result: shown, DANE: check.Pass()},
				{
					Address: netip.MustParseAddr("2606:4700::1"), Result: probe.Result{Reached: check.Skip("connection refused"), Connections: 1},
					DANE: check.Skip("the server could not be reached: connection refused"),
				},
			},
		}},
		MTASTS: s.rec.sts, SPF: s.rec.SPF(t.Context(), ""), DMARC: s.rec.DMARC(t.Context(), ""), TLSRPT: s.rec.TLSRPT(t.Context(), ""),
	}
	same := cmp.Options{cmpopts.EquateComparable(netip.Addr{})}
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Errorf("analysis (-want +got):\n%s", diff)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var back inbound.Analysis
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, back, same); diff != "" {
		t.Errorf("over JSON (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff([][]string{{"example.org"}, {"example.org"}}, s.prober.names); diff != "" {
		t.Errorf("other names (-want +got):\n%s", diff)
	}
}

type networks map[string]network.Info

func (n networks) Network(_ context.Context, ip netip.Addr) (network.Info, error) {
	info, ok := n[ip.String()]
	if !ok {
		return network.Info{AS: 1}, errors.New("not known")
	}
	return info, nil
}

func TestCache(t *testing.T) {
	clock := now
	s := analyzer(t, oneMX+"example.net. MX 10 mx.example.org.\nexample.com. MX 10 mx.example.org.\nbad.example. A 1.1.1.1", func(o *inbound.Options, s *setup) {
		o.Now = func() time.Time { return clock }
		o.CacheEntries = 2
		s.world.status["bad.example."] = dnssec.Error
	})
	made := func(domain string) bool {
		before := s.world.lookups("MX")
		s.analyze(t, domain)
		return s.world.lookups("MX") > before
	}
	for _, step := range []struct {
		domain string
		after  time.Duration
		made   bool
	}{
		{"example.org", 0, true},
		{"EXAMPLE.org.", 59 * time.Minute, false},
		{"example.net", 0, true},
		{"example.org", 0, false},
		{"example.com", 0, true}, // example.org, which expires first, makes room
		{"example.net", 0, false},
		{"example.org", 0, true},
		{"example.org", time.Hour, true},
		{"bad.example", 0, true},
		{"bad.example", 59 * time.Second, false},
		{"bad.example", 2 * time.Second, true},
	} {
		clock = clock.Add(step.after)
		if got := made(step.domain); got != step.made {
			t.Errorf("%+v: made %v", step, got)
		}
	}
}

func TestNotCached(t *testing.T) {
	s := analyzer(t, oneMX, func(o *inbound.Options, _ *setup) { o.CacheFor = -1 })
	s.analyze(t, "example.org")
	s.analyze(t, "example.org")
	if n := s.world.lookups("MX"); n != 2 {
		t.Errorf("%d lookups of MX", n)
	}
}

// What a caller does to an analysis changes nobody else's.
func TestCopies(t *testing.T) {
	ch := newChain(t, "mx.example.org")
	s := analyzer(t, twoMX+"_25._tcp.mx1.example.org. TLSA 3 1 1 "+spki(ch.leaf), func(_ *inbound.Options, s *setup) { s.rec.sts = policy("enforce", "mx.example.org") })
	s.prober.results[""] = shows(ch.all())
	first := s.analyze(t, "example.org")
	pristine, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	scribble(reflect.ValueOf(&first).Elem())
	second := s.analyze(t, "example.org")
	if again, err := json.Marshal(second); err != nil || !bytes.Equal(pristine, again) {
		t.Errorf("the remembered analysis changed: %v\n%s\n%s\n(a field that is missing in clone.go?)", err, pristine, again)
	}
}

// scribble changes everything that is reachable through slices and pointers.
func scribble(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			scribble(v.Index(i))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			scribble(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				scribble(v.Field(i))
			}
		}
	case reflect.String:
		v.SetString("scribble")
	case reflect.Int, reflect.Int64:
		v.SetInt(-1)
	case reflect.Bool:
		v.SetBool(!v.Bool())
	}
}

// Whoever asks for a domain while it is analysed gets that analysis.
func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := analyzer(t, oneMX, func(_ *inbound.Options, s *setup) { s.prober.delay = 10 * time.Second })
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if a := s.analyze(t, "example.org"); len(a.Hosts) != 1 {
					t.Errorf("got %+v", a)
				}
			})
		}
		wg.Wait()
		if len(s.prober.calls) != 1 {
			t.Errorf("probed %d times", len(s.prober.calls))
		}
	})
}

// An analysis goes on while anybody waits for it, and ends when nobody does.
func TestCallersThatGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := analyzer(t, oneMX, func(_ *inbound.Options, s *setup) {
			s.prober.delay = 10 * time.Second
			s.prober.results[""] = probe.Result{Reached: check.Pass()}
		})
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.Analyze(impatient, "example.org"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("impatient: %v", err)
			}
		})
		wg.Go(func() {
			if a := s.analyze(t, "example.org"); !a.Hosts[0].Servers[0].Reached.OK() {
				t.Errorf("patient: %+v", a.Hosts[0].Servers)
			}
		})
		wg.Wait()
		if len(s.prober.calls) != 1 {
			t.Fatalf("probed %q", s.prober.calls)
		}

		// All give up: nothing is remembered, and the next caller begins anew.
		s = analyzer(t, oneMX, func(_ *inbound.Options, s *setup) { s.prober.delay = 10 * time.Second })
		impatient, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Analyze(impatient, "example.org"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("alone: %v", err)
		}
		synctest.Wait()
		if s.prober.running > 0 {
			t.Error("the probe goes on")
		}
		s.analyze(t, "example.org")
		if len(s.prober.calls) != 2 {
			t.Errorf("probed %q", s.prober.calls)
		}
	})
}

func TestAnalysesWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zone := ""
		domains := []string{"a.example", "b.example", "c.example", "d.example", "e.example"}
		for i, d := range domains {
			zone += d + ". A 1.1.1." + string(rune('1'+i)) + "\n"
		}
		s := analyzer(t, zone, func(o *inbound.Options, s *setup) {
			o.MaxRunning = 2
			s.prober.delay = time.Minute
			s.prober.results[""] = probe.Result{Reached: check.Pass()}
		})
		began := time.Now()
		var wg sync.WaitGroup
		for _, d := range domains {
			wg.Go(func() {
				if a := s.analyze(t, d); len(a.LeftOut) > 0 || !a.Hosts[0].Servers[0].Reached.OK() {
					t.Errorf("%s: waiting took of its time: %q", d, a.LeftOut)
				}
			})
		}
		synctest.Wait()
		gone, cancel := context.WithCancel(t.Context())
		wg.Go(func() { // who gives up while waiting costs nothing
			if _, err := s.Analyze(gone, "f.example"); !errors.Is(err, context.Canceled) {
				t.Errorf("given up: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		if took := time.Since(began); took != 3*time.Minute || s.prober.most != 2 {
			t.Errorf("took %s with %d at a time", took, s.prober.most)
		}
	})
}

// Over all analyses one address is talked to once at a time, and the names at
// one address follow each other.
func TestOneConnectionPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := analyzer(t, twoMX+"mx2.example.org. A 1.1.1.1\nexample.net. MX 10 mx1.example.org.\nexample.com. A 1.1.1.1", func(_ *inbound.Options, s *setup) {
			s.prober.delay = 10 * time.Second
			s.prober.results[""] = probe.Result{Reached: check.Pass()}
		})
		var wg sync.WaitGroup
		for _, d := range []string{"example.org", "example.net", "example.com"} {
			wg.Go(func() { s.analyze(t, d) })
		}
		wg.Wait()
		if s.prober.overlaps > 0 || len(s.prober.calls) != 5 || s.prober.most != 2 {
			t.Errorf("%d overlaps, %d at a time, %q", s.prober.overlaps, s.prober.most, s.prober.calls)
		}
	})
}

func TestParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := analyzer(t, many(16), func(_ *inbound.Options, s *setup) { s.prober.delay = 10 * time.Second })
		began := time.Now()
		s.analyze(t, "example.org")
		if took := time.Since(began); s.prober.most != 4 || took != 40*time.Second {
			t.Errorf("%d at a time, took %s", s.prober.most, took)
		}
	})
}

func TestProgress(t *testing.T) {
	var got []string
	s := analyzer(t, twoMX, func(o *inbound.Options, _ *setup) { o.Progress = func(text string) { got = append(got, text) } })
	s.analyze(t, "example.org")
	for _, want := range []string{"example.org: looking up", "example.org: 1 of 2 servers", "example.org: 2 of 2 servers", "example.org: its records"} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}

// Nothing connects to an address that is not allowed, not even the real parts.
func TestGuard(t *testing.T) {
	var dialled []string
	a, err := inbound.New(inbound.Options{
		Resolver: newWorld(t, twoMX+"mx1.example.org. A 127.0.0.1\nmx1.example.org. AAAA ::1\nmx2.example.org. AAAA fd00::1\n_mta-sts.example.org. TXT \"v=STSv1; id=1;\"\nmta-sts.example.org. A 10.0.0.1\n"),
		HELO:     "probe.example.net", Now: func() time.Time { return now }, Parallel: 1,
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			dialled = append(dialled, address)
			return nil, errors.New("no network")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Analyze(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1.1.1.1:25", "1.1.1.2:25"}, dialled); diff != "" {
		t.Errorf("dialled (-want +got):\n%s", diff)
	}
	untested := 0
	for _, h := range got.Hosts {
		for _, s := range h.Servers {
			if s.Reached.Outcome != check.Untested || s.Reached.Why == "" {
				t.Errorf("%s: %+v", s.Address, s.Reached)
			}
			if strings.Contains(s.Reached.Why, "not one of the public internet") {
				untested++
			}
		}
	}
	if untested != 3 || len(got.LeftOut) > 0 {
		t.Errorf("%d, %q", untested, got.LeftOut)
	}
}

// Behind a resolver that does not pass DNSSEC records on everything is bogus.
// That is nobody's fault but the resolver's.
func TestResolverWithoutDNSSEC(t *testing.T) {
	clock := now
	s := analyzer(t, oneMX+". SOA a. b. 1 60 60 60 60", func(o *inbound.Options, s *setup) {
		o.Now = func() time.Time { return clock }
		s.world.status["."], s.world.status["org."] = dnssec.Bogus, dnssec.Bogus
	})
	for range 2 {
		a := s.analyze(t, "example.org")
		if a.Route != inbound.RouteUnknown || !strings.Contains(a.Why, "the resolver does not pass DNSSEC records on") {
			t.Errorf("route %q: %s", a.Route, a.Why)
		}
		for name, set := range map[string]inbound.RRset{"zone": a.Zone, "MX": a.MX, "TXT": a.TXT} {
			if set.Status != dnssec.Error || set.Why != a.Why {
				t.Errorf("%s: %+v", name, set)
			}
		}
		for name, c := range map[string]check.Result{"SPF": a.SPF.Published, "DMARC": a.DMARC.Published, "TLS-RPT": a.TLSRPT.Published, "MTA-STS": a.MTASTS.Published} {
			if c.Outcome != check.Untested || c.Why != a.Why {
				t.Errorf("%s: %+v", name, c)
			}
		}
		if s.analyze(t, "example.net"); s.world.lookups() != 1 || len(s.prober.calls) > 0 {
			t.Errorf("lookups %v, probes %q", s.world.asked, s.prober.calls)
		}
		clock = clock.Add(59 * time.Second)
	}
	s.world.status["."], s.world.status["org."] = dnssec.Secure, dnssec.Secure
	clock = clock.Add(time.Second)
	if a := s.analyze(t, "example.org"); a.Route != inbound.RouteMX {
		t.Errorf("after it was mended: %q, %s", a.Route, a.Why)
	}
	for _, after := range []time.Duration{9 * time.Minute, time.Minute} {
		clock = clock.Add(after)
		s.analyze(t, fmt.Sprintf("a%d.example", after))
	}
	if n := s.world.asked[". SOA"]; n != 3 {
		t.Errorf("the root was looked at %d times", n)
	}

	// Neither an insecure root nor one that can't be looked up says anything.
	for _, status := range []dnssec.Status{dnssec.Insecure, dnssec.Error} {
		s := analyzer(t, oneMX, func(_ *inbound.Options, s *setup) { s.world.status[". SOA"] = status })
		if a := s.analyze(t, "example.org"); a.Route != inbound.RouteMX || a.MX.Status != dnssec.Secure {
			t.Errorf("root %s: %q, %+v", status, a.Route, a.MX)
		}
	}
}
