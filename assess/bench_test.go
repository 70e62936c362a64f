package assess

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// large is an Assessor with one running test of many connections: each attempt
// is one to mx05 that leaves, and one to mx04 that hands the mail over.
func large(tb testing.TB, connections int) (*Assessor, *test) {
	tb.Helper()
	store, err := history.Open(history.Options{Path: filepath.Join(tb.TempDir(), "history.db"), Now: time.Now})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { store.Close() })
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	a, err := New(tb.Context(), Options{Zone: zone, Slots: 2, Store: store, Now: func() time.Time { return now }, Rand: randReader{newRNG(1)}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	a.RecordState(0, evidence.State{Time: now.Add(-time.Minute), MX: map[string]int{"mx05": 10, "mx04": 20, "mx06": 30, "mx03": 40}})
	for i := range connections {
		now = now.Add(time.Duration(1+14*(i%2)) * time.Second)
		host, mail := scenario.MX05, i%2 == 1
		if mail {
			host = scenario.MX04
		}
		largeConnection(tb, a, now, i, host, mail)
	}
	for _, t := range a.tests {
		return a, t
	}
	tb.Fatal("no test")
	return nil, nil
}

func largeConnection(tb testing.TB, a *Assessor, now time.Time, i int, host scenario.Host, mail bool) {
	tb.Helper()
	remote := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.10"), uint16(i))
	id := evidence.ConnID(fmt.Sprintf("c%06d", i))
	treatment, err := a.Accepted(id, netip.AddrPort{}, remote)
	if err != nil {
		tb.Fatal(err)
	}
	sni := scenario.Names(zone, 0).Host(host)
	a.ClientHello(id, sni)
	c := evidence.Connection{
		ID: id, Start: now, End: now.Add(100 * time.Millisecond), Client: remote.String(), Phase: treatment.Phase, StartTLSOffered: true, EHLO: true,
		Destination: "et", Server: 5, Helo: []string{"mta.sender.example"}, StartTLS: true, Ending: evidence.EndingQuit, Status: evidence.StatusTLSStarted,
		TLS: &evidence.TLS{SNI: &sni, ClientVersions: []string{"1.3"}, Stage: evidence.StageFinished, Complete: true, Certificate: string(scenario.HostKind(host))},
	}
	if mail {
		from, to := "user@sender.example", []string{"en@et." + zone}
		c.MailFrom, c.RcptTo, c.Data, c.Addressed, c.Server, c.Status = &from, to, true, to, 4, evidence.StatusMail
		c.Transactions = []evidence.Transaction{{
			MailFrom: from, RcptTo: to, Data: true, Reply: 451, TLS: true, Addressed: to, MessageID: "<1@sender.example>", Time: now, Message: &evidence.Message{From: []string{from}, Date: now},
		}}
		a.mu.Lock()
		conn := a.conns[id]
		t := a.match(conn.client, c.Transactions[0], 0, []scenario.Domain{scenario.ET})
		a.mu.Unlock()
		if t == nil {
			if _, _, ok := a.enter(c, c.Transactions[0], 0, []scenario.Domain{scenario.ET}, nil); !ok {
				tb.Fatal("no test")
			}
		} else {
			a.mu.Lock()
			conn.test = t
			a.mu.Unlock()
		}
	}
	a.Closed(c)
}

const many = 10_000

// BenchmarkLargeView is what a page of a test with 10,000 connections costs.
func BenchmarkLargeView(b *testing.B) {
	a, t := large(b, many)
	for b.Loop() {
		v, err := a.View(t.rec.Test.ID)
		if err != nil || len(v.History.Connections) != many {
			b.Fatalf("%d connections, %v", len(v.History.Connections), err)
		}
	}
}

// BenchmarkLargeEvidence is its part under the lock.
func BenchmarkLargeEvidence(b *testing.B) {
	a, t := large(b, many)
	for b.Loop() {
		a.evidence(t)
	}
}

// BenchmarkLargeNeeds is what the rotator asks for.
func BenchmarkLargeNeeds(b *testing.B) {
	a, t := large(b, many)
	v, err := a.View(t.rec.Test.ID)
	if err != nil {
		b.Fatal(err)
	}
	t.verdict = &v.Verdict
	for b.Loop() {
		a.Steer()
	}
}

// BenchmarkLargeMessage is one more mail of it, with its verdict.
func BenchmarkLargeMessage(b *testing.B) {
	a, t := large(b, many/2)
	now, i := a.o.Now(), many
	for b.Loop() {
		i++
		remote := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.10"), uint16(i))
		id := evidence.ConnID(fmt.Sprintf("m%06d", i))
		if _, err := a.Accepted(id, netip.AddrPort{}, remote); err != nil {
			b.Fatal(err)
		}
		c := t.own[0].Clone()
		c.ID, c.Start, c.End, c.Client = id, now, now.Add(time.Second), remote.String()
		a.Message(context.Background(), c)
		a.Closed(c)
	}
}

// BenchmarkLargeBegin is how long it takes to get there.
func BenchmarkLargeBegin(b *testing.B) {
	for b.Loop() {
		large(b, many)
	}
}

// BenchmarkLargeStored is a page of such a test once it has its verdict.
func BenchmarkLargeStored(b *testing.B) {
	a, t := large(b, many)
	a.mu.Lock()
	v := a.engine.Infer(a.evidenceLocked(t), policyinfer.Options{})
	batch := a.finish(t, &v, a.o.Now())
	batch.Tests = append(batch.Tests, t.rec)
	for _, c := range t.own {
		batch.Attach = append(batch.Attach, history.Attachment{Connection: c.ID, Test: t.rec.Test.ID, Attribution: evidence.ByMail})
	}
	wait, err := a.o.Store.Begin(b.Context(), batch)
	a.mu.Unlock()
	if err == nil {
		err = wait(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if v, err := a.View(t.rec.Test.ID); err != nil || len(v.History.Connections) != many {
			b.Fatalf("%d connections, %v", len(v.History.Connections), err)
		}
	}
}
