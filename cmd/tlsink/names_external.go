package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

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
}

// openExternal refuses a provider that can't hold the zone. One that can't be
// reached now may come back.
func (s *service) openExternal(ctx context.Context) (*externalNames, error) {
	n := &externalNames{service: s}
	var err error
	if n.Provider, err = s.cfg.DNS.open(); err != nil {
		return nil, err
	}
	log := s.log.With("part", "dns")
	if n.servers, err = propagation.New(propagation.Options{Zone: s.cfg.Zone, Lookup: propagation.Through(s.network.resolver), Logger: log}); err != nil {
		return nil, err
	}
	n.confirmed = propagation.Confirm(n.Provider, n.servers)
	content, err := s.content()
	if err != nil {
		return nil, err
	}
	if n.publisher, err = external.New(external.Options{
		Zone: s.cfg.Zone, Slots: s.cfg.Slots, Provider: n.Provider, Content: content, Servers: n.servers, Logger: log,
		Rotate: func(ctx context.Context) error { return s.rotator.Rotate(ctx) },
	}); err != nil {
		return nil, err
	}
	err = n.publisher.Probe(ctx)
	if err == nil {
		_, err = n.publisher.Publish(ctx)
	}
	if notReached(err) {
		log.Error("DNS provider not reached, going on without: it will be tried again", "err", err)
		return n, nil
	}
	return n, err
}

// open connects to the provider.
func (c *dnsConfig) open() (external.Provider, error) {
	ttl := time.Duration(c.TTL)
	if c.Provider == providerDesec {
		token, err := c.Desec.token().read()
		if err != nil {
			return nil, err
		}
		p, err := desec.New(desec.Options{API: c.Desec.API, Token: token, TTL: ttl})
		if err != nil {
			return nil, fmt.Errorf("dns.desec: %w", err)
		}
		return p, nil
	}
	key, err := c.RFC2136.secret().read()
	if err != nil {
		return nil, err
	}
	p, err := rfc2136.New(rfc2136.Options{Server: c.RFC2136.Server, KeyName: c.RFC2136.KeyName, Algorithm: c.RFC2136.Algorithm, Secret: key, TTL: ttl})
	if err != nil {
		return nil, fmt.Errorf("dns.rfc2136: %w", err)
	}
	return p, nil
}

// notReached reports whether a failure says nothing about the other side.
func notReached(err error) bool {
	_, network := errors.AsType[net.Error](err)
	_, late := errors.AsType[*propagation.NotServedError](err)
	return network || late || errors.Is(err, context.DeadlineExceeded)
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
	return n.publisher.Update(ctx, content)
}

// hasTXT implements nameService.
func (n *externalNames) hasTXT(ctx context.Context, fqdn, txt string) error {
	return n.servers.WaitIncluding(ctx, fqdn, dns.TypeTXT, []string{txt})
}

// queries implements nameService.
func (n *externalNames) queries(time.Time) []evidence.Query { return nil }

// delegation implements nameService.
func (n *externalNames) delegation() string {
	return "; " + dns.Fqdn(n.service.cfg.Zone) + " is served and signed by the name server of dns.provider:\n; publish its NS and DS records at the parent zone.\n"
}

// run implements nameService.
func (n *externalNames) run(ctx context.Context, _ *listeners) error { return n.publisher.Run(ctx) }
