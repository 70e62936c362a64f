package live

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tlsink/tlsink/report"
)

// The defaults of HubOptions.
const (
	defaultInterval = 500 * time.Millisecond
	defaultRefresh  = time.Minute
	defaultWatchers = 2000
	defaultPerTest  = 600
	defaultLoads    = 4

	loadTimeout = 30 * time.Second
	// share is how many times longer than a load the time is from the begin of
	// one to the next: at most a fifth of the time is spent in loads of one test.
	share = 5
)

// The errors of a Hub.
var (
	ErrBusy   = errors.New("too many pages follow a test right now; try again later")
	ErrClosed = errors.New("the service is stopping")
	ErrGone   = errors.New("the test has been deleted")
)

// Limits bound what a Hub does at once. A zero field means the default.
type Limits struct {
	Watchers int // of all tests; 2000
	PerTest  int // watchers of one test; 600
	Loads    int // snapshots of different tests at the same time; 4
}

// HubOptions configure a Hub.
type HubOptions struct {
	// Load gathers the snapshot of a test; false if there is none of that
	// capability. It may be slow, and is called for different tests at once.
	Load     func(ctx context.Context, capability string) (Snapshot, bool, error)
	Now      func() time.Time // default time.Now
	Interval time.Duration    // at most one load of one test in it; default 500 ms
	Refresh  time.Duration    // a watched test that is not over is loaded again after it, touched or not; default 1 min
	Logger   *slog.Logger
	Limits   Limits
}

// Hub follows tests for all who watch them. Tests that nobody watches cost
// nothing. It is safe for concurrent use.
type Hub struct {
	o       HubOptions
	ctx     context.Context // that of all loads; ends with Close
	cancel  context.CancelFunc
	loads   chan struct{} // one element for each running load
	running sync.WaitGroup

	mu       sync.Mutex
	topics   map[string]*topic // by capability
	byTest   map[string]*topic // once the id of their test is known
	watchers int
	closed   bool
}

// NewHub returns a Hub. Close ends it.
func NewHub(o HubOptions) *Hub {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		to       *time.Duration
		fallback time.Duration
	}{{&o.Interval, defaultInterval}, {&o.Refresh, defaultRefresh}} {
		if *d.to <= 0 {
			*d.to = d.fallback
		}
	}
	for _, n := range []struct {
		to       *int
		fallback int
	}{{&o.Limits.Watchers, defaultWatchers}, {&o.Limits.PerTest, defaultPerTest}, {&o.Limits.Loads, defaultLoads}} {
		if *n.to <= 0 {
			*n.to = n.fallback
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Hub{
		o: o, ctx: ctx, cancel: cancel, loads: make(chan struct{}, o.Limits.Loads),
		topics: make(map[string]*topic), byTest: make(map[string]*topic),
	}
}

// Close ends all watchers with ErrClosed, and returns once no load runs.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	h.cancel()
	for _, t := range h.topics {
		h.drop(t)
	}
	h.mu.Unlock()
	h.running.Wait()
}

// Watchers counts those who watch, for metrics.
func (h *Hub) Watchers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.watchers
}

// Touch tells that something of a test may have changed. It does not block.
func (h *Hub) Touch(testID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.byTest[testID]; t != nil {
		h.touch(t)
		return
	}
	for _, t := range h.topics { // few, and only while their first load runs
		if t.id == "" && t.loading {
			t.dirty = true
		}
	}
}

// TouchAll tells that something of all tests may have changed.
func (h *Hub) TouchAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics {
		h.touch(t)
	}
}

// Void tells that tests were deleted: Status tells only what is loaded after it.
func (h *Hub) Void() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics {
		t.void = true
		h.touch(t)
	}
}

// Status returns a test as it stands now, at most Interval old and never older than
// Void; false if there is none of that capability. Calls at the same time share one
// load.
func (h *Hub) Status(ctx context.Context, capability string, l report.Language) (*Status, bool, error) {
	t, err := h.join(capability)
	if err != nil {
		return nil, false, err
	}
	defer h.leave(t)
	return h.current(ctx, t, l)
}

// Watch begins to follow a test; false if there is none of that capability.
// ErrBusy if too many do. The Watcher must be closed.
func (h *Hub) Watch(ctx context.Context, capability string, l report.Language) (*Watcher, bool, error) {
	t, err := h.join(capability)
	if err != nil {
		return nil, false, err
	}
	defer h.leave(t)
	h.mu.Lock()
	full := h.watchers >= h.o.Limits.Watchers || t.watchers >= h.o.Limits.PerTest
	if !full {
		h.watchers++
		t.watchers++
	}
	h.mu.Unlock()
	if full {
		return nil, false, ErrBusy
	}
	w := &Watcher{hub: h, topic: t, language: l, done: make(chan struct{})}
	if _, ok, err := h.current(ctx, t, l); !ok || err != nil {
		w.Close()
		return nil, false, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !t.loading && t.due.IsZero() {
		h.again(t) // it was fresh enough: nothing is scheduled
	}
	return w, true, nil
}

// A Watcher follows one test for one reader. Next may be called by one
// goroutine at a time, Close by any.
type Watcher struct {
	hub      *Hub
	topic    *topic
	language report.Language
	seen     *Status
	once     sync.Once
	done     chan struct{}
}

// Next returns the status as soon as it differs from the one that Next returned
// before; the first time at once. What changed in between is skipped: the
// latest counts. The Status is shared, and must not be changed. The error is
// that of ctx, ErrClosed, or ErrGone.
func (w *Watcher) Next(ctx context.Context) (*Status, error) {
	for {
		s, changed, err := w.hub.latest(w.topic, w.language)
		if err != nil {
			return nil, err
		}
		if s != nil && s != w.seen {
			w.seen = s
			return s, nil
		}
		select {
		case <-changed:
		case <-w.done:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Close ends the Watcher; a Next that waits returns. It may be called twice.
func (w *Watcher) Close() {
	w.once.Do(func() {
		close(w.done)
		w.hub.mu.Lock()
		defer w.hub.mu.Unlock()
		w.hub.watchers--
		w.topic.watchers--
		w.hub.linger(w.topic)
	})
}
