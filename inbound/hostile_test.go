package inbound_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/inbound/records"
)

// hostile answers every question with what makes the most work.
type hostile struct {
	answer  func(m *dns.Msg, q dns.Question)
	queries atomic.Int64
}

func (h *hostile) exchange(_ context.Context, query *dns.Msg, _, _ string) (*dns.Msg, error) {
	h.queries.Add(1)
	m := new(dns.Msg).SetReply(query)
	h.answer(m, query.Question[0])
	wire, err := m.Pack()
	if err != nil {
		return nil, err
	}
	m = new(dns.Msg)
	return m, m.Unpack(wire)
}

func rr(format string, args ...any) dns.RR {
	r, err := dns.NewRR(fmt.Sprintf(format, args...))
	if err != nil {
		panic(err)
	}
	return r
}

// analyzeAt analyses a domain of a hostile name server with our own resolver
// and the real reader of records.
func (h *hostile) analyze(t *testing.T) inbound.Analysis {
	t.Helper()
	r, err := dnssec.New(dnssec.Options{Servers: []string{"hostile"}, Exchange: h.exchange})
	if err != nil {
		t.Fatal(err)
	}
	prober := &fakeProber{results: map[string]probe.Result{"": {Reached: check.Pass(), StartTLS: check.Fail("not offered")}}}
	a, err := inbound.New(inbound.Options{
		Resolver: r, HELO: "probe.example.net", Prober: prober,
		NewRecords: func(r inbound.Resolver) inbound.Records { return records.New(records.Options{Resolver: r}) },
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Analyze(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	if len(prober.calls) > 32 {
		t.Errorf("%d probes", len(prober.calls))
	}
	return got
}

func TestHostileNameServers(t *testing.T) {
	var fresh atomic.Int64
	name := func() string { return fmt.Sprintf("n%d.example.org.", fresh.Add(1)) }
	thousand := func(m *dns.Msg, q dns.Question) {
		for range 1000 {
			m.Answer = append(m.Answer, rr("%s 60 MX 10 %s", q.Name, name()))
		}
	}
	for _, c := range []struct {
		name   string
		answer func(m *dns.Msg, q dns.Question)
		most   int64 // queries
		route  inbound.Route
	}{
		{"endless aliases of everything", func(m *dns.Msg, q dns.Question) {
			m.Answer = append(m.Answer, rr("%s 60 CNAME %s", q.Name, name()))
		}, 500, inbound.RouteUnknown},
		{"a thousand MX with endless aliases", func(m *dns.Msg, q dns.Question) {
			if q.Qtype == dns.TypeMX {
				thousand(m, q)
				return
			}
			m.Answer = append(m.Answer, rr("%s 60 CNAME %s", q.Name, name()))
		}, 1000, inbound.RouteMX},
		{"aliases in a circle", func(m *dns.Msg, q dns.Question) {
			m.Answer = append(m.Answer, rr("%s 60 CNAME %s", q.Name, q.Name))
		}, 50, inbound.RouteUnknown},
		{"a thousand of everything", func(m *dns.Msg, q dns.Question) {
			switch q.Qtype {
			case dns.TypeMX:
				thousand(m, q)
			case dns.TypeA:
				for i := range 1000 {
					m.Answer = append(m.Answer, rr("%s 60 A 1.%d.%d.1", q.Name, i/250, i%250))
				}
			case dns.TypeTXT:
				for range 300 {
					m.Answer = append(m.Answer, rr(`%s 60 TXT "v=spf1 %s -all"`, q.Name, strings.Repeat("mx:"+name()+" ", 8)))
				}
			case dns.TypeTLSA:
				for i := range 1000 {
					m.Answer = append(m.Answer, rr("%s 60 TLSA 3 1 1 %064x", q.Name, i))
				}
			}
		}, 400, inbound.RouteMX},
		{"SPF that asks for more and more", func(m *dns.Msg, q dns.Question) {
			switch q.Qtype {
			case dns.TypeA:
				m.Answer = append(m.Answer, rr("%s 60 A 1.1.1.1", q.Name))
			case dns.TypeTXT:
				m.Answer = append(m.Answer, rr(`%s 60 TXT "v=spf1 include:%s mx:%s redirect=%s"`, q.Name, name(), name(), name()))
			}
		}, 400, inbound.RouteImplicit},
		{"refused", func(m *dns.Msg, _ dns.Question) { m.Rcode = dns.RcodeRefused }, 50, inbound.RouteUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &hostile{answer: c.answer}
			a := h.analyze(t)
			if n := h.queries.Load(); n > c.most {
				t.Errorf("%d queries", n)
			}
			if a.Route != c.route || len(a.Hosts) > 16 {
				t.Errorf("route %q (%s), %d hosts", a.Route, a.Why, len(a.Hosts))
			}
			for _, text := range append([]string{a.Why, a.MX.Why, a.TXT.Why, a.Zone.Why}, a.LeftOut...) {
				if len(text) > 1600 || strings.ContainsAny(text, "\n\x1b") {
					t.Errorf("text %.100q…", text)
				}
			}
		})
	}
}
