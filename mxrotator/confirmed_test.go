package mxrotator_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"

	"github.com/tlsink/tlsink/mxrotator"
	"github.com/tlsink/tlsink/zones/propagation"
)

// secondaries serve what the provider has, each after its own delay, or never.
type secondaries struct {
	*provider
	mu     sync.Mutex
	delays []time.Duration
	serves [][]libdns.Record
}

func (s *secondaries) become(delays ...time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delays = delays
	s.serves = append(s.serves, make([][]libdns.Record, len(delays)-len(s.serves))...)
}

const never = time.Duration(-1)

func (s *secondaries) SetRecords(ctx context.Context, z string, recs []libdns.Record) ([]libdns.Record, error) {
	out, err := s.provider.SetRecords(ctx, z, recs)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, d := range s.delays {
		if err == nil && d != never {
			time.AfterFunc(d, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.serves[i] = recs
			})
		}
	}
	return out, err
}

// Check is propagation.Servers on them.
func (s *secondaries) Check(_ context.Context, fqdn string, _ uint16, want []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, recs := range s.serves {
		var have []string
		for _, rec := range recs {
			if rr := rec.RR(); rr.Name+"."+zone+"." == fqdn {
				have = append(have, rr.Data)
			}
		}
		slices.Sort(have)
		if !slices.Equal(have, want) {
			return fmt.Errorf("name server %d serves %q", i, have)
		}
	}
	return nil
}

// Wait asks again and again.
func (s *secondaries) Wait(ctx context.Context, fqdn string, qtype uint16, want []string) error {
	for {
		err := s.Check(ctx, fqdn, qtype, want)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// An order counts from the moment on when every name server serves it. From the
// change on until then nobody knows which one a sender sees.
func TestOrderIsKnownOnceAllNameServersServeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &secondaries{provider: &provider{}}
		s.become(0, 0)
		b := newBench(t, s.provider, func(o *mxrotator.Options) { o.Provider = propagation.Confirm(s, s) })
		b.run(t)
		pass(200 * time.Second)
		s.become(0, 12*time.Second) // slow at the turn of 300 s
		pass(102 * time.Second)
		if b.Current(0) != nil || b.known() {
			t.Errorf("while the name servers do not serve the same, %v is claimed to be known", b.Current(0))
		}
		pass(98 * time.Second)
		s.become(0, never) // does not follow at the turn of 612 s
		pass(250 * time.Second)
		if b.Current(0) != nil {
			t.Errorf("one name server has the old order, but %v is claimed to be known", b.Current(0))
		}
		s.become(0, 0)
		pass(300 * time.Second)

		var known []bool
		for i, st := range b.states {
			known = append(known, st.Known)
			if st.Known && !maps.Equal(b.orders[i], s.orderAt(t)) && i == len(b.states)-1 {
				t.Errorf("order %v, served %v", b.orders[i], s.orderAt(t))
			}
		}
		if d := cmp.Diff([]bool{true, false, true, false, true}, known); d != "" {
			t.Errorf("states %v (-want +got):\n%s", b.states, d)
		}
		var at []float64
		for _, s := range times(b.states)[:4] {
			at = append(at, math.Round(s))
		}
		if d := cmp.Diff([]float64{0, 300, 312, 612}, at); d != "" {
			t.Errorf("times of states (-want +got):\n%s", d)
		}
	})
}

// orderAt returns the order of slot 0 that all name servers serve.
func (s *secondaries) orderAt(t *testing.T) map[string]int {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]int)
	for _, rec := range s.serves[0] {
		if mx := rec.(libdns.MX); mx.Name == "et" {
			out[mx.Target[:4]] = int(mx.Preference)
		}
	}
	return out
}
