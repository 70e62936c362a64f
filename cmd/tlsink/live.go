package main

import (
	"context"
	"errors"
	"time"

	"github.com/tlsink/tlsink/api"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/lease"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/web"
)

// openLive makes the hub that pages and programs follow tests through.
func (s *service) openLive() {
	s.hub = live.NewHub(live.HubOptions{Load: s.snapshot, Now: time.Now, Logger: s.log.With("part", "live")})
}

// snapshot gathers what a test looks like at the moment: its lease, its
// evidence, and what its sender meets next.
func (s *service) snapshot(_ context.Context, capability string) (live.Snapshot, bool, error) {
	out := live.Snapshot{Zone: s.cfg.Zone, Now: time.Now(), Slow: s.check.slow()}
	slot := 0
	ticket, booked := s.leases.Ticket(capability)
	if booked {
		out.ID, slot = ticket.ID, ticket.Slot
		out.Booking = bookingOf(ticket)
	}
	v, ok, err := s.assess.ByCapability(capability)
	if err != nil || gone(ticket, booked, ok) {
		return live.Snapshot{}, false, err
	}
	if ok {
		in := s.input(v)
		out.ID, out.Input, slot = v.Record.Test.ID, &in, v.Record.Test.Slot
		out.Unconfirmed = !s.check.confirms(v.Record)
		if phase, ends, ok := s.assess.Treatment(out.ID); ok {
			out.Phase, out.PhaseEnds = phase, ends
		}
	}
	out.Order = order(s.rotator.Current(slot))
	if at, ok := s.rotator.NextTurn(slot); ok {
		out.NextTurn = at
	}
	return out, true, nil
}

// confirms reports whether the verdict of a test is final: a check that began
// after it passed, as its report waits for, so that it is not taken back any
// more. If not, it asks for one. What is wrong now does not matter to a verdict
// that was confirmed before.
func (c *selfCheck) confirms(r history.TestRecord) bool {
	if r.Concluded.IsZero() {
		return true // there is none
	}
	c.mu.Lock()
	good, fault := c.good, c.last.fault
	c.mu.Unlock()
	good.forget(time.Now().Round(0))
	unprotected := withoutProtection(r)
	if !good.Faces.Before(r.Concluded) && (!unprotected || !good.Verifiable.Before(r.Concluded) || fault.Unverifiable != "") {
		return true
	}
	c.speaksFor(r.Concluded, unprotected)
	return false
}

// gone reports whether there is nothing to show: neither a test nor a lease that
// one may come of. The lease of a test that was deleted lives on for a while, so
// that mails to it are accepted, but begins no other one.
func gone(t lease.Ticket, booked, found bool) bool {
	return !found && (!booked || t.State == lease.Ended)
}

// bookingOf says the state of a lease in the words of package live. A lease
// whose first mail is just being stored still waits.
func bookingOf(t lease.Ticket) *live.Booking {
	b := &live.Booking{
		State: live.Waiting, Slot: t.Slot, Token: t.Token, Created: t.Created, Expires: t.Expires,
		Ahead: max(0, t.Position-1), Free: t.Free, Language: report.Language(t.Language),
	}
	switch t.State {
	case lease.Queued:
		b.State = live.Queued
	case lease.Expired:
		b.State = live.Expired
	}
	return b
}

// followed is the hub as the pages know it.
type followed struct{ *live.Hub }

var _ web.Live = followed{}

// Watch implements web.Live.
func (f followed) Watch(ctx context.Context, capability string, l report.Language) (web.Watcher, bool, error) {
	w, ok, err := f.Hub.Watch(ctx, capability, l)
	if !ok || err != nil {
		return nil, false, err
	}
	return w, true, nil
}

// polled is the hub as the API knows it.
type polled struct{ *live.Hub }

var _ api.Live = polled{}

// Watch implements api.Live.
func (p polled) Watch(ctx context.Context, capability string, l report.Language) (api.Watcher, bool, error) {
	w, ok, err := p.Hub.Watch(ctx, capability, l)
	if errors.Is(err, live.ErrBusy) {
		err = errors.Join(api.ErrBusy, err)
	}
	if !ok || err != nil {
		return nil, false, err
	}
	return w, true, nil
}

// slow says which fault of ours holds verdicts back, in English; empty if none.
func (c *selfCheck) slow() string {
	f := c.current().fault
	if f.Broken != "" {
		return f.Broken
	}
	return f.Unverifiable
}
