package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/inbound"
	networks "github.com/tlsink/tlsink/inbound/network"
	"github.com/tlsink/tlsink/mailer"
	"github.com/tlsink/tlsink/rating"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/scenario"
)

// Limits of the analysis of senders' domains.
const (
	analysisTime     = 5 * time.Minute  // of one
	analysisPatience = 10 * time.Minute // that a report waits for it
	analysisRetry    = time.Minute      // after one that could not be stored
	analysesAtOnce   = 4
	analysesOfClient = 2 // at once: nobody's slow servers keep the domains of others waiting
)

// analyst analyses the domains of senders as receivers. What it has to do stands
// in the queue of reports: only a domain that was proven to be the sender's is
// ever looked at, so that nobody can have us knock at the doors of others.
type analyst struct {
	service  *service
	analyzer *inbound.Analyzer
	wake     chan struct{}
	analysed func(id string) // called when one has ended: a report may be due

	mu   sync.Mutex
	busy map[string]string // client by test
}

func (s *service) openAnalyst(context.Context) error {
	c := s.cfg.Inbound
	if !c.Enabled {
		return nil
	}
	roots, err := s.roots(&s.cfg)
	if err != nil {
		return err
	}
	if !config.HasRoots(roots) {
		s.log.Warn("domains of senders are not looked at: this host has no root certificates, so every certificate would seem bad; install them (Debian: ca-certificates), or set certificates.roots", "part", "inbound")
		return nil
	}
	o := inbound.Options{
		Resolver: s.network.resolver, Roots: roots, Dial: s.network.dial, HELO: scenario.ServiceHost(s.cfg.Zone), Now: time.Now, Timeout: analysisTime,
		Allowed: s.mayConnect(c.Private),
		Logger:  s.log.With("part", "inbound"),
	}
	if c.ValidatingResolver != "" {
		if o.Resolver, err = dnssec.NewTrusting(dnssec.TrustingOptions{Servers: []string{c.ValidatingResolver}}); err != nil {
			return fmt.Errorf("inbound.validating_resolver: %w", err)
		}
	}
	if s.network.dial != nil { // servers in this process need no politeness
		o.Pause = -1
	}
	if o.Network, err = config.OpenNetworks(c.Networks); err != nil {
		return fmt.Errorf("inbound.networks: %w", err)
	}
	if z := c.NetworkZones; len(z) == 3 {
		if o.Network, err = networks.NewDNS(networks.DNSOptions{Resolver: dnssec.Lookups{Resolver: s.network.resolver}, Origin4: z[0], Origin6: z[1], Names: z[2]}); err != nil {
			return fmt.Errorf("inbound.network_zones: %w", err)
		}
	}
	a := &analyst{service: s, wake: make(chan struct{}, 1), busy: make(map[string]string), analysed: func(id string) { //nolint:contextcheck // what pages load has a context of its own
		s.mailer.Kick()
		s.hub.Touch(id)
	}}
	if a.analyzer, err = inbound.New(o); err != nil {
		return err
	}
	s.analyst = a
	return nil
}

// mayConnect says which addresses we connect to that strangers chose.
func (s *service) mayConnect(private bool) func(netip.Addr) bool {
	if private || s.network.dial != nil {
		return func(netip.Addr) bool { return true }
	}
	own := s.cfg.OwnAddresses()
	return func(a netip.Addr) bool { return inbound.Public(a) && !slices.Contains(own, a) }
}

// kick has the queue looked at. It does not block.
func (a *analyst) kick() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run analyses for what is in the queue, until ctx ends.
func (a *analyst) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(analysesAtOnce)
	for a.kick(); ; {
		select {
		case <-ctx.Done():
			return g.Wait()
		case <-a.wake:
		}
		queue, err := a.waiting(ctx)
		if err != nil {
			continue // it is asked for again
		}
		for _, it := range queue {
			if a.begin(it) && !g.TryGo(func() error { a.analyse(ctx, it); return nil }) {
				a.end(it)
				break // the queue is looked at again when one has ended: what is deleted by then is not analysed
			}
		}
	}
}

// waiting returns the reports whose analysis is still of use, the oldest first:
// those that are not sent, and those whose page promises it.
func (a *analyst) waiting(ctx context.Context) ([]history.QueueItem, error) {
	queue, err := a.service.store.Queue(ctx)
	queue = slices.DeleteFunc(queue, func(it history.QueueItem) bool {
		return !it.Pending() && (it.GaveUp || time.Since(it.Created) > 2*analysisPatience)
	})
	slices.SortStableFunc(queue, func(x, y history.QueueItem) int { return x.Created.Compare(y.Created) })
	return queue, err
}

// begin reports whether an analysis for a report has to be made now, by the caller.
func (a *analyst) begin(it history.QueueItem) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.busy[it.TestID]; ok {
		return false
	}
	same := 0
	for _, client := range a.busy {
		if client == it.Network {
			same++
		}
	}
	if same >= analysesOfClient {
		return false
	}
	if _, err := a.service.store.Analysis(it.TestID); !errors.Is(err, history.ErrNotFound) {
		return false
	}
	if _, err := a.service.store.Test(it.TestID); err != nil {
		return false // it was deleted
	}
	a.busy[it.TestID] = it.Network
	return true
}

func (a *analyst) end(it history.QueueItem) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.busy, it.TestID)
}

func (a *analyst) analyse(ctx context.Context, it history.QueueItem) {
	defer func() {
		a.end(it)
		a.kick() // the next one
		a.analysed(it.TestID)
	}()
	ctx = traced(ctx, slog.String("test", it.TestID))
	result, err := a.analyzer.Analyze(ctx, it.To[strings.LastIndexByte(it.To, '@')+1:])
	if ctx.Err() != nil {
		return // after the next start
	}
	kept := keptAnalysis{Analysis: result}
	if err != nil {
		kept = keptAnalysis{Missing: err.Error()}
	}
	b, err := json.Marshal(kept)
	if err == nil {
		err = a.service.store.SetAnalysis(ctx, it.TestID, b)
	}
	if err == nil || ctx.Err() != nil || errors.Is(err, history.ErrNotFound) { // the test was deleted meanwhile
		return
	}
	a.service.log.With("part", "inbound", "test", it.TestID).Error("analysis of the sender's domain not stored", "err", err)
	// Nothing is gained by another one before there is room for it.
	select {
	case <-time.After(analysisRetry):
	case <-ctx.Done():
	}
}

// keptAnalysis is what is stored of an analysis.
type keptAnalysis struct {
	Analysis inbound.Analysis `json:"analysis"`
	Missing  string           `json:"missing,omitempty"` // why there is none
}

// addInbound adds the analysis of the sender's domain, if there is one.
func (s *service) addInbound(in *report.Input, r history.TestRecord) error {
	b, err := s.store.Analysis(in.Test.ID)
	var kept keptAnalysis
	switch {
	case errors.Is(err, history.ErrNotFound):
		in.InboundMissing = s.noAnalysis(r)
		return nil
	case err != nil:
		return err
	}
	if err := json.Unmarshal(b, &kept); err != nil {
		return fmt.Errorf("analysis for test %s: %w", in.Test.ID, err)
	}
	if kept.Missing != "" {
		in.InboundMissing = report.NotPossible
		return nil
	}
	ratings := rating.Rate(kept.Analysis, rating.OutboundOf(in.History))
	in.Inbound, in.Ratings = &kept.Analysis, &ratings
	return nil
}

// noAnalysis says why a test has no analysis.
func (s *service) noAnalysis(r history.TestRecord) report.Missing {
	switch {
	case s.analyst == nil:
		return report.SwitchedOff
	case r.ReportTo == "":
		return report.NotAuthenticated
	case !r.Reported:
		return report.Later
	}
	// Of tests from before there were analyses, none will come.
	if q, err := s.store.QueueItem(r.Test.ID); err != nil || time.Since(q.Created) > 2*analysisPatience {
		return report.NotPossible
	}
	return report.NotReady
}

// analysedQueue lets a report wait for the analysis that belongs in it.
type analysedQueue struct {
	mailer.Queue
	analyst *analyst
}

// Due implements mailer.Queue.
func (q analysedQueue) Due(now time.Time, limit int) ([]mailer.Item, error) {
	return ready(q.Queue, now, limit, func(it mailer.Item) bool {
		return q.analyst == nil || q.analyst.ended(it.TestID) || now.Sub(it.Created) >= analysisPatience
	})
}

// ended reports whether a report need not wait for its analysis; else it is
// made soon.
func (a *analyst) ended(test string) bool {
	_, err := a.service.store.Analysis(test)
	waits := errors.Is(err, history.ErrNotFound)
	if waits {
		a.kick()
	}
	return !waits
}
