package certs_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/scenario"
)

const (
	ttl      = 60 * time.Second
	refresh  = 90 * time.Second // of the secondary
	rollWait = ttl + refresh + 5*time.Second
)

// matching are the identities with TLSA records that match, by host.
func matching() map[string]scenario.Certificate {
	return map[string]scenario.Certificate{
		"mx04.et.sink.example": {Owner: scenario.OwnerMX04, Kind: scenario.SelfSigned},
		"mx06.et.sink.example": {Owner: scenario.OwnerMX06, Kind: scenario.CA},
		"mx.sink.example":      {Owner: scenario.OwnerService, Kind: scenario.CA},
	}
}

// view is an RRset and when a server gave it away last.
type view struct {
	records []certs.TLSA
	last    time.Time
}

// internet has a primary that serves what is published, a secondary that lags
// behind, and clients that every second look at every key that is presented,
// with every RRset that a cache can still hold.
type internet struct {
	mu        sync.Mutex
	store     *certs.Store // nil while the service is down
	primary   map[string][]certs.TLSA
	secondary map[string][]certs.TLSA
	refreshed time.Time
	cached    map[string][]view
	failed    error
	external  bool // the primary goes on without the service, and learns nothing at its start
	looks     int

	// publish stands between the store and the primary; nil: publish it.
	publish func() (done bool, err error)
}

// Publish is Options.Publish.
func (w *internet) Publish(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.store == nil {
		return errors.New("no service")
	}
	done, err := true, error(nil)
	if w.publish != nil {
		done, err = w.publish()
	}
	if done {
		w.primary = w.store.TLSA()
	}
	return err
}

// serve takes up a store, as the service does when it starts.
func (w *internet) serve(s *certs.Store) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.store = s; s != nil && !w.external {
		w.primary = s.TLSA()
	}
}

// watch polls until ctx ends.
func (w *internet) watch(ctx context.Context) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
			w.look()
		}
	}
}

func (w *internet) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.secondary == nil || now.Sub(w.refreshed) >= refresh && (w.store != nil || w.external) {
		w.secondary, w.refreshed = w.primary, now
	}
	if w.cached == nil {
		w.cached = make(map[string][]view)
	}
	for host, id := range matching() {
		if w.store != nil || w.external {
			w.see(host, w.primary[host], now)
		}
		w.see(host, w.secondary[host], now)
		if w.store == nil {
			continue
		}
		w.looks++
		presented, err := w.store.Certificates(id)
		if err != nil {
			w.fail(fmt.Errorf("%s: %w", host, err))
		}
		for _, v := range w.cached[host] {
			for _, c := range presented {
				if !matches(v.records, c.Leaf) {
					w.fail(fmt.Errorf("%s, %s: a key is presented that is not in the %d records of a cache", now.Format(time.TimeOnly), host, len(v.records)))
				}
			}
		}
	}
}

// see puts an RRset into caches, and drops what none can have any more.
func (w *internet) see(host string, records []certs.TLSA, now time.Time) {
	var kept []view
	found := false
	for _, v := range w.cached[host] {
		if same(v.records, records) {
			v.last, found = now, true
		}
		if now.Sub(v.last) < ttl {
			kept = append(kept, v)
		}
	}
	if !found {
		kept = append(kept, view{records, now})
	}
	w.cached[host] = kept
}

func (w *internet) fail(err error) {
	if w.failed == nil {
		w.failed = err
	}
}

func (w *internet) result() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.looks, w.failed
}

func same(a, b []certs.TLSA) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if string(a[i].Data) != string(b[i].Data) {
			return false
		}
	}
	return true
}

// newInternet starts polling.
func newInternet(t *testing.T) *internet {
	t.Helper()
	w := &internet{}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go w.watch(ctx)
	return w
}

// must fails the test if a client ever failed.
func (w *internet) must(t *testing.T) {
	t.Helper()
	if looks, err := w.result(); err != nil || looks == 0 {
		t.Fatalf("after %d looks: %v", looks, err)
	}
}

// rolling are options of a store whose keys can roll.
func (w *internet) rolling(ca certs.Issuer) certs.Options {
	o := options(ca)
	o.Publish, o.RollWait = w.Publish, rollWait
	return o
}

func idle(s *certs.Store) bool {
	for _, k := range s.Status() {
		if k.Roll != certs.NoRoll {
			return false
		}
	}
	return true
}

// untilIdle waits until no key rolls.
func untilIdle(t *testing.T, s *certs.Store) {
	t.Helper()
	for range 10_000 {
		if idle(s) {
			return
		}
		after(time.Second)
	}
	t.Fatalf("still rolling: %+v", s.Status())
}

func keyIDs(s *certs.Store) map[string]string {
	out := make(map[string]string)
	for _, k := range s.Status() {
		out[k.Host+" "+string(k.Certificate.Kind)+" "+string(k.Algorithm)] = k.KeyID
	}
	return out
}
