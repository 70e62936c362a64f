package rfc2136_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones/providertest"
	"github.com/tlsink/tlsink/zones/rfc2136"
)

func TestConformance(t *testing.T) {
	providertest.Run(t, newProvider(t, newServer(t).addr), zone, providertest.Options{})
}

// An RRset is replaced by one message: nobody ever sees a part of it.
func TestSetRecordsIsOneUpdate(t *testing.T) {
	s := newServer(t)
	p := newProvider(t, s.addr)
	var recs []libdns.Record
	for i := range 20 { // so many that they are read back by a transfer
		recs = append(recs, libdns.TXT{Name: fmt.Sprint("n", i), Text: "x"}, libdns.MX{Name: "et", Preference: uint16(i), Target: "mx." + zone})
	}
	got, err := p.SetRecords(t.Context(), zone, recs)
	if err != nil || len(got) != 40 || s.updates != 1 {
		t.Errorf("%d records, %v, %d updates", len(got), err, s.updates)
	}
	all, err := p.GetRecords(t.Context(), zone)
	if err != nil || len(all) != 40+len([]string{"NS", "A", "TXT", "CNAME"}) {
		t.Errorf("%d records: %v", len(all), err)
	}
}

// A server that signs apart from updating serves an update later.
func TestLateServer(t *testing.T) {
	s := newServer(t)
	s.lag = 2
	p := newProvider(t, s.addr, func(o *rfc2136.Options) { o.Settle = 30 * time.Second })
	rec := libdns.TXT{Name: "x", TTL: 20 * time.Second, Text: "x"}
	for range 2 { // the second time only the TTL changes
		got, err := p.SetRecords(t.Context(), zone, []libdns.Record{rec})
		if err != nil || len(got) != 1 || got[0].RR() != rec.RR() {
			t.Errorf("set %v, %v", got, err)
		}
		rec.TTL = 10 * time.Second
	}
	if gone, err := p.DeleteRecords(t.Context(), zone, []libdns.Record{libdns.RR{Name: "x"}}); err != nil || len(gone) != 1 {
		t.Errorf("deleted %v, %v", gone, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s.lag = 1000
	if _, err := p.SetRecords(ctx, zone, []libdns.Record{rec}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// A server that has a TTL of its own is not refused here, but says which.
func TestServerTTL(t *testing.T) {
	s := newServer(t)
	s.minimum = 3600
	got, err := newProvider(t, s.addr).SetRecords(t.Context(), zone, []libdns.Record{libdns.TXT{Name: "x", TTL: time.Minute, Text: "x"}})
	if err != nil || len(got) != 1 || got[0].RR().TTL != time.Hour {
		t.Errorf("set %v, %v", got, err)
	}
}

func TestKeys(t *testing.T) {
	s := newServer(t)
	p := newProvider(t, s.addr)
	if keys, err := p.Keys(t.Context(), zone); err != nil || len(keys) != 0 {
		t.Errorf("of an unsigned zone: %v, %v", keys, err)
	}
	const key = " 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ=="
	for _, flags := range []string{"256", "257", "385"} { // only the second is one that a DS record is made of
		s.records = append(s.records, record(t, "@ 60 DNSKEY "+flags+key))
	}
	if keys, err := p.Keys(t.Context(), zone); err != nil || len(keys) != 1 || keys[0].Flags != 257 {
		t.Errorf("keys %v, %v", keys, err)
	}
	if _, err := newProvider(t, s.addr, func(o *rfc2136.Options) { o.KeyName = "other." }).Keys(t.Context(), zone); err == nil {
		t.Error("told to a stranger")
	}
}

// What the server says is said, with what to do about it.
func TestServerErrors(t *testing.T) {
	rcode := func(code int) func(w dns.ResponseWriter, q *dns.Msg) bool {
		return func(w dns.ResponseWriter, q *dns.Msg) bool {
			if q.Opcode != dns.OpcodeUpdate {
				return false
			}
			_ = w.WriteMsg(sign(q, new(dns.Msg).SetRcode(q, code)))
			return true
		}
	}
	txt := libdns.TXT{Name: "x", Text: "x"}
	for _, c := range []struct {
		name   string
		behave func(w dns.ResponseWriter, q *dns.Msg) bool
		change func(*rfc2136.Options)
		rec    libdns.Record
		want   string
	}{
		{"refused", rcode(dns.RcodeRefused), nil, txt, "may not do this"},
		{"servfail", rcode(dns.RcodeServerFailure), nil, txt, "its log says why"},
		{"notzone", rcode(dns.RcodeNotZone), nil, txt, "check dns.zone"},
		{"notimp", rcode(dns.RcodeNotImplemented), nil, txt, "no dynamic updates"},
		{"notauth", rcode(dns.RcodeNotAuth), nil, txt, "not the primary"},
		{"formerr", rcode(dns.RcodeFormatError), nil, txt, "does not understand"},
		{"unknown key", nil, func(o *rfc2136.Options) { o.KeyName = "other" }, txt, `does not know key "other."`},
		{"wrong secret", nil, func(o *rfc2136.Options) { o.Secret = "d3Jvbmc=" }, txt, "another secret"},
		{"clock", func(w dns.ResponseWriter, q *dns.Msg) bool {
			m := sign(q, new(dns.Msg).SetRcode(q, dns.RcodeNotAuth))
			m.IsTsig().Error = dns.RcodeBadTime
			_ = w.WriteMsg(m)
			return true
		}, nil, txt, "clocks"},
		{"unsigned reply", func(w dns.ResponseWriter, q *dns.Msg) bool {
			_ = w.WriteMsg(new(dns.Msg).SetReply(q))
			return true
		}, nil, txt, "not signed"},
		{"forged reply", func(w dns.ResponseWriter, q *dns.Msg) bool {
			m := sign(q, new(dns.Msg).SetReply(q))
			wire, _, err := dns.TsigGenerate(m, "d3Jvbmc=", q.IsTsig().MAC, false)
			if err == nil {
				_, _ = w.Write(wire)
			}
			return true
		}, nil, txt, "bad signature"},
		{"reply to something else", func(w dns.ResponseWriter, q *dns.Msg) bool {
			m := new(dns.Msg).SetReply(q)
			m.Id++
			_ = w.WriteMsg(sign(q, m))
			return true
		}, nil, txt, "not one to what was asked"},
		{"ignored update", nil, nil, libdns.TXT{Name: "cname", Text: "x"}, "CNAME"},
		{"too much", nil, nil, libdns.TXT{Name: "many", Text: ""}, "fewer at a time"},
		{"not authoritative", func(w dns.ResponseWriter, q *dns.Msg) bool {
			if q.Opcode == dns.OpcodeQuery {
				_ = w.WriteMsg(sign(q, new(dns.Msg).SetReply(q)))
			}
			return q.Opcode == dns.OpcodeQuery
		}, nil, txt, "not authoritative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			s.behave(c.behave)
			var changes []func(*rfc2136.Options)
			if c.change != nil {
				changes = append(changes, c.change)
			}
			recs := []libdns.Record{c.rec}
			if c.want == "fewer at a time" {
				for i := range 20 {
					recs = append(recs, libdns.TXT{Name: "many", Text: strings.Repeat("x", 8000) + fmt.Sprint(i)})
				}
			}
			_, err := newProvider(t, s.addr, changes...).SetRecords(t.Context(), zone, recs)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

// A transfer that breaks off, or parts of which nobody signed, is none.
func TestBrokenTransfers(t *testing.T) {
	soa := record(t, "@ 60 SOA ns1 hostmaster 1 60 30 86400 60")
	txt := record(t, "x 60 TXT x")
	for name, c := range map[string]struct {
		parts    [][]dns.RR
		unsigned int // which message is not signed, from 1
		want     string
	}{
		"no end":            {[][]dns.RR{{soa, txt}}, 0, "no reply"},
		"no SOA":            {[][]dns.RR{{txt}}, 0, "does not begin"},
		"more after it":     {[][]dns.RR{{soa, txt, soa, txt}}, 0, "does not begin and end"},
		"empty":             {[][]dns.RR{{}}, 0, "empty"},
		"unsigned":          {[][]dns.RR{{soa}, {txt, soa}}, 1, "not signed"},
		"unsigned later on": {[][]dns.RR{{soa}, {txt, soa}}, 2, "not signed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.behave(func(w dns.ResponseWriter, q *dns.Msg) bool {
				for i, part := range c.parts {
					m := new(dns.Msg).SetReply(q)
					m.Answer = part
					if c.unsigned != i+1 {
						sign(q, m)
					}
					_ = w.WriteMsg(m)
					w.TsigTimersOnly(true)
				}
				_ = w.Close()
				return true
			})
			recs, err := newProvider(t, s.addr).GetRecords(t.Context(), zone)
			if err == nil || !strings.Contains(err.Error(), c.want) || recs != nil {
				t.Errorf("%v, error %v, want one with %q", recs, err, c.want)
			}
		})
	}
}

func TestNoServer(t *testing.T) {
	refused := func(o *rfc2136.Options) {
		o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
	}
	p := newProvider(t, "192.0.2.1", refused)
	if _, err := p.GetRecords(t.Context(), zone); err == nil || !strings.Contains(err.Error(), "192.0.2.1:53 does not take TCP connections: connection refused") {
		t.Errorf("error %v", err)
	}
	// A server that accepts and says nothing.
	silent := func(o *rfc2136.Options) {
		o.Timeout = 20 * time.Millisecond
		o.Dial = pipe(func(c net.Conn) {
			buf := make([]byte, 1000)
			for {
				if _, err := c.Read(buf); err != nil {
					return
				}
			}
		})
	}
	p = newProvider(t, "192.0.2.1", silent)
	_, err := p.SetRecords(t.Context(), zone, []libdns.Record{libdns.TXT{Name: "x", Text: "x"}})
	if err == nil || !strings.Contains(err.Error(), "may have been applied") {
		t.Errorf("error %v", err)
	}
}

func TestOptions(t *testing.T) {
	for want, change := range map[string]func(*rfc2136.Options){
		"server is empty":        func(o *rfc2136.Options) { o.Server = "" },
		`key_name ""`:            func(o *rfc2136.Options) { o.KeyName = "" },
		`algorithm "hmac-md5"`:   func(o *rfc2136.Options) { o.Algorithm = "hmac-md5" },
		"secret of key":          func(o *rfc2136.Options) { o.Secret = "not base64!" },
		"ttl 1ms: want at least": func(o *rfc2136.Options) { o.TTL = time.Millisecond },
	} {
		o := rfc2136.Options{Server: "192.0.2.1:53", KeyName: "k", Secret: secret}
		change(&o)
		if _, err := rfc2136.New(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "not base64!") {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
