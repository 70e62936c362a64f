package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/api"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

const (
	capQueued  = "queued-AAAAAAAAAAAAAAAAAAAA"
	capWaiting = "waiting-AAAAAAAAAAAAAAAAAAA"
	capExpired = "expired-AAAAAAAAAAAAAAAAAAA"
	capRunning = "running-AAAAAAAAAAAAAAAAAAA"
	capAcked   = "acked-AAAAAAAAAAAAAAAAAAAAA"
	capEarlier = "earlier-AAAAAAAAAAAAAAAAAAA"
	capNone    = "nobody-AAAAAAAAAAAAAAAAAAAA"
)

// world is a service with tests in every state, told by the real hub.
type world struct {
	hub *live.Hub

	mu        sync.Mutex
	tests     map[string]live.Snapshot
	cancelled []string
	hooks     map[string]string // by test
	clients   []netip.Addr

	// Faults.
	live, start, cancel, result, register error
}

func start() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// snapshots are tests in every state. They take a while: the engine infers.
func snapshots(t *testing.T) map[string]live.Snapshot {
	t.Helper()
	out := make(map[string]live.Snapshot)
	booking := func(state live.State) live.Snapshot {
		b := &live.Booking{State: state, Created: start(), Language: report.English}
		switch state {
		case live.Queued:
			b.Ahead, b.Free = 2, start().Add(time.Hour)
		case live.Waiting:
			b.Slot, b.Token, b.Expires = 3, "en4k7w2q9mxa", start().Add(30*time.Minute)
		}
		return live.Snapshot{ID: "7KQ2PX", Zone: "lab.example", Now: start(), Booking: b}
	}
	out[capQueued], out[capWaiting], out[capExpired] = booking(live.Queued), booking(live.Waiting), booking(live.Expired)
	engine := policyinfer.New()
	acked, earlier := recorded(t, engine, "postfix-dane"), recorded(t, engine, "postfix-may")
	running := earlier
	running.History.Connections = running.History.Connections[:6]
	running.State, running.Verdict = report.StateRunning, engine.Infer(running.History, policyinfer.Options{})
	out[capRunning] = live.Snapshot{
		ID: running.Test.ID, Zone: "lab.example", Now: start(), Input: &running, Phase: evidence.Downgrade, PhaseEnds: start().Add(time.Minute),
		Order: []string{"mx04", "mx05", "mx06", "mx03"}, NextTurn: start().Add(2 * time.Minute),
	}
	out[capAcked] = live.Snapshot{ID: acked.Test.ID, Zone: "lab.example", Now: start(), Input: &acked}
	out[capEarlier] = live.Snapshot{ID: earlier.Test.ID, Zone: "lab.example", Now: start(), Input: &earlier}
	return out
}

func newWorld(t *testing.T, tests map[string]live.Snapshot) *world {
	t.Helper()
	w := &world{tests: maps.Clone(tests), hooks: make(map[string]string)}
	w.hub = live.NewHub(live.HubOptions{Load: w.load, Interval: time.Millisecond})
	t.Cleanup(w.hub.Close)
	return w
}

func recorded(t *testing.T, engine *policyinfer.Engine, name string) report.Input {
	t.Helper()
	b, err := os.ReadFile("../policyinfer/testdata/histories/" + name + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	h, err := evidence.ReadHistory(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	h.Test.ID = strings.ToUpper(name)
	return report.Input{
		Service: h.Test.Zone, Test: h.Test, History: h, Verdict: engine.Infer(h, policyinfer.Options{}), State: report.StateAcked,
		Generated: start(), Engine: policyinfer.EngineVersion,
	}
}

func (w *world) load(_ context.Context, capability string) (live.Snapshot, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := w.tests[capability]
	return s, ok, nil
}

// change replaces a test.
func (w *world) change(capability string, s live.Snapshot) {
	w.mu.Lock()
	w.tests[capability] = s
	w.mu.Unlock()
	w.hub.TouchAll()
}

func (w *world) Status(ctx context.Context, capability string, l report.Language) (*live.Status, bool, error) {
	if w.live != nil {
		return nil, false, w.live
	}
	return w.hub.Status(ctx, capability, l)
}

func (w *world) Watch(ctx context.Context, capability string, l report.Language) (api.Watcher, bool, error) {
	watcher, ok, err := w.hub.Watch(ctx, capability, l)
	if errors.Is(err, live.ErrBusy) {
		err = api.ErrBusy
	}
	if err != nil || !ok {
		return nil, ok, err // a nil watcher in an interface would not be nil
	}
	return watcher, true, nil
}

func (w *world) Start(_ context.Context, client netip.Addr, language string) (string, error) {
	if w.start != nil {
		return "", w.start
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clients = append(w.clients, client)
	s := w.tests[capWaiting]
	b := *s.Booking
	b.Language = report.Language(language)
	s.Booking = &b
	capability := fmt.Sprintf("new-AAAAAAAAAAAAAAAAAAAAAA%d", len(w.clients))
	w.tests[capability] = s
	return capability, nil
}

func (w *world) Cancel(_ context.Context, capability string) error {
	if w.cancel != nil {
		return w.cancel
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancelled = append(w.cancelled, capability)
	return nil
}

func (w *world) Result(ctx context.Context, capability string) (report.Input, bool, error) {
	if w.result != nil {
		return report.Input{}, false, w.result
	}
	s, ok, err := w.load(ctx, capability)
	if !ok || s.Input == nil {
		return report.Input{}, false, err
	}
	return *s.Input, true, nil
}

func (w *world) Check(url string) error {
	if !strings.HasPrefix(url, "https://ci.example.com/") {
		return errors.New("this host is not one that the operator of this service allows")
	}
	return nil
}

func (w *world) Register(_ context.Context, testID, url string) (string, error) {
	if w.register != nil {
		return "", w.register
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hooks[testID] = url
	return "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", nil
}

func (w *world) handler(t *testing.T, change func(*api.Options)) http.Handler {
	t.Helper()
	o := api.Options{Live: w, Leases: w, Results: w, Webhooks: w, Link: func(c string) string { return "https://lab.example/t/" + c }}
	if change != nil {
		change(&o)
	}
	h, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
