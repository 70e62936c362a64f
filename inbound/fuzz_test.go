package inbound_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/inbound/records"
)

// FuzzAnswers lets a name server answer MX queries with anything that is a
// message, and all others with the records of another one.
func FuzzAnswers(f *testing.F) {
	pack := func(rrs ...dns.RR) []byte {
		wire, err := (&dns.Msg{Answer: rrs}).Pack()
		if err != nil {
			f.Fatal(err)
		}
		return wire
	}
	address := pack(rr("x. 60 A 1.1.1.1"), rr("x. 60 TLSA 3 1 1 00"), rr(`x. 60 TXT "v=spf1 mx -all"`))
	f.Add(pack(rr("x. 60 MX 10 mx.example.org."), rr("x. 60 MX 0 .")), address)
	f.Add(pack(rr("x. 60 CNAME y.example.org."), rr(`x. 60 MX 10 a\000\.b.example.org.`)), address)
	f.Add(pack(rr("x. 60 MX 10 192.0.2.1."), rr("x. 60 MX 10 localhost.")), pack(rr("x. 60 CNAME y.")))
	f.Fuzz(func(t *testing.T, mx, others []byte) {
		var first, second dns.Msg
		if first.Unpack(mx) != nil || second.Unpack(others) != nil {
			return
		}
		h := &hostile{answer: func(m *dns.Msg, q dns.Question) {
			from := &second
			if q.Qtype == dns.TypeMX {
				from = &first
			}
			for _, r := range from.Answer {
				r = dns.Copy(r)
				r.Header().Name = q.Name
				m.Answer = append(m.Answer, r)
			}
		}}
		r, err := dnssec.New(dnssec.Options{Servers: []string{"hostile"}, Exchange: h.exchange})
		if err != nil {
			t.Fatal(err)
		}
		a, err := inbound.New(inbound.Options{
			Resolver: r, HELO: "probe.example.net", Prober: &fakeProber{results: map[string]probe.Result{"": {Reached: check.Pass()}}},
			NewRecords: func(r inbound.Resolver) inbound.Records { return records.New(records.Options{Resolver: r}) },
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Analyze(t.Context(), "example.org")
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var all any
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
		walk(all, func(s string) {
			if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q", s)
			}
		})
		if len(text) > 1<<20 || len(got.Hosts) > 16 || h.queries.Load() > 2000 {
			t.Errorf("%d bytes, %d hosts, %d queries", len(text), len(got.Hosts), h.queries.Load())
		}
	})
}

// walk calls f for every string of a JSON value.
func walk(v any, f func(string)) {
	switch v := v.(type) {
	case string:
		f(v)
	case []any:
		for _, e := range v {
			walk(e, f)
		}
	case map[string]any:
		for _, e := range v {
			walk(e, f)
		}
	}
}
