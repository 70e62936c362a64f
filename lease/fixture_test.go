package lease_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/lease"
)

const zone = "sink.example"

// memory is a store that can fail.
type memory struct {
	mu    sync.Mutex
	value []byte
	fail  bool
	saves int
}

func (m *memory) Load(string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.value, nil
}

func (m *memory) Save(_ context.Context, _ string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail {
		return errors.New("disk full")
	}
	m.value = append([]byte(nil), value...)
	m.saves++
	return nil
}

func (m *memory) setFail(fail bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = fail
}

// tests are those that exist.
type tests struct {
	mu   sync.Mutex
	over map[string]bool
}

func (x *tests) set(id string, over bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over == nil {
		x.over = make(map[string]bool)
	}
	x.over[id] = over
}

func (x *tests) find(id string) (exists, over bool, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	over, exists = x.over[id]
	return exists, over, nil
}

type randReader struct{ rng *rand.Rand }

func (r randReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.rng.Uint32())
	}
	return len(p), nil
}

// world is a Manager in a synctest bubble.
type world struct {
	*lease.Manager
	t       *testing.T
	o       lease.Options
	store   *memory
	changed chan string
	cancel  context.CancelFunc
	done    chan struct{}
}

func newOptions(store lease.Store) lease.Options {
	return lease.Options{
		Zone: zone, Slots: 3, Store: store, Now: time.Now, Rand: randReader{rand.New(rand.NewPCG(1, 2))}, Logger: slog.New(slog.DiscardHandler),
	}
}

func newWorld(t *testing.T, change ...func(*lease.Options)) *world {
	t.Helper()
	w := &world{t: t, store: &memory{}, changed: make(chan string, 100_000)}
	w.o = newOptions(w.store)
	w.o.Changed = func(id string) { w.changed <- id }
	for _, f := range change {
		f(&w.o)
	}
	w.start()
	return w
}

func (w *world) start() {
	w.t.Helper()
	m, err := lease.New(w.t.Context(), w.o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.Manager, w.cancel, w.done = m, cancel, make(chan struct{})
	done := w.done
	go func() {
		defer close(done)
		if err := m.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
}

func (w *world) stop() {
	w.cancel()
	<-w.done
}

func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// crash restarts with what the store has at this moment.
func (w *world) crash() {
	w.t.Helper()
	w.store.mu.Lock()
	value := w.store.value
	w.store.mu.Unlock()
	w.stop()
	w.store.mu.Lock()
	w.store.value = value
	w.store.mu.Unlock()
	w.start()
}

// wait lets time pass, and everything that is due happen.
func (w *world) wait(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

// client returns an address of a network.
func client(network int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18, byte(network), 1})
}

func (w *world) begin(network int) lease.Ticket {
	w.t.Helper()
	t, err := w.Start(w.t.Context(), client(network), "en")
	if err != nil {
		w.t.Fatal(err)
	}
	return t
}

// state returns the state of a lease, or "forgotten".
func (w *world) state(t lease.Ticket) lease.State {
	got, ok := w.Ticket(t.Capability)
	if !ok {
		return "forgotten"
	}
	return got.State
}

func (w *world) want(t lease.Ticket, state lease.State) {
	w.t.Helper()
	if got := w.state(t); got != state {
		w.t.Errorf("lease %s is %s, want %s", t.ID, got, state)
	}
}
