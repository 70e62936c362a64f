package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/zones"
	"github.com/tlsink/tlsink/zones/propagation"
)

// ownNames is our own name server, perhaps with others that copy the zone.
type ownNames struct {
	*zones.Zone
	service *service
	others  *propagation.Servers // nil: there are none
	// The zone, or the zone once the others have it: one for the MX order, one for
	// TLSA records, since neither waits for the other.
	mx, tlsa propagation.Provider
}

func (s *service) openOwn() error {
	o, err := s.zoneOptions()
	if err != nil {
		return err
	}
	n := &ownNames{service: s}
	if o.Transfer, err = transferOptions(s.cfg.DNS.Transfer); err != nil {
		return err
	}
	if secondaries := s.cfg.DNS.Transfer.Secondaries; len(secondaries) > 0 {
		if n.others, err = propagation.New(propagation.Options{Zone: s.cfg.Zone, Fixed: secondaries, Logger: o.Log}); err != nil {
			return fmt.Errorf("dns.transfer.secondaries: %w", err)
		}
		o.Keys.Synced = n.synced
		// Knot, where it validates what it copies, refuses a zone with two CSKs, as
		// there are in a roll.
		o.Keys.Split = true
	}
	if !s.cfg.DNS.Private {
		all, err := propagation.New(propagation.Options{Zone: s.cfg.Zone, Lookup: propagation.Through(s.network.resolver), Logger: o.Log})
		if err != nil {
			return err
		}
		o.Keys.ParentDS, o.Keys.ValidDS = all.ParentDS, s.validDS
	}
	o.Keys.Propagation, o.Keys.DSTTL = time.Duration(s.cfg.Timing.Propagation), time.Duration(s.cfg.Timing.DSTTL)
	o.Keys.Interval = min(time.Minute, o.Keys.Propagation)
	if n.Zone, err = zones.New(o); err != nil {
		return err
	}
	n.mx, n.tlsa = n.Zone, n.Zone
	if n.others != nil {
		n.mx, n.tlsa = propagation.Confirm(n.Zone, n.others), propagation.Confirm(n.Zone, n.others)
	}
	s.zone, s.names = n.Zone, n
	return nil
}

// validDS are our DS records as a validating resolver sees them.
func (s *service) validDS(ctx context.Context) ([]*dns.DS, error) {
	a, err := s.network.resolver.Lookup(ctx, s.cfg.Zone, dns.TypeDS)
	if err != nil {
		return nil, err
	}
	if a.Status != dnssec.Secure {
		return nil, fmt.Errorf("they are %s: %s", a.Status, a.Why)
	}
	var out []*dns.DS
	for _, rr := range a.RRs {
		if ds, ok := rr.(*dns.DS); ok {
			out = append(out, ds)
		}
	}
	return out, nil
}

// transferOptions are those of the zone for name servers that copy it.
func transferOptions(c config.Transfer) (t zones.Transfer, err error) {
	if c.KeyName == "" {
		return t, nil
	}
	secret, err := c.Secret().Read()
	if err != nil {
		return t, err
	}
	key, err := zones.ParseTSIGKey(c.KeyName, c.Algorithm, secret)
	if err != nil {
		return t, fmt.Errorf("dns.transfer: %w", err)
	}
	t.Keys = []zones.TSIGKey{key}
	for _, a := range c.Secondaries {
		address, err := netip.ParseAddrPort(a)
		if err != nil {
			return t, fmt.Errorf("dns.transfer.secondaries: %w", err)
		}
		t.Secondaries = append(t.Secondaries, address)
	}
	return t, nil
}

// synced returns nil once all name servers serve serial, or a later one.
func (n *ownNames) synced(ctx context.Context, serial uint32) error {
	serials, err := n.others.Serial(ctx)
	if err != nil {
		return err
	}
	for server, has := range serials {
		if int32(has-serial) < 0 { // RFC 1982 §3.2
			return fmt.Errorf("name server %s still serves serial %d", server, has)
		}
	}
	return nil
}

// SetRecords implements libdns.RecordSetter.
func (n *ownNames) SetRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return n.mx.SetRecords(ctx, zone, records)
}

// GetRecords implements libdns.RecordGetter.
func (n *ownNames) GetRecords(ctx context.Context, zone string) ([]libdns.Record, error) {
	return n.mx.GetRecords(ctx, zone)
}

// publishTLSA implements nameService.
func (n *ownNames) publishTLSA(ctx context.Context) error {
	content, err := n.service.content()
	if err != nil {
		return err
	}
	records := slices.DeleteFunc(content, func(r libdns.Record) bool { return r.RR().Type != "TLSA" })
	_, err = n.tlsa.SetRecords(ctx, n.Name(), records)
	return err
}

// hasTXT implements nameService.
func (n *ownNames) hasTXT(ctx context.Context, fqdn, txt string) error {
	if n.others == nil {
		return nil
	}
	return n.others.WaitIncluding(ctx, fqdn, dns.TypeTXT, []string{txt})
}

// queries implements nameService.
func (n *ownNames) queries(since time.Time) []evidence.Query { return n.Queries(since) }

// delegation implements nameService.
func (n *ownNames) delegation() string { return n.Delegation().String() }

// run implements nameService.
func (n *ownNames) run(ctx context.Context, l *listeners) error {
	g, ctx := errgroup.WithContext(ctx)
	if l.dns != nil {
		g.Go(func() error { return n.Serve(ctx, l.dns) })
	}
	g.Go(func() error { return n.Run(ctx) })
	return g.Wait()
}
