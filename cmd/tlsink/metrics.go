package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/blocklist"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/doctor"
	"github.com/tlsink/tlsink/lease"
	"github.com/tlsink/tlsink/metrics"
)

// metrics are for listen.metrics.
func (s *service) metrics() http.Handler {
	o := metrics.Options{
		Recorder: s.recorder, Version: cli.ModuleVersion(), History: s.historyMetrics, Oldest: s.observed.oldest, Overdue: s.overdue,
		Leases: s.leaseMetrics, Waiting: s.leases.Queued, Watchers: s.hub.Watchers, Blocks: s.blockMetrics,
		Checks:    s.check.checks,
		Suspended: s.check.suspended,
		Checked:   func() time.Time { return s.check.current().at },
		Running:   s.assess.Running, Queue: s.queued, Certificates: s.certificateMetrics,
		Storage: func() bool { return s.store.Trouble() == nil },
	}
	if s.zone != nil {
		o.Serial, o.DNS, o.Secondaries = s.zone.Serial, s.dnsMetrics, s.secondaries
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler(o))
	return mux
}

// serveMetrics answers on its listeners until ctx ends.
func (s *service) serveMetrics(ctx context.Context, l []net.Listener) error {
	srv := &http.Server{Handler: s.metrics(), ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 8 << 10}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	var g errgroup.Group
	for _, one := range l {
		g.Go(func() error {
			if err := srv.Serve(one); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("listen.metrics %s: %w", one.Addr(), err)
			}
			return nil
		})
	}
	return g.Wait()
}

// checks says which checks are ok as a whole.
func (c *selfCheck) checks() map[string]bool {
	out := make(map[string]bool)
	for _, r := range c.current().results {
		if ok, known := out[r.Check]; r.Status != doctor.Cannot && (ok || !known) {
			out[r.Check] = r.Status == doctor.OK
		}
	}
	return out
}

// suspended says which verdicts are not given.
func (c *selfCheck) suspended() (unprotected, all bool) {
	f := c.current().fault
	return f.Unverifiable != "" || f.Broken != "", f.Broken != ""
}

// queued is the number of reports that wait; -1 if the store does not tell.
func (s *service) queued() (n int) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := s.store.Queue(ctx)
	if err != nil {
		return -1
	}
	for _, q := range list {
		if q.Pending() {
			n++
		}
	}
	return n
}

// overdue is how long the report that is due longest waits for its turn; -1 if
// the store does not tell.
func (s *service) overdue() time.Duration {
	due, ok, err := s.store.NextDue()
	switch {
	case err != nil:
		return -1
	case !ok:
		return 0
	}
	return max(0, time.Since(due))
}

func (s *service) historyMetrics() (metrics.Storage, bool) {
	st, err := s.store.Stats()
	return metrics.Storage{
		FileBytes: st.FileBytes, FreeBytes: st.FreeBytes, Waiting: st.Queued, Transactions: st.Transactions, Failed: st.Failed, Unreadable: st.Unreadable,
	}, err == nil
}

func (s *service) leaseMetrics() map[string]int {
	out := map[string]int{string(lease.Free): 0, string(lease.Waiting): 0, string(lease.Running): 0, string(lease.Resting): 0}
	for _, slot := range s.leases.Slots() {
		out[string(slot.State)]++
	}
	return out
}

func (s *service) blockMetrics() map[string]int {
	out := map[string]int{string(blocklist.Network): 0, string(blocklist.Domain): 0, string(blocklist.Address): 0}
	for _, e := range s.blocks.Entries() {
		out[string(e.Kind)]++
	}
	return out
}

func (s *service) certificateMetrics() []metrics.Certificate {
	var out []metrics.Certificate
	for _, k := range s.certs.Status() {
		out = append(out, metrics.Certificate{Face: k.Host, Kind: string(k.Certificate.Presented()), Algorithm: string(k.Algorithm), NotAfter: k.NotAfter})
	}
	return out
}

// secondaries says which of them have acknowledged the last change.
func (s *service) secondaries() map[string]bool {
	out := make(map[string]bool)
	for _, n := range s.zone.Secondaries() {
		out[n.Address.String()] = n.Problem == "" && !n.NotifiedAt.IsZero()
	}
	return out
}

func (s *service) dnsMetrics() map[string]uint64 {
	c := s.zone.Counters()
	return map[string]uint64{
		"udp": c.UDP, "tcp": c.TCP, "nxdomain": c.NXDomain, "refused": c.Refused, "malformed": c.Malformed, "truncated": c.Truncated,
		"dropped": c.Dropped, "limited": c.Limited, "slipped": c.Slipped, "transfers": c.Transfers, "signatures": c.Signatures,
	}
}
