package rating

import (
	"net/netip"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/inbound/records"
)

var (
	no       = check.Fail("no")
	untested = check.Skip("untested")
)

func signed(count int) inbound.RRset { return inbound.RRset{Status: dnssec.Secure, Count: count} }

func unsigned(count int) inbound.RRset { return inbound.RRset{Status: dnssec.Insecure, Count: count} }

// goodServer meets everything.
func goodServer(address string) inbound.Server {
	s := inbound.Server{Address: netip.MustParseAddr(address), DANE: check.Pass()}
	s.Result = probe.Result{
		Reached: check.Pass(), StartTLS: check.Pass(), Mandatory: check.Pass(), ForwardSecrecy: check.Pass(),
		Versions: []probe.Version{
			{Version: probe.TLS13, Accepted: check.Pass()},
			{Version: probe.TLS12, Accepted: check.Pass()},
			{Version: probe.TLS11, Accepted: no},
			{Version: probe.TLS10, Accepted: no},
		},
		Certificate: &probe.Certificate{Trusted: check.Pass(), Name: check.Pass(), Dates: check.Pass()},
	}
	return s
}

func goodHost(name string, preference uint16, addresses ...string) inbound.Host {
	h := inbound.Host{
		Name: name, Preference: preference, A: signed(len(addresses)), AAAA: signed(0), TLSA: signed(1), TLSAName: name,
		Records: []inbound.TLSARecord{{Usage: 3, Selector: 1, MatchingType: 1, Usable: true}},
		DANE:    check.Pass(), Listed: check.Pass(),
	}
	for _, a := range addresses {
		h.Servers = append(h.Servers, goodServer(a))
	}
	return h
}

// good is a domain that meets everything.
func good() inbound.Analysis {
	return inbound.Analysis{
		Domain: "example.org", Route: inbound.RouteMX, Zone: signed(1), MX: signed(2), TXT: signed(1),
		Hosts: []inbound.Host{
			goodHost("mx1.example.org", 10, "192.0.2.1", "192.0.2.2"),
			goodHost("mx2.example.org", 20, "192.0.2.3"),
		},
		MTASTS: records.MTASTS{Published: check.Pass(), Policy: check.Pass(), HTTPS: check.Pass(), Mode: "enforce"},
		SPF:    records.SPF{Published: check.Pass(), Valid: check.Pass(), Strict: check.Pass()},
		DMARC:  records.DMARC{Published: check.Pass(), Valid: check.Pass(), Enforced: check.Pass()},
	}
}

func goodOutbound() Outbound {
	return Outbound{Hosts: 1, Encrypted: 1, SPF: check.Pass(), DKIM: check.Pass()}
}

func everyServer(a *inbound.Analysis, change func(*inbound.Server)) {
	for i := range a.Hosts {
		for j := range a.Hosts[i].Servers {
			change(&a.Hosts[i].Servers[j])
		}
	}
}

func version(s *inbound.Server, name string) *check.Result {
	for i := range s.Versions {
		if s.Versions[i].Version == name {
			return &s.Versions[i].Accepted
		}
	}
	return nil
}
