package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/inbound"
)

// newAnalyst is an analyst of reports that wait, by the client that caused
// each; nothing runs.
func newAnalyst(t *testing.T, clients ...string) (*analyst, []history.QueueItem) {
	t.Helper()
	store, err := history.Open(history.Options{Path: t.TempDir() + "/history.db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	var b history.Batch
	for i, client := range clients {
		id, created := fmt.Sprintf("T%02d", len(clients)-i), time.Now().Add(time.Duration(i)*time.Millisecond)
		var r history.TestRecord
		r.Test.ID, r.Test.Sender, r.Test.Started, r.State = id, "a@"+id+".example", created, history.StateConcluded
		b.Tests = append(b.Tests, r)
		b.Enqueue = append(b.Enqueue, history.QueueItem{ID: id, TestID: id, To: r.Test.Sender, Network: client, Created: created, Due: created})
	}
	if err := store.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return &analyst{service: &service{store: store}, wake: make(chan struct{}, 1), busy: make(map[string]string)}, b.Enqueue
}

// One client whose domains have slow servers leaves room for others.
func TestAnalysesOfOneClient(t *testing.T) {
	a, items := newAnalyst(t, "192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2")
	begun := func() (ids []string) {
		for _, it := range items {
			if a.begin(it) {
				ids = append(ids, it.ID)
			}
		}
		return ids
	}
	if got := begun(); !slices.Equal(got, []string{"T04", "T03", "T01"}) {
		t.Errorf("begun %v", got)
	}
	a.end(items[0])
	if err := a.service.store.SetAnalysis(t.Context(), items[0].TestID, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if got := begun(); !slices.Equal(got, []string{"T02"}) {
		t.Errorf("begun after one has ended: %v", got)
	}
}

// What was deleted while it waited is not looked at.
func TestForgottenIsNotAnalysed(t *testing.T) {
	a, items := newAnalyst(t, "192.0.2.1", "192.0.2.2")
	if _, err := a.service.store.DeletePerson(t.Context(), items[0].To); err != nil {
		t.Fatal(err)
	}
	if a.begin(items[0]) {
		t.Error("the forgotten one is analysed")
	}
	if !a.begin(items[1]) {
		t.Error("the other one is not")
	}
	waiting, err := a.waiting(t.Context())
	if err != nil || len(waiting) != 1 || waiting[0].ID != items[1].ID {
		t.Errorf("waiting %v, %v", waiting, err)
	}
}

// The oldest come first, and those whose mail went out without an analysis get
// theirs for the page, for a while.
func TestWaitingForAnalysis(t *testing.T) {
	a, items := newAnalyst(t, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5")
	now := time.Now()
	items[1].Sent = now
	items[2].Sent, items[2].Created = now, now.Add(-2*analysisPatience-time.Second)
	items[3].GaveUp = true
	items[4].Created = now.Add(-24 * time.Hour) // tried again and again
	if err := a.service.store.Commit(t.Context(), history.Batch{Update: items}); err != nil {
		t.Fatal(err)
	}
	queue, err := a.waiting(t.Context())
	var got []string
	for _, it := range queue {
		got = append(got, it.ID)
	}
	if want := []string{items[4].ID, items[0].ID, items[1].ID}; err != nil || !slices.Equal(got, want) {
		t.Errorf("waiting %v, %v, want %v", got, err, want)
	}
}

func TestOwnAddressesAreNotProbed(t *testing.T) {
	a := netip.MustParseAddr
	c := config.Config{
		DNS: config.DNS{Addresses: []netip.Addr{a("8.8.8.1")}, MXAddresses: []netip.Addr{a("8.8.8.2")}, UTAddresses: []netip.Addr{a("2606:4700::3")}},
		Listen: config.Listen{
			SMTP: []string{"8.8.8.5:25", "[::ffff:8.8.8.6]:25", ":25"},
			NAT:  map[string]netip.Addr{"10.0.0.4": a("::ffff:8.8.8.4")},
		},
	}
	s := &service{cfg: c}
	allowed := s.mayConnect(false)
	for _, own := range []string{"8.8.8.1", "8.8.8.2", "2606:4700::3", "8.8.8.4", "8.8.8.5", "8.8.8.6", "127.0.0.1", "10.0.0.4"} {
		if allowed(a(own)) {
			t.Errorf("%s is probed", own)
		}
	}
	if !allowed(a("8.8.8.8")) {
		t.Error("others are not probed")
	}
	s.cfg.Inbound.Private = true
	if !s.mayConnect(s.cfg.Inbound.Private)(a("10.0.0.1")) {
		t.Error("a laboratory is not probed")
	}
}

// Analyses that nobody can finish end with the service.
func TestAnalystStops(t *testing.T) {
	a, _ := newAnalyst(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// nowhere is DNS without any domain.
type nowhere struct{}

func (nowhere) Lookup(_ context.Context, name string, _ uint16) (dnssec.Answer, error) {
	return dnssec.Answer{Status: dnssec.Secure, CanonicalName: name, Rcode: dns.RcodeNameError}, nil
}

// A hundred reports that wait all get their analysis, whoever caused them.
func TestManyWait(t *testing.T) {
	clients := make([]string, 100)
	for i := range clients {
		clients[i] = fmt.Sprintf("192.0.2.%d", i%7)
	}
	a, items := newAnalyst(t, clients...)
	var err error
	if a.analyzer, err = inbound.New(inbound.Options{Resolver: nowhere{}, HELO: "probe.example"}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{}, 2*len(items))
	a.analysed = func(string) { ended <- struct{}{} }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.run(ctx) }()
	for range items {
		<-ended
	}
	for _, it := range items {
		if _, err := a.service.store.Analysis(it.TestID); err != nil {
			t.Errorf("%s: %v", it.TestID, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A sender whose MX is an address of ours must not have us connect there.
func TestReportsGoToStrangersOnly(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &service{cfg: config.Config{DNS: config.DNS{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.25")}}}}
	for name, address := range map[string]string{"address": l.Addr().String(), "name": "localhost:1"} {
		if c, err := strangers(s.mayConnect(false), netip.Addr{})(t.Context(), "tcp", address); err == nil {
			_ = c.Close()
			t.Errorf("%s: connected", name)
		} else if !strings.Contains(err.Error(), "nothing is delivered there (mail.private)") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := strangers(s.mayConnect(true), netip.MustParseAddr("127.0.0.1"))(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}
