package main

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
)

// heldProber is at a server that does not answer, until hold is closed.
type heldProber struct{ began, hold chan struct{} }

func (p *heldProber) Probe(ctx context.Context, _ netip.AddrPort, _ string, _ []string, _ string) probe.Result {
	select {
	case p.began <- struct{}{}:
	default:
	}
	select {
	case <-ctx.Done():
	case <-p.hold:
	}
	return probe.Result{Reached: check.Skip("connection timed out")}
}

func (p *heldProber) Certificate(ctx context.Context, a netip.AddrPort, host string, names []string) probe.Result {
	return p.Probe(ctx, a, host, names, "")
}

// hold has the analyses of the running service take until they are released.
func (w *world) hold() *heldProber {
	w.t.Helper()
	p := &heldProber{make(chan struct{}, 1), make(chan struct{})}
	s := w.service()
	a, err := inbound.New(inbound.Options{
		Resolver: s.network.resolver, Prober: p, Dial: s.network.dial, HELO: worldZone, Timeout: analysisTime, ServerTimeout: analysisTime,
		Allowed: func(netip.Addr) bool { return true },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	s.analyst.analyzer = a // nothing has been sent yet
	return p
}

// A restart in the middle of an analysis is quick, and the next service makes
// it again.
func TestRestartDuringAnalysis(t *testing.T) {
	hours(t, func(w *world) {
		s := newMTA(w, policyNamed("dane"), 10*time.Minute, 1, clientIP(1))
		p := w.hold()
		s.deliver(w.t.Context(), s.write("user", toET, toUT), nil)
		s.wait()
		<-p.began
		before := time.Now()
		w.halt()
		if took := time.Since(before); took > time.Minute {
			t.Errorf("the service took %s to end", took)
		}
		w.start()
		time.Sleep(time.Hour)
		if _, err := w.service().store.Analysis(w.only(s.address("user")).rec.Test.ID); err != nil {
			t.Error(err)
		}
		if text := reportText(t, w.mailbox.reports(s.address("user"))); !strings.Contains(text, "The receiving servers") {
			t.Errorf("the report has no analysis:\n%s", text)
		}
	})
}

// A person who is forgotten in the middle of an analysis stays forgotten.
func TestForgottenDuringAnalysis(t *testing.T) {
	hours(t, func(w *world) {
		s := newMTA(w, policyNamed("dane"), 4*time.Minute, 1, clientIP(1))
		p := w.hold()
		s.deliver(w.t.Context(), s.write("user", toET, toUT), nil)
		s.wait()
		<-p.began
		id := w.only(s.address("user")).rec.Test.ID
		if _, err := w.service().assess.Forget(w.t.Context(), s.address("user")); err != nil {
			t.Fatal(err)
		}
		close(p.hold)
		time.Sleep(time.Hour)
		if _, err := w.service().store.Analysis(id); !errors.Is(err, history.ErrNotFound) {
			t.Errorf("analysis: %v", err)
		}
		if mails := w.mailbox.reports(s.address("user")); len(mails) != 0 {
			t.Errorf("%d reports", len(mails))
		}
	})
}

// A server that never answers keeps a report for ten minutes at most, and the
// result page gets what was found in the end.
func TestEndlessAnalysis(t *testing.T) {
	hours(t, func(w *world) {
		s := newMTA(w, policyNamed("dane"), 10*time.Minute, 1, clientIP(1))
		w.hold()
		s.deliver(w.t.Context(), s.write("user", toET, toUT), nil)
		s.wait()
		time.Sleep(2 * analysisPatience)
		text := reportText(t, w.mailbox.reports(s.address("user")))
		if !strings.Contains(text, "could not be tested (grey)") && !strings.Contains(text, "still being looked at") {
			t.Errorf("the report does not say that nothing could be tested:\n%s", text)
		}
		if _, err := w.service().store.Analysis(w.only(s.address("user")).rec.Test.ID); err != nil {
			t.Error(err)
		}
	})
}
