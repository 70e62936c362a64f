package rating

import (
	"testing"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
)

func TestClass(t *testing.T) {
	// White: neither DANE nor mandatory.
	white := func(a *inbound.Analysis) {
		a.MX = unsigned(2)
		for i := range a.Hosts {
			noTLSA(&a.Hosts[i])
		}
	}
	cases := []struct {
		name   string
		change func(a *inbound.Analysis)
		want   Class
	}{
		{"green: DANE and qualified", func(*inbound.Analysis) {}, Green},
		{"green: DANE alone", func(a *inbound.Analysis) { everyServer(a, func(s *inbound.Server) { s.Mandatory = no }) }, Green},
		{"green: DANE with self-signed certificates", func(a *inbound.Analysis) {
			everyServer(a, func(s *inbound.Server) { s.Mandatory, s.Certificate.Trusted = no, no })
		}, Green},
		{"green: qualified alone", func(a *inbound.Analysis) { white(a); a.MX = signed(2) }, Green},
		{"white: qualified, but senders with DANE refuse a server", func(a *inbound.Analysis) { a.Hosts[0].Servers[0].DANE = no }, White},
		{"white: valid certificates", white, White},
		{"white: neither DANE nor qualified could be tested", func(a *inbound.Analysis) { a.LeftOut = []string{"x"} }, White},
		{"white: an address that could not be reached is left out", func(a *inbound.Analysis) { white(a); unreachable(&a.Hosts[0].Servers[0]) }, White},
		{"yellow: one certificate not trusted", func(a *inbound.Analysis) { white(a); a.Hosts[0].Servers[1].Certificate.Trusted = no }, Yellow},
		{"yellow: one for another name", func(a *inbound.Analysis) { white(a); a.Hosts[1].Servers[0].Certificate.Name = no }, Yellow},
		{"yellow: one expired", func(a *inbound.Analysis) { white(a); a.Hosts[0].Servers[0].Certificate.Dates = no }, Yellow},
		{"white: a certificate could not be tested", func(a *inbound.Analysis) { white(a); a.Hosts[0].Servers[0].Certificate = nil }, White},
		{"red: one server without STARTTLS", func(a *inbound.Analysis) {
			white(a)
			a.Hosts[0].Servers[1].Certificate.Trusted = no
			plain(&a.Hosts[1].Servers[0])
		}, Red},
		{"grey: nothing reachable", func(a *inbound.Analysis) { everyServer(a, unreachable) }, Grey},
		{"grey: STARTTLS could not be tested", func(a *inbound.Analysis) { everyServer(a, func(s *inbound.Server) { s.StartTLS = untested }) }, Grey},
		{"grey: no certificate was seen", func(a *inbound.Analysis) {
			everyServer(a, func(s *inbound.Server) { s.Certificate, s.DANE = nil, check.Result{} })
		}, Grey},
		{"grey: DANE with self-signed certificates, and a host that could not be reached", func(a *inbound.Analysis) {
			everyServer(a, func(s *inbound.Server) { s.Certificate.Trusted = no })
			for i := range a.Hosts[1].Servers {
				unreachable(&a.Hosts[1].Servers[i])
			}
		}, Grey},
		{"grey: self-signed certificates, and TLSA records that could not be looked up", func(a *inbound.Analysis) {
			everyServer(a, func(s *inbound.Server) { s.Certificate.Trusted, s.DANE = no, untested })
			for i := range a.Hosts {
				a.Hosts[i].TLSA, a.Hosts[i].DANE, a.Hosts[i].Records = inbound.RRset{Status: dnssec.Error}, untested, nil
			}
		}, Grey},
		{"grey: one self-signed certificate, and an address that could not be looked up", func(a *inbound.Analysis) {
			a.Hosts[0].Servers[0].Certificate.Trusted, a.Hosts[1].AAAA, a.Hosts[1].DANE = no, inbound.RRset{Status: dnssec.Error}, untested
		}, Grey},
		{"red: no STARTTLS, and a host that could not be reached", func(a *inbound.Analysis) {
			plain(&a.Hosts[0].Servers[0])
			for i := range a.Hosts[1].Servers {
				unreachable(&a.Hosts[1].Servers[i])
			}
		}, Red},
		{"yellow: self-signed certificates, DANE at one host alone", func(a *inbound.Analysis) {
			everyServer(a, func(s *inbound.Server) { s.Certificate.Trusted = no })
			noTLSA(&a.Hosts[1])
		}, Yellow},
		{"grey: null MX", func(a *inbound.Analysis) { a.Route, a.Hosts = inbound.RouteNull, nil }, Grey},
		{"grey: no mail", func(a *inbound.Analysis) { a.Route, a.Hosts = inbound.RouteNone, nil }, Grey},
		{"grey: could not be looked up", func(a *inbound.Analysis) { a.Route, a.Hosts = inbound.RouteUnknown, nil }, Grey},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := good()
			c.change(&a)
			if got := Rate(a, Outbound{}).Class; got != c.want {
				t.Errorf("class %s, want %s", got, c.want)
			}
		})
	}
}
