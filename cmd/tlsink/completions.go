package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
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
	more    chan struct{} // there is something in over

	mu   sync.Mutex
	over map[string]bool // ids of tests that may be over; true: they are, as soon as that is recorded
}

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
	s.completions = &completions{service: s, more: make(chan struct{}, 1), over: make(map[string]bool)}
	s.completions.sender, err = webhook.New(o)
	return err
}

// add tells that a test may be over, or has just ended. It does not block, since
// callers hold locks, and forgets nothing.
func (c *completions) add(id string, ended bool) {
	if c == nil {
		return // still opening
	}
	c.mu.Lock()
	c.over[id] = c.over[id] || ended
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
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
		case <-c.more:
		}
		c.mu.Lock()
		over := c.over
		c.over = make(map[string]bool)
		c.mu.Unlock()
		for id, ended := range over {
			c.tell(ctx, id, ended)
		}
	}
}

// tell tells of one test if it is over; if that fails, it tries again later.
func (c *completions) tell(ctx context.Context, id string, ended bool) {
	err := c.completed(ctx, id, ended)
	if err == nil || ctx.Err() != nil {
		return // the next start catches up
	}
	pause := time.Minute
	switch {
	case errors.Is(err, errNotRecorded):
		pause = time.Second
	case errors.Is(err, errUnconfirmed):
		pause = unconfirmedPause
	default:
		c.service.log.Error("webhooks not told of a test", "test", id, "err", err)
	}
	time.AfterFunc(pause, func() { c.add(id, ended) })
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
	mostCaughtUp     = 1000 // tests that are looked at
	unconfirmedPause = 5 * time.Second
)

// catchUp tells of tests that ended or expired just before a stop, or meanwhile,
// or whose verdict was not confirmed yet. What was told stays told once.
func (c *completions) catchUp(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-c.service.check.known: // and so what was confirmed
	}
	for _, id := range c.sender.Registered() {
		c.add(id, false)
	}
	now := time.Now()
	list, err := c.service.store.Tests(ctx, history.TestFilter{Since: now.Add(-2 * c.service.cfg.AssessTiming().Close), Limit: mostCaughtUp})
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
func (c *completions) completed(ctx context.Context, id string, ended bool) error {
	if !c.sender.Wanted(id) {
		return nil
	}
	if r, err := c.service.store.Test(id); err == nil && !r.Open() && !c.service.check.confirms(r) {
		return errUnconfirmed
	}
	v, err := c.service.assess.View(id)
	switch {
	case errors.Is(err, history.ErrNotFound):
		return c.expired(ctx, id)
	case err != nil:
		return fmt.Errorf("test %s: %w", id, err)
	case v.Record.Open() && ended:
		return errNotRecorded
	case v.Record.Open():
		return nil
	}
	return c.sender.Completed(ctx, c.event(v))
}

// expired tells of a lease that no test came of, once none can: a mail that is on
// its way keeps it waiting, so an end that was told stays true. A lease that is
// not known any more has expired, and its slot was free again, while nobody could
// be told.
func (c *completions) expired(ctx context.Context, id string) error {
	e := webhook.Event{Test: id, State: string(live.Expired), Ended: time.Now()}
	if t, ok := c.service.leases.ByID(id); ok {
		if t.State != lease.Expired {
			return nil
		}
		e.Started, e.Link = t.Created, c.service.cfg.ResultURL(t.Capability)
	}
	return c.sender.Completed(ctx, e)
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
