package main

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/doctor"
	"github.com/tlsink/tlsink/metrics"
	"github.com/tlsink/tlsink/scenario"
)

// metrics are for listen.metrics.
func (s *service) metrics() http.Handler {
	o := metrics.Options{
		Checks:    s.check.checks,
		Suspended: s.check.suspended,
		Checked:   func() time.Time { return s.check.current().at },
		Running:   s.assess.Running, Queue: s.queued, Certificates: s.certificateMetrics,
	}
	if s.zone != nil {
		o.Serial, o.DNS = s.zone.Serial, s.dnsMetrics
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler(o))
	return mux
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

func (s *service) certificateMetrics() (out []metrics.Certificate) {
	for _, id := range scenario.Certificates(s.cfg.Slots) {
		pairs, err := s.certs.Certificates(id)
		if err != nil {
			continue // not issued
		}
		for i, pair := range pairs {
			c := metrics.Certificate{
				Face: strings.Join(scenario.CertificateNames(s.cfg.Zone, 1, id)[:1], ""), Kind: string(id.Presented()), NotAfter: pair.Leaf.NotAfter,
				Algorithm: string([]certs.KeyAlgorithm{certs.ECDSA, certs.RSA}[min(i, 1)]),
			}
			if id.Owner == scenario.OwnerDefault {
				c.Face = string(scenario.OwnerDefault)
			}
			out = append(out, c)
		}
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
