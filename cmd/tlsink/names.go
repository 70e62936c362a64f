package main

import (
	"context"
	"errors"
	"time"

	"github.com/libdns/libdns"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/zones"
)

// nameService is where the zone lives: in our own name server, or at one that
// somebody else runs. Its libdns calls return once every name server of the
// zone has the change: until then, who asks may be told what was before.
type nameService interface {
	libdns.RecordGetter
	libdns.RecordSetter
	libdns.RecordAppender
	libdns.RecordDeleter

	// publishTLSA publishes the TLSA data that the certificates have now.
	publishTLSA(ctx context.Context) error
	// hasTXT waits until every name server has a TXT record.
	hasTXT(ctx context.Context, fqdn, txt string) error
	// queries are those that this service was asked.
	queries(since time.Time) []evidence.Query
	// delegation says what the parent zone has to publish.
	delegation() string
	// run serves or maintains the zone until ctx ends.
	run(ctx context.Context, l *listeners) error
}

// errExternalKeys answers what can't be asked about a zone that another name
// server signs.
var errExternalKeys = errors.New("the zone is signed by the name server of dns.provider: its keys and DS records are managed there")

// openNames opens the name service that the configuration names.
func (s *service) openNames(ctx context.Context) error {
	if s.cfg.DNS.External() {
		names, err := s.openExternal(ctx)
		if err != nil {
			return err
		}
		s.names = names
		return nil
	}
	return s.openOwn()
}

// zoneOptions describe the zone as it has to be now.
func (s *service) zoneOptions() (zones.Options, error) {
	txt, err := s.dkim.TXT()
	if err != nil {
		return zones.Options{}, err
	}
	c := s.cfg.DNS
	return zones.Options{
		Zone: s.cfg.Zone, Slots: s.cfg.Slots, Addresses: c.Addresses, MXAddresses: c.MXAddresses, UTAddresses: c.UTAddresses,
		TLSA: s.tlsa(), PolicyID: "1", DKIM: []zones.DKIM{{Selector: s.cfg.Mail.DKIMSelector, Record: txt}}, NameServers: c.NameServers,
		TTL: time.Duration(c.TTL), State: zones.FileState{Path: s.cfg.Path("zone.json")}, Log: s.log.With("part", "zones"),
	}, nil
}

// tlsa is the TLSA data of the certificates, as the zone takes it.
func (s *service) tlsa() map[string][]zones.TLSARecord {
	out := make(map[string][]zones.TLSARecord)
	for host, records := range s.certs.TLSA() {
		for _, r := range records {
			out[host] = append(out[host], zones.TLSARecord{Usage: r.Usage, Selector: r.Selector, MatchingType: r.MatchingType, Data: r.Data})
		}
	}
	return out
}

// content is all that the zone has to hold now, whoever serves it.
func (s *service) content() ([]libdns.Record, error) {
	o, err := s.zoneOptions()
	if err != nil {
		return nil, err
	}
	return zones.Content(o)
}
