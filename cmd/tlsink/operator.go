package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/tlsink/tlsink/blocklist"
	"github.com/tlsink/tlsink/doctor"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/mailer"
	"github.com/tlsink/tlsink/operate"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/sink"
	"github.com/tlsink/tlsink/webhook"
)

// The operator's actions, and what is refused on their behalf.

// openBlocks reads the block list, before anybody can connect.
func (s *service) openBlocks(context.Context) (err error) {
	never := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, a := range s.cfg.OwnAddresses() {
		never = append(never, netip.PrefixFrom(a, a.BitLen()))
	}
	s.blocks, err = blocklist.Open(blocklist.Options{State: values{s.store}, Now: time.Now, Rand: rand.Reader, Never: never})
	return err
}

// openOperator comes last: it acts on all other parts.
func (s *service) openOperator(context.Context) (err error) {
	s.operator, err = operate.New(operate.Options{
		Store: s.store, Tests: operatedTests{s}, Blocks: s.blocks, Now: time.Now, Rand: rand.Reader, Logger: s.log.With("part", "operator"),
		Link: s.cfg.ResultURL, Check: s.check.forOperator, Limits: s.reportLimits, Kick: s.mailer.Kick,
		Days: func() int { return s.current.Load().Retention }, Slots: s.leasedSlots, Webhooks: webhookQueue{s.completions.sender},
		Forgetter: map[string]operate.Forgetter{"webhooks": s.completions},
	})
	return err
}

// operatedTests implements operate.Tests.
type operatedTests struct{ s *service }

var _ operate.Tests = operatedTests{}

// View implements operate.Tests.
func (t operatedTests) View(_ context.Context, id string) (history.TestRecord, report.Input, error) {
	v, err := t.s.assess.View(id)
	if err != nil {
		return history.TestRecord{}, report.Input{}, err
	}
	return v.Record, t.s.input(v), nil
}

// Standing implements operate.Tests.
func (t operatedTests) Standing(id string) (policyinfer.Verdict, bool) {
	return t.s.assess.Standing(id)
}

// Delete implements operate.Tests.
func (t operatedTests) Delete(ctx context.Context, id string) (int, error) {
	defer t.s.hub.Void() //nolint:contextcheck // what pages load has a context of its own
	t.s.assess.Drop(id)
	return t.s.store.DeleteTest(ctx, id)
}

// Forget implements operate.Tests.
func (t operatedTests) Forget(ctx context.Context, address string) (int, error) {
	defer t.s.hub.Void() //nolint:contextcheck // what pages load has a context of its own
	return t.s.assess.Forget(ctx, address)
}

// leasedSlots are the slots as operators see them.
func (s *service) leasedSlots() []operate.Slot {
	var out []operate.Slot
	for _, l := range s.leases.Slots() {
		out = append(out, operate.Slot{Slot: l.Slot, State: string(l.State), Since: l.Since, Until: l.Until, Test: l.Test})
	}
	return out
}

// webhookQueue implements operate.Deliveries.
type webhookQueue struct{ *webhook.Sender }

var _ operate.Deliveries = webhookQueue{}

// Retry implements operate.Deliveries.
func (q webhookQueue) Retry(ctx context.Context, id string) error {
	return pending(q.Sender.Retry(ctx, id))
}

// Drop implements operate.Deliveries.
func (q webhookQueue) Drop(ctx context.Context, id string) error {
	return pending(q.Sender.Drop(ctx, id))
}

func pending(err error) error {
	if errors.Is(err, webhook.ErrNotPending) {
		return fmt.Errorf("%w: %w", history.ErrNotFound, err)
	}
	return err
}

// Deliveries implements operate.Deliveries.
func (q webhookQueue) Deliveries() []operate.Delivery {
	var out []operate.Delivery
	for _, d := range q.Sender.Deliveries() {
		state := operate.ReportQueued
		switch {
		case d.Delivered:
			state = operate.ReportSent
		case !d.Ended.IsZero():
			state = operate.ReportGivenUp
		case d.Attempts > 0:
			state = operate.ReportRetried
		}
		out = append(out, operate.Delivery{
			ID: d.ID, Test: d.Test, Host: d.Host, State: state, Created: d.Created, Due: d.Due, Attempts: d.Attempts, LastError: d.LastError,
		})
	}
	return out
}

// forOperator is the last outcome as operators see it.
func (c *selfCheck) forOperator() operate.SelfCheck {
	o := c.current()
	out := operate.SelfCheck{
		At: o.at, Passed: !o.at.IsZero() && !o.failed() && doctor.Healthy(o.results), Results: []operate.CheckResult{},
		Unverifiable: o.fault.Unverifiable, UnverifiableSince: o.fault.UnverifiableSince, Broken: o.fault.Broken, BrokenSince: o.fault.BrokenSince,
	}
	for _, r := range o.results {
		out.Results = append(out.Results, operate.CheckResult{Check: r.Check, Subject: r.Subject, Status: string(r.Status), Seen: r.Seen, Fix: r.Fix, Effect: string(r.Effect)})
	}
	return out
}

// mostLimits bounds how many uses of limits operators see.
const mostLimits = 200

// reportLimits are limits of reports that are used to a half at least.
func (s *service) reportLimits() []operate.Limit {
	what := map[string]string{
		"address": "reports a day to one address", "domain": "reports a day to one domain",
		"network": "reports a day for mail from one network", "total": "reports a day in all",
	}
	out := []operate.Limit{}
	for _, u := range s.mailer.Uses() {
		if len(out) == mostLimits || u.Count*2 < u.Limit && u.What != "total" {
			continue
		}
		out = append(out, operate.Limit{What: what[u.What], Who: u.Who, Count: u.Count, Limit: u.Limit, Until: u.Until})
	}
	return out
}

// blockingDirector refuses the mail of senders that the operator blocked. Clients
// are refused by assess.
type blockingDirector struct {
	observedDirector
	blocks *blocklist.List
}

var (
	_ sink.Director = blockingDirector{}
	_ sink.Prober   = blockingDirector{}
)

// Message implements sink.Director.
func (d blockingDirector) Message(ctx context.Context, snapshot evidence.Connection) sink.Reply {
	if n := len(snapshot.Transactions); n > 0 {
		if _, blocked := d.blocks.BlockedSender(snapshot.Transactions[n-1].MailFrom); blocked {
			return sink.Reply{Code: 550, Enhanced: [3]int{5, 7, 1}, Text: "tlsink: mail of this sender is not tested here"}
		}
	}
	return d.observedDirector.Message(ctx, snapshot)
}

// blockingTransport sends no report to who is blocked.
type blockingTransport struct {
	mailer.Transport
	blocks *blocklist.List
}

// Send implements mailer.Transport.
func (t blockingTransport) Send(ctx context.Context, from, to string, message []byte) mailer.Outcome {
	if _, blocked := t.blocks.BlockedSender(to); blocked {
		return mailer.Outcome{Permanent: true, Detail: "not sent: the operator blocked this address or its domain"}
	}
	return t.Transport.Send(ctx, from, to, message)
}

// blockedClient is the text for a client that is blocked; the reason is the
// operator's own.
func (s *service) blockedClient(a netip.Addr) (why string, blocked bool) {
	_, blocked = s.blocks.Blocked(a)
	return "connections from this network are not accepted", blocked
}
