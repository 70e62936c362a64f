package live_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
)

// source is a test whose place in the queue is its state.
type source struct {
	mu      sync.Mutex
	ahead   map[string]int
	over    bool
	fails   error
	slow    time.Duration
	loads   atomic.Int64
	inside  atomic.Int64
	atOnce  atomic.Int64
	stopped atomic.Int64
}

func newSource() *source { return &source{ahead: map[string]int{"cap": 1}} }

func (s *source) set(capability string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead[capability] = n
}

func (s *source) load(ctx context.Context, capability string) (live.Snapshot, bool, error) {
	s.loads.Add(1)
	if n := s.inside.Add(1); n > s.atOnce.Load() {
		s.atOnce.Store(n)
	}
	defer s.inside.Add(-1)
	s.mu.Lock()
	n, ok := s.ahead[capability]
	err, slow, over := s.fails, s.slow, s.over
	s.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			s.stopped.Add(1)
			return live.Snapshot{}, false, ctx.Err()
		}
	}
	state := live.Queued
	if over {
		state = live.Expired
	}
	return live.Snapshot{ID: "id-" + capability, Zone: "sink.example", Now: time.Now(), Booking: &live.Booking{State: state, Ahead: n}}, ok, err
}

func hubOf(t *testing.T, s *source, limits live.Limits) *live.Hub {
	t.Helper()
	h := live.NewHub(live.HubOptions{Load: s.load, Limits: limits})
	t.Cleanup(h.Close)
	return h
}

func watch(t *testing.T, h *live.Hub, capability string) *live.Watcher {
	t.Helper()
	w, ok, err := h.Watch(t.Context(), capability, report.English)
	if err != nil || !ok {
		t.Fatalf("Watch(%q) = %v, %v", capability, ok, err)
	}
	return w
}

func next(t *testing.T, w *live.Watcher) int {
	t.Helper()
	s, err := w.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Place.Ahead
}

func TestWatcherGetsWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		h := hubOf(t, s, live.Limits{})
		w := watch(t, h, "cap")
		defer w.Close()
		if n := next(t, w); n != 1 {
			t.Fatalf("first status: %d ahead, want 1", n)
		}
		got := make(chan int, 10)
		go func() {
			for {
				s, err := w.Next(t.Context())
				if err != nil {
					close(got)
					return
				}
				got <- s.Place.Ahead
			}
		}()
		h.Touch("id-cap") // nothing changed
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(got) != 0 {
			t.Errorf("a status although nothing had changed: %d", <-got)
		}
		s.set("cap", 0)
		h.Touch("id-cap")
		if n := <-got; n != 0 {
			t.Errorf("after a change: %d ahead, want 0", n)
		}
		w.Close()
		if _, open := <-got; open {
			t.Error("a status after Close")
		}
		synctest.Wait()
		if n := h.Watchers(); n != 0 {
			t.Errorf("%d watchers left", n)
		}
	})
}

// However often a test is touched and asked for, it is loaded once in Interval.
func TestLoadsAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		h := hubOf(t, s, live.Limits{})
		var watchers []*live.Watcher
		for range 100 {
			watchers = append(watchers, watch(t, h, "cap"))
		}
		if n := s.loads.Load(); n != 1 {
			t.Fatalf("%d loads for 100 watchers, want 1", n)
		}
		for i := range 1000 { // ten seconds
			s.set("cap", i)
			h.Touch("id-cap")
			go func() {
				if _, ok, err := h.Status(t.Context(), "cap", report.English); !ok || err != nil {
					t.Errorf("Status: %v, %v", ok, err)
				}
			}()
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := s.loads.Load(); n < 15 || n > 23 {
			t.Errorf("%d loads in 10 s, want about 20", n)
		}
		for _, w := range watchers {
			if n := next(t, w); n != 999 {
				t.Fatalf("a slow watcher got %d, want the latest, 999", n)
			}
			w.Close()
		}
	})
}

// A slow load takes at most a fifth of the time.
func TestSlowLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.slow = time.Second
		h := hubOf(t, s, live.Limits{})
		w := watch(t, h, "cap")
		defer w.Close()
		for i := range 600 { // a minute
			s.set("cap", i)
			h.Touch("id-cap")
			time.Sleep(100 * time.Millisecond)
		}
		if n := s.loads.Load(); n > 13 || n < 11 {
			t.Errorf("%d loads of a second in a minute, want about 12", n)
		}
	})
}

func TestUnwatchedTestsCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		h := hubOf(t, s, live.Limits{})
		watch(t, h, "cap").Close()
		time.Sleep(time.Second)
		before := s.loads.Load()
		for range 100 {
			h.Touch("id-cap")
			h.TouchAll()
			time.Sleep(10 * time.Second)
		}
		if n := s.loads.Load() - before; n != 0 {
			t.Errorf("%d loads of a test that nobody watches", n)
		}
	})
}

// Whoever polls instead of watching causes no more loads.
func TestPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		h := hubOf(t, s, live.Limits{})
		for i := range 1000 {
			s.set("cap", i)
			got, ok, err := h.Status(t.Context(), "cap", report.German)
			if err != nil || !ok || got.Language != "de" {
				t.Fatalf("Status = %v, %v, %v", got, ok, err)
			}
			if got.Place.Ahead < i-51 {
				t.Fatalf("at %d: %d is older than Interval", i, got.Place.Ahead)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := s.loads.Load(); n > 22 {
			t.Errorf("%d loads in 10 s of polling", n)
		}
	})
}

func TestRefreshWithoutTouch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		h := hubOf(t, s, live.Limits{})
		w := watch(t, h, "cap")
		defer w.Close()
		next(t, w)
		s.set("cap", 7)
		if n := next(t, w); n != 7 {
			t.Errorf("got %d, want 7", n)
		}
		s.mu.Lock()
		s.over = true
		s.mu.Unlock()
		h.Touch("id-cap")
		time.Sleep(time.Second)
		before := s.loads.Load()
		time.Sleep(time.Hour)
		if n := s.loads.Load() - before; n != 0 {
			t.Errorf("%d loads of a test that is over", n)
		}
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.set("other", 1)
		h := hubOf(t, s, live.Limits{Watchers: 3, PerTest: 2})
		a := watch(t, h, "cap")
		watch(t, h, "cap")
		if _, _, err := h.Watch(t.Context(), "cap", report.English); !errors.Is(err, live.ErrBusy) {
			t.Errorf("third watcher of a test: %v, want ErrBusy", err)
		}
		watch(t, h, "other")
		if _, _, err := h.Watch(t.Context(), "other", report.English); !errors.Is(err, live.ErrBusy) {
			t.Errorf("fourth watcher: %v, want ErrBusy", err)
		}
		a.Close()
		a.Close()
		watch(t, h, "cap")
		if _, ok, err := h.Status(t.Context(), "cap", report.English); !ok || err != nil {
			t.Errorf("Status beside many watchers: %v, %v", ok, err)
		}
	})
}

func TestUnknownAndFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		h := hubOf(t, s, live.Limits{})
		if _, ok, err := h.Watch(t.Context(), "guess", report.English); ok || err != nil {
			t.Errorf("Watch of none: %v, %v", ok, err)
		}
		if _, ok, err := h.Status(t.Context(), "guess", report.English); ok || err != nil {
			t.Errorf("Status of none: %v, %v", ok, err)
		}
		w := watch(t, h, "cap")
		next(t, w)
		fault := errors.New("no disk")
		s.mu.Lock()
		s.fails = fault
		s.mu.Unlock()
		h.Touch("id-cap")
		time.Sleep(time.Second)
		if _, _, err := h.Status(t.Context(), "cap", report.English); !errors.Is(err, fault) {
			t.Errorf("Status while loads fail: %v", err)
		}
		s.mu.Lock()
		s.fails = nil
		s.ahead["cap"] = 9
		s.mu.Unlock()
		if n := next(t, w); n != 9 {
			t.Errorf("after the fault: %d, want 9", n)
		}
		s.mu.Lock()
		delete(s.ahead, "cap")
		s.mu.Unlock()
		h.Touch("id-cap")
		if _, err := w.Next(t.Context()); !errors.Is(err, live.ErrGone) {
			t.Errorf("Next of a deleted test: %v, want ErrGone", err)
		}
		w.Close()
		if n := h.Watchers(); n != 0 {
			t.Errorf("%d watchers left", n)
		}
	})
}

// What was deleted is shown to nobody who asks afterwards, however fresh it is.
func TestDeletedIsGoneAtOnce(t *testing.T) {
	for _, loading := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSource()
			h := hubOf(t, s, live.Limits{})
			if _, ok, err := h.Status(t.Context(), "cap", report.English); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if loading { // what was there before is still being read
				s.mu.Lock()
				s.slow = 20 * time.Second
				s.mu.Unlock()
				time.Sleep(10 * time.Second)
				go h.Status(t.Context(), "cap", report.English) //nolint:errcheck // see below
				time.Sleep(10 * time.Second)
				if s.inside.Load() != 1 {
					t.Fatal("nothing is being read")
				}
			}
			s.mu.Lock()
			delete(s.ahead, "cap")
			s.mu.Unlock()
			h.Void()
			if _, ok, err := h.Status(t.Context(), "cap", report.English); ok || err != nil {
				t.Errorf("loading %v: found %v, %v", loading, ok, err)
			}
		})
	}
}

func TestCloseOfHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.slow = 20 * time.Second
		h := hubOf(t, s, live.Limits{})
		w := watch(t, h, "cap")
		next(t, w)
		ended := make(chan error)
		go func() {
			_, err := w.Next(t.Context())
			ended <- err
		}()
		h.Touch("id-cap")
		time.Sleep(90 * time.Second) // inside a load
		h.Close()
		if err := <-ended; !errors.Is(err, live.ErrClosed) {
			t.Errorf("Next after Close of the hub: %v", err)
		}
		if n := s.stopped.Load(); n != 1 {
			t.Errorf("%d loads were stopped, want 1", n)
		}
		if _, _, err := h.Status(t.Context(), "cap", report.English); !errors.Is(err, live.ErrClosed) {
			t.Errorf("Status after Close: %v", err)
		}
		if _, _, err := h.Watch(t.Context(), "cap", report.English); !errors.Is(err, live.ErrClosed) {
			t.Errorf("Watch after Close: %v", err)
		}
		w.Close()
	})
}

// The loads of many tests do not come all at once.
func TestLoadsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.slow = time.Second
		h := hubOf(t, s, live.Limits{Loads: 3})
		var wg sync.WaitGroup
		for i := range 30 {
			capability := string(rune('A' + i))
			s.set(capability, i)
			wg.Go(func() {
				w := watch(t, h, capability)
				defer w.Close()
				next(t, w)
			})
		}
		wg.Wait()
		if n := s.atOnce.Load(); n != 3 {
			t.Errorf("%d loads at once, want 3", n)
		}
	})
}

// A caller that gives up leaves nothing behind.
func TestCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.slow = 10 * time.Second
		h := hubOf(t, s, live.Limits{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := h.Watch(ctx, "cap", report.English); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Watch: %v", err)
		}
		if _, _, err := h.Status(ctx, "cap", report.English); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Status: %v", err)
		}
		time.Sleep(time.Minute)
		if n := s.loads.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
	})
}

func TestManyWatchersRace(t *testing.T) {
	s := newSource()
	h := live.NewHub(live.HubOptions{Load: s.load, Interval: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var last atomic.Int64
	for i := range 500 {
		l := report.English
		if i%3 == 0 {
			l = report.German
		}
		wg.Go(func() {
			w, ok, err := h.Watch(ctx, "cap", l)
			if err != nil || !ok {
				t.Errorf("Watch: %v, %v", ok, err)
				return
			}
			defer w.Close()
			for {
				s, err := w.Next(ctx)
				if err != nil {
					t.Errorf("Next: %v", err)
					return
				}
				if s.Place.Ahead == 1000 {
					last.Add(1)
					return
				}
			}
		})
	}
	for i := range 1001 {
		s.set("cap", i)
		h.Touch("id-cap")
		if i%100 == 0 {
			h.TouchAll()
			if _, _, err := h.Status(ctx, "cap", report.German); err != nil {
				t.Error(err)
			}
		}
	}
	wg.Wait()
	if n := last.Load(); n != 500 {
		t.Errorf("%d of 500 watchers saw the end", n)
	}
	h.Close()
	if n := h.Watchers(); n != 0 {
		t.Errorf("%d watchers left", n)
	}
}
