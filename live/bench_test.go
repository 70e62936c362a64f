package live_test

import (
	"context"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
)

// large is a test with n connections, as a real sender made them.
func large(b *testing.B, n int) live.Snapshot {
	b.Helper()
	s := snapshotOf(readHistory(b, filepath.Join(histories, "postfix-dane.jsonl")), report.StateRunning)
	in := *s.Input
	few := in.History.Connections
	in.History.Connections = make([]evidence.Connection, n)
	last := few[len(few)-1].Start.Sub(few[0].Start) + 5*time.Minute
	for i := range n {
		c := few[i%len(few)]
		shift := time.Duration(i/len(few)) * last
		c.ID, c.Start, c.End = evidence.ConnID(strconv.Itoa(i)), c.Start.Add(shift), c.End.Add(shift)
		in.History.Connections[i] = c
	}
	s.Input = &in
	return s
}

// A test with 10,000 connections: a status, and what is new since the one before.
func BenchmarkLargeTest(b *testing.B) {
	s := large(b, 10_000)
	b.Run("Of", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			live.Of(s, report.English)
		}
	})
	before, now := live.Of(s, report.English), live.Of(s, report.English)
	now.Connections[199].Open = true
	b.Run("Delta", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if d := live.Delta(before, now); len(d) != 1 {
				b.Fatalf("%d rows", len(d))
			}
		}
	})
}

// 500 pages of one test with 1,000 connections: from a touch until all have the
// new status. The interval of loads is left out.
func BenchmarkHub500(b *testing.B) {
	s := large(b, 1000)
	n := 0
	var mu sync.Mutex
	h := live.NewHub(live.HubOptions{Interval: time.Nanosecond, Load: func(context.Context, string) (live.Snapshot, bool, error) {
		mu.Lock()
		defer mu.Unlock()
		n++
		s := s
		s.Booking = &live.Booking{Created: s.Now.Add(-time.Duration(n) * time.Hour)} // so that each differs
		return s, true, nil
	}})
	defer h.Close()
	got := make(chan struct{}, 500)
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	for range 500 {
		w, ok, err := h.Watch(ctx, "cap", report.English)
		if !ok || err != nil {
			b.Fatal(ok, err)
		}
		wg.Go(func() {
			defer w.Close()
			for {
				if _, err := w.Next(ctx); err != nil {
					return
				}
				got <- struct{}{}
			}
		})
	}
	for range 500 {
		<-got
	}
	b.ReportAllocs()
	for b.Loop() {
		h.TouchAll()
		for range 500 {
			<-got
		}
	}
	cancel()
	wg.Wait()
}
