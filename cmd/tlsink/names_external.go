package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/zones/desec"
	"github.com/tlsink/tlsink/zones/external"
	"github.com/tlsink/tlsink/zones/propagation"
	"github.com/tlsink/tlsink/zones/rfc2136"
)

// externalNames is a name server that somebody else runs, and that signs the
// zone. We see none of its queries.
type externalNames struct {
	external.Provider
	service   *service
	confirmed *propagation.Confirmed
	servers   *propagation.Servers
	publisher *external.Publisher
	log       *slog.Logger

	probed atomic.Bool // the provider can do all that the zone needs
	// serving is set once others may rely on the zone: what is published counts
	// only when every name server has it. Before, they may not be known yet.
	serving atomic.Bool

	mu      sync.Mutex
	problem error // why the provider does not have our records
	parent  forParent
	// For how long caches keep TLSA records, and the absence of any; 0: not known.
	positive, negative time.Duration
}

// openExternal refuses a provider that can't hold the zone. One that can't be
// reached now may come back.
func (s *service) openExternal(ctx context.Context) (*externalNames, error) {
	n := &externalNames{service: s, log: s.log.With("part", "dns")}
	var err error
	if n.Provider, err = openProvider(&s.cfg.DNS); err != nil {
		return nil, err
	}
	if n.servers, err = propagation.New(propagation.Options{Zone: s.cfg.Zone, Lookup: propagation.Through(s.network.resolver), Logger: n.log}); err != nil {
		return nil, err
	}
	n.confirmed = propagation.Confirm(n.Provider, n)
	content, err := s.content()
	if err != nil {
		return nil, err
	}
	if n.publisher, err = external.New(external.Options{
		Zone: s.cfg.Zone, Slots: s.cfg.Slots, Provider: n.Provider, Content: content, Servers: n, Logger: n.log,
		Interval: time.Duration(s.cfg.Timing.SelfCheck), OnReport: n.found, OnRound: n.round,
		Rotate: func(ctx context.Context) error { return s.rotator.Rotate(ctx) },
	}); err != nil {
		return nil, err
	}
	if err = n.publisher.Probe(ctx); err != nil {
		if ctx.Err() != nil || !mayPass(err) {
			return nil, fmt.Errorf("dns.provider %q: %w", s.cfg.DNS.Provider, err)
		}
		n.failed(err)
		n.log.Error("DNS provider not reached, going on without: it will be tried again", "err", err)
		return n, nil
	}
	n.probed.Store(true)
	if _, err = n.publisher.Publish(ctx); err != nil {
		n.log.Error("external DNS not published: it will be tried again", "err", err)
	}
	n.round(ctx, err)
	return n, nil
}

// openProvider connects to the provider.
func openProvider(c *config.DNS) (external.Provider, error) {
	ttl := time.Duration(c.TTL)
	if c.Provider == config.ProviderDesec {
		token, err := c.Desec.Token().Read()
		if err != nil {
			return nil, err
		}
		p, err := desec.New(desec.Options{API: c.Desec.API, Token: token, TTL: ttl})
		if err != nil {
			return nil, fmt.Errorf("dns.desec: %w", err)
		}
		return p, nil
	}
	key, err := c.RFC2136.Secret().Read()
	if err != nil {
		return nil, err
	}
	p, err := rfc2136.New(rfc2136.Options{Server: c.RFC2136.Server, KeyName: c.RFC2136.KeyName, Algorithm: c.RFC2136.Algorithm, Secret: key, TTL: ttl})
	if err != nil {
		return nil, fmt.Errorf("dns.rfc2136: %w", err)
	}
	return p, nil
}

// mayPass reports whether a failure says nothing about what the provider can do:
// it, or our clock, may be in order later.
func mayPass(err error) bool {
	if _, network := errors.AsType[net.Error](err); network || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	if e, refused := errors.AsType[*rfc2136.Error](err); refused {
		return e.Rcode == dns.RcodeServerFailure || e.TSIG == dns.RcodeBadTime
	}
	e, refused := errors.AsType[*desec.Error](err)
	return refused && (e.Status >= http.StatusInternalServerError || e.Status == http.StatusTooManyRequests)
}

// round is told how each round of the publisher ended.
func (n *externalNames) round(ctx context.Context, err error) {
	if errors.Is(err, errNoServers) {
		err = nil // the provider has our records
	}
	n.failed(err)
	n.learn(ctx)
	if !n.serving.Load() {
		return
	}
	if err := n.measure(ctx); err != nil {
		n.log.Debug("TTLs of the zone not known", "err", err)
	}
}

func (n *externalNames) failed(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.problem = err
}

// providerProblem says why the provider does not have our records.
func (n *externalNames) providerProblem() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.problem
}

// found is told what somebody else has changed, before it is repaired. Senders may
// have met it since the last round, and caches keep it.
func (n *externalNames) found(r external.Report) {
	what, cached := r.Spoils()
	if what == "" {
		return
	}
	n.mu.Lock()
	absent := n.negative
	n.mu.Unlock()
	if absent == 0 {
		absent = unknownTTL
	}
	until := time.Now().Add(max(cached, absent))
	if len(r.Wrong) > 0 { // it may still be there until the next round says that it is not
		until = until.Add(2 * time.Duration(n.service.cfg.Timing.SelfCheck))
	}
	n.service.check.spoil("at the DNS provider: "+what, r.Since, until)
}

// errNoServers: nobody can ask for the zone yet, so there is nothing to wait for.
var errNoServers = errors.New("the zone is not delegated to its name servers: `tlsink zone` prints the records for the parent zone")

// Wait implements external.Waiter and propagation.Checker.
func (n *externalNames) Wait(ctx context.Context, fqdn string, qtype uint16, want []string) error {
	if !n.serving.Load() {
		return nil
	}
	if _, err := n.servers.Servers(ctx); err != nil {
		return fmt.Errorf("%w: %w", errNoServers, err)
	}
	return n.servers.Wait(ctx, fqdn, qtype, want)
}

// Check implements propagation.Checker.
func (n *externalNames) Check(ctx context.Context, fqdn string, qtype uint16, want []string) error {
	return n.servers.Check(ctx, fqdn, qtype, want)
}

// SetRecords implements libdns.RecordSetter.
func (n *externalNames) SetRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return n.confirmed.SetRecords(ctx, zone, records)
}

// GetRecords implements libdns.RecordGetter.
func (n *externalNames) GetRecords(ctx context.Context, zone string) ([]libdns.Record, error) {
	return n.confirmed.GetRecords(ctx, zone)
}

// publishTLSA implements nameService.
func (n *externalNames) publishTLSA(ctx context.Context) error {
	content, err := n.service.content()
	if err != nil {
		return err
	}
	// For how long what is there now stays in caches: soon it is not served any more.
	if err := n.measure(ctx); err != nil {
		return err
	}
	return n.publisher.Update(ctx, content)
}

// hasTXT implements nameService.
func (n *externalNames) hasTXT(ctx context.Context, fqdn, txt string) error {
	return n.servers.WaitIncluding(ctx, fqdn, dns.TypeTXT, []string{txt})
}

// queries implements nameService.
func (n *externalNames) queries(time.Time) []evidence.Query { return nil }

// run implements nameService.
func (n *externalNames) run(ctx context.Context, _ *listeners) error {
	n.serving.Store(true)
	pause := time.Second
	for !n.probed.Load() {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		err := n.publisher.Probe(ctx)
		n.failed(err)
		switch {
		case err == nil:
			n.probed.Store(true)
			n.log.Info("DNS provider reached")
		case ctx.Err() == nil:
			pause = min(2*pause, time.Duration(n.service.cfg.Timing.SelfCheck)/2)
			n.log.Error("DNS provider not usable", "err", err, "retry_in", pause)
		}
	}
	return n.publisher.Run(ctx)
}
