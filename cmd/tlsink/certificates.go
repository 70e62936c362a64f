package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/certs/acme"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/history"
)

// perWeek is how many certificates for new names are asked of a public CA in a
// week. Let's Encrypt allows 50 for a registered domain, which may have others.
const perWeek = 40

// externalRollWait is taken as long as no name server of an external provider has
// told its TTLs.
const externalRollWait = 2 * time.Hour

// openCertificates opens the keys, which the zone needs, and the CA that the
// configuration names. A public CA is asked only once the zone is served.
func (s *service) openCertificates(ctx context.Context) error {
	o := certs.Options{
		Dir: s.cfg.Path("certs"), Zone: s.cfg.Zone, Slots: s.cfg.Slots, State: values{s.store},
		Publish: func(ctx context.Context) error { return s.names.publishTLSA(ctx) }, RollWaitNow: s.rollWait, Logger: s.log.With("part", "certs"),
	}
	var err error
	if s.cfg.Certificates.CA == config.CAACME {
		o.DeferIssue, o.PerWeek = true, perWeek
		s.acme, err = s.openACME()
		o.Issuer = delegated{s.acme, s}
	} else {
		s.ca, err = certs.OpenLocalCA(certs.LocalCAOptions{Dir: s.cfg.Path("ca"), Zone: s.cfg.Zone})
		o.Issuer = s.ca
	}
	if err != nil {
		return err
	}
	s.certs, err = certs.Open(ctx, o)
	return err
}

func (s *service) openACME() (*acme.Issuer, error) {
	c := s.cfg.Certificates.ACME
	mac, err := c.EABKey().Read()
	if err != nil {
		return nil, err
	}
	o := acme.Options{
		Directory: c.Directory, Staging: c.Staging, Email: c.Email, TermsAgreed: c.AgreeTerms, EAB: acme.EAB{KeyID: c.EABKeyID, MACKey: mac},
		Provider: challenges{s}, Zone: s.cfg.Zone, Setup: s.cfg.DNS.Provider + " " + s.cfg.DNS.RFC2136.Server + " " + s.cfg.DNS.Desec.API,
		Propagated: func(ctx context.Context, fqdn, txt string) error { return s.names.hasTXT(ctx, fqdn, txt) },
		Settle:     time.Duration(s.cfg.DNS.TTL) + time.Second,
		State:      values{s.store}, Logger: s.log.With("part", "acme"),
	}
	if c.ServerRoots != "" {
		if o.Roots, err = config.ReadRoots(c.ServerRoots); err != nil {
			return nil, fmt.Errorf("certificates.acme.server_roots: %w", err)
		}
	}
	return acme.New(o)
}

// retryCertificates forgets why the CA was not to be asked: the operator has
// cured it.
func (s *service) retryCertificates(ctx context.Context) error {
	if s.acme != nil {
		if err := s.acme.Retry(ctx); err != nil {
			return err
		}
	}
	s.certs.Retry(ctx)
	return nil
}

// delegated asks a public CA only while the zone is seen from outside: before,
// every order would fail, and count.
type delegated struct {
	*acme.Issuer
	service *service
}

// Issue implements certs.Issuer.
func (d delegated) Issue(ctx context.Context, names []string, key crypto.Signer) ([][]byte, error) {
	if s := d.service; !s.cfg.DNS.Private {
		if a, err := s.network.resolver.Lookup(ctx, s.cfg.Zone, dns.TypeSOA); err != nil || len(a.RRs) == 0 || a.Status != dnssec.Secure {
			return nil, notDelegated{time.Now().Add(min(time.Minute, time.Duration(s.cfg.Timing.SelfCheck)))}
		}
	}
	return d.Issuer.Issue(ctx, names, key)
}

// notDelegated says that no certificate can be had yet.
type notDelegated struct{ again time.Time }

func (notDelegated) Error() string {
	return "the zone is not seen from outside yet, so that a public CA could not validate it: `tlsink doctor` says what is missing"
}

// RetryAt is when certs tries again.
func (e notDelegated) RetryAt() time.Time { return e.again }

// HoldAll says that it is the same for all certificates.
func (notDelegated) HoldAll() bool { return true }

// rollWait is how long the TLSA records of before a change may still be seen:
// their TTL and the negative TTL, which is the same in our zone. The other name
// servers are asked whether they have the change.
func (s *service) rollWait() time.Duration {
	if n, ok := s.names.(*externalNames); ok {
		return n.rollWait()
	}
	return 2*time.Duration(s.cfg.DNS.TTL) + time.Duration(s.cfg.Timing.Propagation)
}

// publicRoots are those that the certificates of our good servers lead to.
func (s *service) publicRoots() (*x509.CertPool, error) {
	if s.ca != nil {
		return s.ca.Pool(), nil
	}
	return s.roots(&s.cfg)
}

// roots are those that other mail servers are verified with.
func (s *service) roots(cfg *config.Config) (*x509.CertPool, error) {
	if s.network.roots != nil {
		return s.network.roots, nil
	}
	if file := cfg.Certificates.Roots; file != "" {
		pool, err := config.ReadRoots(file)
		if err != nil {
			return nil, fmt.Errorf("certificates.roots: %w", err)
		}
		return pool, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("root certificates of the system: %w; install them (Debian: ca-certificates), or set certificates.roots", err)
	}
	return pool, nil
}

// values keeps what other packages must not forget in the history's file.
type values struct{ store *history.Store }

// Load implements certs.State and acme.State.
func (v values) Load(key string) ([]byte, error) {
	b, err := v.store.Value(key)
	if errors.Is(err, history.ErrNotFound) {
		return nil, nil
	}
	return b, err
}

// Save implements certs.State and acme.State.
func (v values) Save(ctx context.Context, key string, value []byte) error {
	return v.store.SetValue(ctx, key, value)
}

// challenges publishes the answers to DNS-01 challenges. The name service is
// opened after the certificates, whose TLSA data it serves.
type challenges struct{ s *service }

// AppendRecords implements acme.Provider.
func (c challenges) AppendRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	ttl := time.Duration(c.s.cfg.DNS.TTL)
	out := make([]libdns.Record, len(records))
	for i, r := range records {
		rr := r.RR()
		rr.TTL = min(rr.TTL, ttl) // what an order waits for, see Settle
		out[i] = rr
	}
	return c.s.names.AppendRecords(ctx, zone, out)
}

// DeleteRecords implements acme.Provider.
func (c challenges) DeleteRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return c.s.names.DeleteRecords(ctx, zone, records)
}
