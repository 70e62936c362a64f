package web_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/web"
)

// board is a web.Live with one test, which a test of this package sets.
type board struct {
	mu       sync.Mutex
	of       func(report.Language) *live.Status // nil: there is no test
	err      error
	seen     map[report.Language]*live.Status
	changed  chan struct{}
	asked    int
	watchers int
}

func newBoard(of func(report.Language) *live.Status) *board {
	b := &board{changed: make(chan struct{})}
	b.set(of)
	return b
}

func boardOf(s live.Snapshot) *board { return newBoard(told(s)) }

func told(s live.Snapshot) func(report.Language) *live.Status {
	return func(l report.Language) *live.Status { return live.Of(s, l) }
}

// set changes the test for all who watch it.
func (b *board) set(of func(report.Language) *live.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of, b.seen = of, make(map[report.Language]*live.Status)
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *board) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *board) look(l report.Language) (*live.Status, <-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil || b.of == nil {
		return nil, b.changed, b.err
	}
	if b.seen[l] == nil {
		b.seen[l] = b.of(l)
	}
	return b.seen[l], b.changed, nil
}

func (b *board) Status(_ context.Context, c string, l report.Language) (*live.Status, bool, error) {
	b.mu.Lock()
	b.asked++
	b.mu.Unlock()
	st, _, err := b.look(l)
	return st, st != nil && c == capability, err
}

func (b *board) Watch(ctx context.Context, c string, l report.Language) (web.Watcher, bool, error) {
	st, ok, err := b.Status(ctx, c, l)
	if st == nil || !ok || err != nil {
		return nil, ok, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watchers++
	return &boardWatcher{b: b, l: l}, true, nil
}

func (b *board) open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.watchers
}

type boardWatcher struct {
	b    *board
	l    report.Language
	last *live.Status
}

func (w *boardWatcher) Next(ctx context.Context) (*live.Status, error) {
	for {
		st, changed, err := w.b.look(w.l)
		if err != nil {
			return nil, err
		}
		if st == nil {
			return nil, live.ErrGone
		}
		if st != w.last {
			w.last = st
			return st, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (w *boardWatcher) Close() {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	w.b.watchers--
}

// Bookings of a test that no mail has come for.
func queued() live.Snapshot {
	return live.Snapshot{ID: "7KQ2XM", Zone: zone, Now: start, Booking: &live.Booking{State: live.Queued, Created: start, Ahead: 2, Free: start.Add(40 * time.Minute)}}
}

func waiting() live.Snapshot {
	return live.Snapshot{
		ID: "7KQ2XM", Zone: zone, Now: start, NextTurn: start.Add(4 * time.Minute), Order: []string{"mx04", "mx05", "mx06", "mx03"},
		Booking: &live.Booking{State: live.Waiting, Slot: 3, Token: "en4k7w2q9mxa", Created: start, Expires: start.Add(30 * time.Minute)},
	}
}

func expired() live.Snapshot {
	return live.Snapshot{ID: "7KQ2XM", Zone: zone, Now: start, Booking: &live.Booking{State: live.Expired, Created: start}}
}

// recorded is the test of a real sender after that many connections; less than
// one stands for all.
func recorded(t testing.TB, name string, connections int, state string) live.Snapshot {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../policyinfer/testdata/histories", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := evidence.ReadHistory(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if connections > 0 {
		h.Connections = h.Connections[:min(connections, len(h.Connections))]
	}
	now := h.Test.Started
	for i := range h.Connections {
		if end := h.Connections[i].End; end.After(now) {
			now = end
		}
	}
	if state != report.StateRunning {
		now = now.Add(time.Minute) // its last mail is long done
	}
	in := &report.Input{
		Service: h.Test.Zone, Test: h.Test, History: h, Verdict: policyinfer.New().Infer(h, policyinfer.Options{}),
		State: state, Generated: now, Engine: policyinfer.EngineVersion,
	}
	s := live.Snapshot{ID: h.Test.ID, Zone: h.Test.Zone, Now: now, Input: in, Phase: evidence.Secure}
	if state == report.StateRunning {
		s.Order, s.NextTurn = []string{"mx04", "mx05", "mx06", "mx03"}, now.Add(5*time.Minute)
	}
	return s
}
