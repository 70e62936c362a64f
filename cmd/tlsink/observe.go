package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/mailer"
	"github.com/tlsink/tlsink/metrics"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/sink"
)

// What passes between two packages is measured and logged here, so that neither
// needs to know of it.

// observedDirector counts connections and replies.
type observedDirector struct {
	*assess.Assessor
	metrics *metrics.Recorder
	log     *slog.Logger
}

var (
	_ sink.Director = observedDirector{}
	_ sink.Prober   = observedDirector{}
)

// Accepted implements sink.Director.
func (d observedDirector) Accepted(id evidence.ConnID, local, client netip.AddrPort) (sink.Treatment, error) {
	t, err := d.Assessor.Accepted(id, local, client)
	if err != nil {
		return t, err
	}
	d.metrics.ConnectionOpened()
	d.log.Debug("connection accepted", "connection", id, "phase", t.Phase)
	return t, nil
}

// Probe implements sink.Prober.
func (d observedDirector) Probe(id evidence.ConnID, hello string) (sink.Probe, bool) {
	p, ok := d.Assessor.Probe(id, hello)
	if ok {
		d.metrics.ConnectionForgotten()
		d.log.Debug("connection is a probe of our own", "connection", id)
	}
	return p, ok
}

// Message implements sink.Director.
func (d observedDirector) Message(ctx context.Context, snapshot evidence.Connection) sink.Reply {
	began := time.Now()
	reply := d.Assessor.Message(ctx, snapshot)
	d.metrics.Replied(reply.Code, time.Since(began))
	return reply
}

// Closed implements sink.Director.
func (d observedDirector) Closed(final evidence.Connection) {
	d.metrics.ConnectionClosed(string(final.Phase), final.Server)
	d.log.Debug("connection closed", "connection", final.ID, "server", final.Server, "ending", final.Ending, "status", final.Status)
	d.Assessor.Closed(final)
}

// observedStore sees how tests change: all that assess decides passes here on
// its way to the disk.
type observedStore struct {
	*history.Store
	metrics *metrics.Recorder
	log     *slog.Logger

	mu    sync.Mutex
	tests map[string]seenTest // by id: those that are open, and were lately
}

// seenTest is what is remembered of a test. One that has ended stays for a while:
// if the disk fails it may be written again.
type seenTest struct {
	state  string
	opened time.Time
	over   bool
}

const (
	maxSeenTests = 10_000             // then those that are over are forgotten
	openAtMost   = 7 * 24 * time.Hour // whatever is older was deleted
)

var _ assess.Store = (*observedStore)(nil)

func newObservedStore(s *history.Store, m *metrics.Recorder, log *slog.Logger) *observedStore {
	return &observedStore{Store: s, metrics: m, log: log, tests: make(map[string]seenTest)}
}

// Tests implements assess.Store. What is open at the start is not opened now.
func (s *observedStore) Tests(ctx context.Context, f history.TestFilter) ([]history.TestRecord, error) {
	list, err := s.Store.Tests(ctx, f)
	if f.Running {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, r := range list {
			if _, known := s.tests[r.Test.ID]; !known && r.Open() {
				s.tests[r.Test.ID] = seenTest{state: r.State, opened: r.Opened}
			}
		}
	}
	return list, err
}

// Begin implements assess.Store.
func (s *observedStore) Begin(ctx context.Context, b history.Batch) (func(context.Context) error, error) {
	s.observe(b)
	began := time.Now()
	wait, err := s.Store.Begin(ctx, b)
	if err != nil {
		s.metrics.Written(time.Since(began), err)
		return wait, err
	}
	return func(ctx context.Context) error {
		err := wait(ctx)
		s.metrics.Written(time.Since(began), err)
		return err
	}, nil
}

// Submit implements assess.Store.
func (s *observedStore) Submit(b history.Batch) {
	s.observe(b)
	s.Store.Submit(b)
}

// DeletePerson implements assess.Store. What is deleted while it is open is not
// ended.
func (s *observedStore) DeletePerson(ctx context.Context, addr string) (int, error) {
	n, err := s.Store.DeletePerson(ctx, addr)
	s.mu.Lock()
	for id := range s.tests {
		if _, err := s.Test(id); errors.Is(err, history.ErrNotFound) {
			delete(s.tests, id)
		}
	}
	s.mu.Unlock()
	return n, err
}

// observe notes what a batch changes. A write that fails is made again, with the
// same change: it is noted once.
func (s *observedStore) observe(b history.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range b.Tests {
		was, known := s.tests[r.Test.ID]
		if !known {
			s.metrics.TestOpened()
			if len(s.tests) >= maxSeenTests {
				maps.DeleteFunc(s.tests, func(_ string, t seenTest) bool { return t.over || time.Since(t.opened) > openAtMost })
			}
		}
		if !was.over {
			s.changed(r, was.state)
		}
		s.tests[r.Test.ID] = seenTest{state: r.State, opened: r.Opened, over: was.over || !r.Open()}
	}
	for _, a := range b.Attach {
		s.log.Debug("connection belongs to a test", "test", a.Test, "connection", a.Connection, "by", a.Attribution)
	}
}

// oldest is when the oldest test without a verdict was opened; zero without one.
func (s *observedStore) oldest() (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, t := range s.tests {
		if t.state != history.StateRunning || !at.IsZero() && !t.opened.Before(at) {
			continue
		}
		if _, err := s.Test(id); errors.Is(err, history.ErrNotFound) {
			continue // an operator deleted it, or it waits for the disk
		}
		at = t.opened
	}
	return at
}

// changed notes a change of the state of a test.
func (s *observedStore) changed(r history.TestRecord, was string) {
	if was == r.State {
		return
	}
	if (was == "" || was == history.StateRunning) && !r.Concluded.IsZero() {
		s.metrics.TestConcluded(verdictOf(r))
	}
	if !r.Open() {
		s.metrics.TestEnded(r.State)
	}
}

func verdictOf(r history.TestRecord) metrics.Verdict {
	var v policyinfer.Verdict
	if json.Unmarshal(r.Verdict, &v) != nil {
		v.Policy = policyinfer.Undetermined
	}
	out := metrics.Verdict{Policy: string(v.Policy), Conclusive: v.Conclusive, Took: max(0, r.Concluded.Sub(r.Opened)), Attempts: v.Attempts, Downgrade: -1}
	if !r.Secured.IsZero() {
		out.Downgrade = max(0, r.Secured.Sub(r.Opened))
	}
	return out
}

// served counts an answer of package web. Streams end when their page is closed.
func (s *service) served(route, method string, status int, took time.Duration) {
	s.recorder.Requested(route, method, status, took, strings.HasSuffix(route, "/events"))
}

// observedTransport counts attempts to deliver reports.
type observedTransport struct {
	mailer.Transport
	metrics *metrics.Recorder
}

// observedTransport is s.transport, counted, and not for those who are blocked.
func (s *service) observedTransport(cfg *config.Config) (mailer.Transport, error) {
	t, err := s.transport(cfg)
	if err != nil {
		return nil, err
	}
	return observedTransport{blockingTransport{t, s.blocks}, s.recorder}, nil
}

// Send implements mailer.Transport.
func (t observedTransport) Send(ctx context.Context, from, to string, message []byte) mailer.Outcome {
	began := time.Now()
	o := t.Transport.Send(ctx, from, to, message)
	result := "temporary"
	switch {
	case o.Delivered:
		result = "delivered"
	case o.Permanent:
		result = "permanent"
	}
	t.metrics.ReportAttempted(result, time.Since(began))
	return o
}
