package main

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"time"

	"github.com/tlsink/tlsink/api"
	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/lease"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/web"
)

// openLeases makes the slots that tests started on the web get.
func (s *service) openLeases(ctx context.Context) (err error) {
	t := s.cfg.Timing
	s.leases, err = lease.New(ctx, lease.Options{
		Zone: s.cfg.Zone, Slots: s.cfg.Slots, Store: values{s.store}, Test: s.testOfLease,
		Changed: s.leaseChanged, Waited: s.recorder.LeaseWaited,
		Wait: time.Duration(t.Lease), Quarantine: time.Duration(t.Quarantine), Absent: min(2*time.Minute, time.Duration(t.Lease)),
		Limits: lease.Limits{Queue: s.cfg.Web.LeaseQueue, PerNetwork: s.cfg.Web.LeasesPerNetwork},
		Now:    time.Now, Rand: rand.Reader, Logger: s.log.With("part", "lease"),
	})
	return err
}

// testOfLease tells what became of a test, should a crash have lost that. One that
// the disk does not take is in memory alone.
func (s *service) testOfLease(id string) (exists, over bool, err error) {
	r, err := s.store.Test(id)
	if errors.Is(err, history.ErrNotFound) && s.assess != nil {
		var v assess.View
		v, err = s.assess.View(id)
		r = v.Record
	}
	if errors.Is(err, history.ErrNotFound) {
		return false, false, nil
	}
	return err == nil, !r.Open(), err
}

// leaseChanged has pages look at a lease again. It must not block.
func (s *service) leaseChanged(id string) {
	s.hub.Touch(id)
	s.completions.add(id, false)
}

// keepAsked keeps the slots of senders that ask for our names but hand nothing
// over yet: one that requires TLS leaves before MAIL while STARTTLS is withheld,
// and its next attempt may be half an hour away.
func (s *service) keepAsked() {
	waiting := make(map[int]time.Time)
	for _, slot := range s.leases.Slots() {
		if slot.State == lease.Waiting {
			waiting[slot.Slot] = slot.Since
		}
	}
	if len(waiting) == 0 {
		return
	}
	for _, q := range s.queries(time.Now().Add(-time.Minute)) {
		if target, ok := scenario.Find(s.cfg.Zone, q.Name); ok && q.Type == "MX" && q.Time.After(waiting[target.Slot]) {
			s.leases.Asked(target.Slot)
		}
	}
}

// testEnded frees the slot of a test. It must not block.
func (s *service) testEnded(id string) {
	s.leases.Ended(id)
	s.completions.add(id, true)
}

// starts is how people get a slot. Its errors are those of package web.
type starts struct{ m *lease.Manager }

var _ web.Leases = starts{}

// Start implements web.Leases.
func (s starts) Start(ctx context.Context, client netip.Addr, language string) (string, error) {
	t, err := s.m.Start(ctx, client, language)
	switch {
	case errors.Is(err, lease.ErrBusy):
		err = errors.Join(web.ErrBusy, err)
	case errors.Is(err, lease.ErrTooMany):
		err = errors.Join(web.ErrTooMany, err)
	}
	return t.Capability, err
}

// Cancel implements web.Leases.
func (s starts) Cancel(ctx context.Context, capability string) error {
	err := s.m.Cancel(ctx, capability)
	if errors.Is(err, lease.ErrUnknown) || errors.Is(err, lease.ErrBegun) {
		err = errors.Join(web.ErrNothing, err)
	}
	return err
}

// programs is how programs get a slot. Its errors are those of package api.
type programs struct{ m *lease.Manager }

var _ api.Leases = programs{}

// Start implements api.Leases.
func (p programs) Start(ctx context.Context, client netip.Addr, language string) (string, error) {
	t, err := p.m.Start(ctx, client, language)
	switch {
	case errors.Is(err, lease.ErrBusy):
		err = errors.Join(api.ErrBusy, err)
	case errors.Is(err, lease.ErrTooMany):
		err = errors.Join(api.ErrTooMany, err)
	}
	return t.Capability, err
}

// Cancel implements api.Leases.
func (p programs) Cancel(ctx context.Context, capability string) error {
	err := p.m.Cancel(ctx, capability)
	if errors.Is(err, lease.ErrBegun) {
		err = errors.Join(api.ErrStarted, err)
	}
	return err
}
