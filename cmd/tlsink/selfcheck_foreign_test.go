package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/zones/desec"
	"github.com/tlsink/tlsink/zones/propagation"
	"github.com/tlsink/tlsink/zones/rfc2136"
)

// What somebody else changed lasts as long as caches have it, from the earliest
// time on at which it may have been there.
func TestSpoil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSelfCheck(&service{log: slog.New(slog.DiscardHandler)})
		began := time.Now().Round(0)
		c.good.Faces = began
		if err := c.spoiledNow(); err != nil || !c.speaksFor(began, false) {
			t.Errorf("before: %v", err)
		}
		c.spoil("first", began.Add(-time.Minute), began.Add(10*time.Minute))
		c.spoil("second", began.Add(-time.Hour), began.Add(5*time.Minute))
		time.Sleep(6 * time.Minute)
		if err := c.spoiledNow(); err == nil || !strings.HasPrefix(err.Error(), "first; caches may have it until ") {
			t.Errorf("while caches have it: %v", err)
		}
		if !c.foreign.Since.Equal(began.Add(-time.Hour)) || c.speaksFor(began, false) {
			t.Errorf("since %v; reports may go: %v", c.foreign.Since, c.speaksFor(began, false))
		}
		time.Sleep(5 * time.Minute)
		if err := c.spoiledNow(); err != nil || !c.speaksFor(began, false) {
			t.Errorf("after that: %v", err)
		}
		c.spoil("third", time.Now(), time.Now().Add(time.Minute))
		if !c.foreign.Since.Equal(time.Now()) {
			t.Errorf("since %v, want now", c.foreign.Since)
		}
	})
}

// Caches outlive the process.
func TestSpoilIsKept(t *testing.T) {
	store, err := history.Open(history.Options{Path: filepath.Join(t.TempDir(), "history.db"), Logger: slog.New(slog.DiscardHandler), MailboxMax: 1, MessageBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	start := func() *selfCheck { return newSelfCheck(&service{log: slog.New(slog.DiscardHandler), store: store}) }
	since := time.Now().Add(-time.Minute)
	c := start()
	c.spoil("first", since, time.Now().Add(time.Hour))
	c.keepForeign(t.Context())
	for name, found := range map[string]func(c *selfCheck){
		"nothing since": func(*selfCheck) {},
		"more at start": func(c *selfCheck) { c.spoil("second", time.Now(), time.Now().Add(time.Minute)) },
	} {
		c := start()
		found(c)
		if err := c.loadForeign(); err != nil {
			t.Fatal(err)
		}
		if err := c.spoiledNow(); err == nil || !strings.HasPrefix(err.Error(), "first; ") || !c.foreign.Since.Equal(since) {
			t.Errorf("%s: %v since %v", name, err, c.foreign.Since)
		}
	}
}

func TestMayPass(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"connection refused": {&net.OpError{Op: "dial", Err: errors.New("refused")}, true},
		"cut off":            {fmt.Errorf("no reply: %w", io.EOF), true},
		"too late":           {context.DeadlineExceeded, true},
		"SERVFAIL":           {&rfc2136.Error{Rcode: dns.RcodeServerFailure}, true},
		"our clock":          {&rfc2136.Error{Rcode: dns.RcodeNotAuth, TSIG: dns.RcodeBadTime}, true},
		"REFUSED":            {&rfc2136.Error{Rcode: dns.RcodeRefused}, false},
		"another secret":     {&rfc2136.Error{Rcode: dns.RcodeNotAuth, TSIG: dns.RcodeBadSig}, false},
		"deSEC is down":      {&desec.Error{Status: 503}, true},
		"another token":      {&desec.Error{Status: 401}, false},
		"a smaller TTL":      {errors.New("provider stores TLSA with a TTL of 3600 s"), false},
	} {
		if got := mayPass(fmt.Errorf("probe: %w", c.err)); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// answers is a name server for propagation.
func answers(lines ...string) propagation.ExchangeFunc {
	return func(_ context.Context, q *dns.Msg, _, _ string) (*dns.Msg, error) {
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		for _, line := range lines {
			rr, err := dns.NewRR(line)
			if err != nil {
				return nil, err
			}
			if h := rr.Header(); strings.EqualFold(h.Name, q.Question[0].Name) && h.Rrtype == q.Question[0].Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
		return m, nil
	}
}

// A key roll waits for what caches may have, and what was seen once counts.
func TestRollWaitOfOthers(t *testing.T) {
	ca, err := certs.OpenLocalCA(certs.LocalCAOptions{Dir: t.TempDir(), Zone: "sink.example"})
	if err != nil {
		t.Fatal(err)
	}
	s := &service{cfg: config.Config{Zone: "sink.example"}}
	s.cfg.SetDefaults()
	s.cfg.Timing.Propagation = config.Duration(7 * time.Second)
	if s.certs, err = certs.Open(t.Context(), certs.Options{Zone: s.cfg.Zone, Slots: 1, Issuer: ca, KeyAlgorithms: []certs.KeyAlgorithm{certs.ECDSA}}); err != nil {
		t.Fatal(err)
	}
	lines := []string{"sink.example. 3600 IN SOA ns. host. 1 1 1 1 300", "_25._tcp.mx04.et.sink.example. 30 IN TLSA 3 1 1 " + strings.Repeat("ab", 32)}
	n := &externalNames{service: s}
	open := func(lines ...string) {
		n.servers, err = propagation.New(propagation.Options{Zone: "sink.example", Fixed: []string{"192.0.2.1:53"}, Exchange: answers(lines...)})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := n.rollWait(); got != externalRollWait {
		t.Errorf("unknown: %v", got)
	}
	open(lines...)
	if err := n.measure(t.Context()); err != nil || n.rollWait() != time.Minute+5*time.Minute+7*time.Second {
		t.Errorf("%v, %v: want dns.ttl, the SOA's minimum and timing.propagation", n.rollWait(), err)
	}
	open(lines[0], "_25._tcp.mx04.et.sink.example. 900 IN TLSA 3 1 1 "+strings.Repeat("ab", 32))
	if err := n.measure(t.Context()); err != nil || n.rollWait() != 15*time.Minute+5*time.Minute+7*time.Second {
		t.Errorf("%v, %v: want the TTL that is served", n.rollWait(), err)
	}
	open(lines...)
	if err := n.measure(t.Context()); err != nil || n.rollWait() < 20*time.Minute {
		t.Errorf("%v, %v: what was served is still cached", n.rollWait(), err)
	}
}

func TestDelegationOf(t *testing.T) {
	got := delegationOf("sink.example.", []libdns.Record{
		libdns.Address{Name: "ns1", IP: netip.MustParseAddr("192.0.2.1")},
		libdns.Address{Name: "mx", IP: netip.MustParseAddr("192.0.2.2")},
		libdns.NS{Name: "@", Target: "ns1.sink.example."},
		libdns.NS{Name: "", Target: "ns.example.net."},
		libdns.NS{Name: "sub", Target: "ns.other.example."},
	})
	var text []string
	for _, rr := range got {
		text = append(text, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	const want = "sink.example. 3600 IN NS ns1.sink.example.\nsink.example. 3600 IN NS ns.example.net.\nns1.sink.example. 3600 IN A 192.0.2.1"
	if strings.Join(text, "\n") != want {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(text, "\n"), want)
	}
}
