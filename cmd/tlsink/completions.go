package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/tlsink/tlsink/api"
	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/lease"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/webhook"
)

// completions tells webhooks of tests that are over.
type completions struct {
	service *service
	sender  *webhook.Sender
	over    chan completion
}

// completion is a test that may be over.
type completion struct {
	id    string
	ended bool // it is, as soon as that is recorded
}

// maxCompletions is how many tests may end while the worker is busy.
const maxCompletions = 1000

// openCompletions makes s.completions.
func (s *service) openCompletions(context.Context) error {
	roots, err := s.roots(&s.cfg)
	if err != nil {
		return err
	}
	o := webhook.Options{
		State: values{s.store}, Hosts: s.cfg.API.WebhookHosts, Dial: s.network.dial, Roots: roots, Loopback: s.cfg.DNS.Private, Service: s.cfg.Zone,
		Now: time.Now, Rand: rand.Reader, Logger: s.log.With("part", "webhook"),
		Attempted: func(r webhook.Result, _ time.Duration) { s.recorder.WebhookAttempted(string(r)) },
	}
	if o.Dial == nil {
		o.Dial = strangers(s.mayConnect(s.cfg.Mail.Private), s.cfg.LocalAddress())
	}
	for _, w := range s.cfg.Webhook {
		// It is read anew for each call; what is wrong with it now would be so then.
		if err := w.CheckSecret(); err != nil {
			return err
		}
		o.Targets = append(o.Targets, webhook.Target{URL: w.URL, Secret: w.Secret().Read})
	}
	s.completions = &completions{service: s, over: make(chan completion, maxCompletions)}
	s.completions.sender, err = webhook.New(o)
	return err
}

// add tells that a test may be over, or has just ended. It does not block.
func (c *completions) add(id string, ended bool) {
	if c == nil {
		return // still opening
	}
	select {
	case c.over <- completion{id, ended}:
	default:
	}
}

// run calls webhooks until ctx ends.
func (c *completions) run(ctx context.Context) error {
	c.catchUp(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case t := <-c.over:
			err := c.completed(ctx, t)
			switch {
			case err == nil || ctx.Err() != nil:
			case errors.Is(err, errNotRecorded):
				time.AfterFunc(time.Second, func() { c.add(t.id, t.ended) })
			case errors.Is(err, errUnconfirmed):
				time.AfterFunc(unconfirmedPause, func() { c.add(t.id, t.ended) })
			default:
				c.service.log.Error("webhooks not told of a test", "test", t.id, "err", err)
				time.AfterFunc(time.Minute, func() { c.add(t.id, t.ended) })
			}
		}
	}
}

var (
	// errNotRecorded says that the end of a test is not on disk yet.
	errNotRecorded = errors.New("the end of the test is not recorded yet")
	// errUnconfirmed says that its verdict may still be taken back.
	errUnconfirmed = errors.New("the verdict is not confirmed yet")
)

const (
	// lately is how long ago a test may have ended that a crash kept untold.
	lately           = 10 * time.Minute
	unconfirmedPause = 5 * time.Second
)

// catchUp tells of tests that ended just before a crash, or whose verdict was not
// confirmed yet. What was told stays told once.
func (c *completions) catchUp(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-c.service.check.known: // and so what was confirmed
	}
	now := time.Now()
	list, err := c.service.store.Tests(ctx, history.TestFilter{Since: now.Add(-2 * c.service.cfg.AssessTiming().Close), Limit: maxCompletions})
	if err != nil && ctx.Err() == nil {
		c.service.log.Error("webhooks not told of tests that ended before the start", "err", err)
	}
	for _, r := range list {
		if !r.Open() && (now.Sub(r.Acked) < lately || now.Sub(r.Closed) < lately || !c.service.check.confirms(r)) {
			c.add(r.Test.ID, true)
		}
	}
}

// completed tells of one test, if it is over. To tell again changes nothing.
func (c *completions) completed(ctx context.Context, over completion) error {
	id := over.id
	if !c.sender.Wanted(id) {
		return nil
	}
	if r, err := c.service.store.Test(id); err == nil && !r.Open() && !c.service.check.confirms(r) {
		return errUnconfirmed
	}
	v, err := c.service.assess.View(id)
	switch {
	case errors.Is(err, history.ErrNotFound):
		t, ok := c.service.leases.ByID(id)
		if !ok || t.State != lease.Expired {
			return nil
		}
		return c.sender.Completed(ctx, webhook.Event{
			Test: id, State: string(live.Expired), Started: t.Created, Ended: time.Now(), Link: c.service.cfg.ResultURL(t.Capability),
		})
	case err != nil:
		return fmt.Errorf("test %s: %w", id, err)
	case v.Record.Open() && over.ended:
		return errNotRecorded
	case v.Record.Open():
		return nil
	}
	return c.sender.Completed(ctx, c.event(v))
}

func (c *completions) event(v assess.View) webhook.Event {
	in := c.service.input(v)
	status := live.Of(live.Snapshot{ID: v.Record.Test.ID, Zone: c.service.cfg.Zone, Now: time.Now(), Input: &in}, report.English)
	e := webhook.Event{
		Test: v.Record.Test.ID, State: v.Record.State, Sender: status.Sender, Started: v.Record.Test.Started, Attempts: status.Attempts,
		Ended: v.Record.Acked, Link: c.service.cfg.ResultURL(v.Record.Capability),
	}
	if e.Ended.IsZero() {
		e.Ended = v.Record.Closed
	}
	if w := status.Verdict; w != nil {
		verdict := webhook.Verdict(*w)
		e.Verdict = &verdict
	}
	return e
}

// webhooks is how programs name a URL of their own. Its errors are those of
// package api.
type webhooks struct{ *webhook.Sender }

var _ api.Webhooks = webhooks{}

// Register implements api.Webhooks.
func (w webhooks) Register(ctx context.Context, testID, url string) (string, error) {
	secret, err := w.Sender.Register(ctx, testID, url)
	if errors.Is(err, webhook.ErrBusy) {
		err = errors.Join(api.ErrBusy, err)
	}
	return secret, err
}

// ForgetPerson implements operate.Forgetter.
func (c *completions) ForgetPerson(ctx context.Context, _ string, tests []string) (n int, err error) {
	before := len(c.sender.Deliveries())
	for _, id := range tests {
		err = errors.Join(err, c.sender.Forget(ctx, id))
	}
	return before - len(c.sender.Deliveries()), err
}
