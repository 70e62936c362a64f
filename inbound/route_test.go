package inbound_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
)

func TestRoute(t *testing.T) {
	for _, c := range []struct {
		name, zone string
		status     map[string]dnssec.Status
		route      inbound.Route
		why        string
		canonical  string
		hosts      []string
		faults     []string // id and subject
		mx         dnssec.Status
	}{
		{
			name: "in the order of preference", zone: "example.org. MX 20 b.example.org.\nexample.org. MX 10 c.example.org.\nexample.org. MX 20 A.Example.org.\na.example.org. A 1.1.1.1\nb.example.org. AAAA 2606:4700::1\nc.example.org. A 1.1.1.3",
			route: inbound.RouteMX, hosts: []string{"c.example.org", "a.example.org", "b.example.org"}, mx: dnssec.Secure,
		},
		{
			name: "one host twice", zone: "example.org. MX 20 a.example.org.\nexample.org. MX 10 a.example.org.\na.example.org. A 1.1.1.1",
			route: inbound.RouteMX, hosts: []string{"a.example.org"}, mx: dnssec.Secure,
		},
		{name: "implicit", zone: "example.org. A 1.1.1.1", route: inbound.RouteImplicit, hosts: []string{"example.org"}, mx: dnssec.Secure},
		{name: "implicit, IPv6 alone", zone: "example.org. AAAA 2606:4700::1", route: inbound.RouteImplicit, hosts: []string{"example.org"}, mx: dnssec.Secure},
		{
			name: "implicit through an alias", zone: "example.org. CNAME www.example.net.\nwww.example.net. A 1.1.1.1",
			route: inbound.RouteImplicit, canonical: "www.example.net", hosts: []string{"example.org"}, mx: dnssec.Secure,
		},
		{
			name: "alias with MX", zone: "example.org. CNAME example.net.\nexample.net. MX 10 mx.example.net.\nmx.example.net. A 1.1.1.1",
			status: map[string]dnssec.Status{"net.": dnssec.Insecure},
			route:  inbound.RouteMX, canonical: "example.net", hosts: []string{"mx.example.net"}, mx: dnssec.Insecure,
		},
		{name: "null MX", zone: "example.org. MX 0 .\nexample.org. A 1.1.1.1", route: inbound.RouteNull, why: "takes no mail", mx: dnssec.Secure},
		{name: "null MX twice", zone: "example.org. MX 0 .\nexample.org. MX 10 .", route: inbound.RouteNull, why: "takes no mail", mx: dnssec.Secure},
		{
			name: "null MX beside another", zone: "example.org. MX 0 .\nexample.org. MX 10 mx.example.org.\nmx.example.org. A 1.1.1.1",
			route: inbound.RouteMX, hosts: []string{"mx.example.org"}, faults: []string{"null-mx-mixed example.org"}, mx: dnssec.Secure,
		},
		{name: "nothing", zone: `example.org. TXT "v=spf1 -all"`, route: inbound.RouteNone, why: "neither MX records nor an address", mx: dnssec.Secure},
		{name: "no such domain", zone: "example.net. A 1.1.1.1", route: inbound.RouteNone, why: "does not exist", mx: dnssec.Secure},
		{name: "alias to no such domain", zone: "example.org. CNAME gone.example.net.", route: inbound.RouteNone, why: "does not exist (it is an alias of gone.example.net)", canonical: "gone.example.net", mx: dnssec.Secure},
		{name: "no answer", status: map[string]dnssec.Status{"example.org.": dnssec.Error}, route: inbound.RouteUnknown, why: "no answer", mx: dnssec.Error},
		{name: "bogus", status: map[string]dnssec.Status{"example.org.": dnssec.Bogus}, route: inbound.RouteUnknown, why: "the signature is wrong", mx: dnssec.Bogus},
		{name: "alias loop", zone: "example.org. CNAME example.org.", route: inbound.RouteUnknown, why: "alias loop", mx: dnssec.Error},
		{
			name: "implicit without answer", zone: "example.org. TXT x", status: map[string]dnssec.Status{"example.org. A": dnssec.Error},
			route: inbound.RouteUnknown, why: "addresses of the domain could not be looked up: no answer", mx: dnssec.Secure,
		},
		{
			name: "MX that is an alias", zone: "example.org. MX 10 mx.example.org.\nmx.example.org. CNAME real.example.org.\nreal.example.org. A 1.1.1.1",
			route: inbound.RouteMX, hosts: []string{"mx.example.org"}, faults: []string{"mx-is-alias mx.example.org"}, mx: dnssec.Secure,
		},
		{
			name: "MX without address", zone: "example.org. MX 10 mx.example.org.\nexample.org. MX 20 gone.example.org.\nmx.example.org. TXT x",
			route: inbound.RouteMX, hosts: []string{"mx.example.org", "gone.example.org"},
			faults: []string{"mx-without-address gone.example.org", "mx-without-address mx.example.org"}, mx: dnssec.Secure,
		},
		{
			name: "MX with unknown address", zone: "example.org. MX 10 mx.example.org.\nmx.example.org. TXT x", status: map[string]dnssec.Status{"mx.example.org.": dnssec.Error},
			route: inbound.RouteMX, hosts: []string{"mx.example.org"}, mx: dnssec.Secure,
		},
		{
			name: "MX alias loop", zone: "example.org. MX 10 a.example.org.\na.example.org. CNAME b.example.org.\nb.example.org. CNAME a.example.org.",
			route: inbound.RouteMX, hosts: []string{"a.example.org"}, mx: dnssec.Secure,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := analyzer(t, c.zone)
			s.world.status = c.status
			a := s.analyze(t, "example.org")
			var hosts, faults []string
			for _, h := range a.Hosts {
				hosts = append(hosts, h.Name)
			}
			for _, f := range a.Faults {
				faults = append(faults, f.ID+" "+f.Subject)
			}
			if a.Route != c.route || a.Canonical != c.canonical || a.MX.Status != c.mx {
				t.Errorf("route %q, canonical %q, MX %+v", a.Route, a.Canonical, a.MX)
			}
			if !strings.Contains(a.Why, c.why) || (a.Why == "") != (c.why == "") {
				t.Errorf("why %q, want %q", a.Why, c.why)
			}
			if diff := cmp.Diff(c.hosts, hosts); diff != "" {
				t.Errorf("hosts (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.faults, faults); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// Names that can't be those of hosts are reported, and nobody is asked for them.
func TestFaultyHosts(t *testing.T) {
	for _, c := range []struct{ mx, fault, shown string }{
		{"192.0.2.1.", inbound.FaultAddress, "192.0.2.1"},
		{"10.1.", inbound.FaultAddress, "10.1"},
		{"mx.0x7f.", inbound.FaultAddress, "mx.0x7f"},
		{`\[192.0.2.1].`, inbound.FaultAddress, "[192.0.2.1]"},
		{"localhost.", inbound.FaultLocalhost, "localhost"},
		{"mx.localhost.", inbound.FaultLocalhost, "mx.localhost"},
		{"LOCALHOST.localdomain.", inbound.FaultLocalhost, "localhost.localdomain"},
		{`a\.b.example.org.`, inbound.FaultNotAHost, `a\.b.example.org`},
		{`\027\[2J.example.org.`, inbound.FaultNotAHost, `\027[2j.example.org`},
		{`\000.example.org.`, inbound.FaultNotAHost, `\000.example.org`},
		{`mx\ .example.org.`, inbound.FaultNotAHost, `mx\ .example.org`},
		{"-mx.example.org.", inbound.FaultNotAHost, "-mx.example.org"},
		{"*.example.org.", inbound.FaultNotAHost, "*.example.org"},
		{`\228\184\173.example.org.`, inbound.FaultNotAHost, `\228\184\173.example.org`},
		{"2001:db8::1.", inbound.FaultAddress, "2001:db8::1"},
	} {
		t.Run(c.mx, func(t *testing.T) {
			s := analyzer(t, fmt.Sprintf("example.org. MX 10 %s\n%s A 1.1.1.1", c.mx, c.mx))
			a := s.analyze(t, "example.org")
			if len(a.Faults) != 1 || a.Faults[0].ID != c.fault || a.Faults[0].Subject != c.shown || a.Faults[0].Text == "" {
				t.Errorf("faults %+v", a.Faults)
			}
			if len(a.Hosts) != 1 || a.Hosts[0].Name != c.shown || len(a.Hosts[0].Servers) > 0 || a.Hosts[0].A.Status != "" || a.Hosts[0].DANE.Outcome != "" {
				t.Errorf("hosts %+v", a.Hosts)
			}
			if n := s.world.lookups("A"); n > 0 {
				t.Errorf("%d lookups of addresses", n)
			}
		})
	}
}

// Single labels and underscores are no host names, but they may resolve.
func TestOddHosts(t *testing.T) {
	for _, mx := range []string{"mx.", "my_mx.example.org.", "xn--mx-eka.example.org."} {
		s := analyzer(t, fmt.Sprintf("example.org. MX 10 %s\n%s A 1.1.1.1", mx, mx))
		if a := s.analyze(t, "example.org"); len(a.Faults) > 0 || len(a.Hosts[0].Servers) != 1 {
			t.Errorf("%s: %+v, %+v", mx, a.Faults, a.Hosts)
		}
	}
}

func TestZoneAndTXT(t *testing.T) {
	const soa = " SOA ns. host. 1 60 60 60 60\n"
	for _, c := range []struct {
		name, zone string
		status     map[string]dnssec.Status
		want       inbound.RRset
		txt        inbound.RRset
	}{
		{"apex", "example.org." + soa + "example.org. TXT a\nexample.org. TXT b", nil, inbound.RRset{Status: dnssec.Secure, Count: 1}, inbound.RRset{Status: dnssec.Secure, Count: 2}},
		{"below the apex", "org." + soa + "example.org. A 1.1.1.1", map[string]dnssec.Status{"example.org.": dnssec.Insecure}, inbound.RRset{Status: dnssec.Secure, Count: 1}, inbound.RRset{Status: dnssec.Insecure, Why: "zone without DS"}},
		{"no SOA at all", "example.org. A 1.1.1.1", nil, inbound.RRset{Status: dnssec.Secure}, inbound.RRset{Status: dnssec.Secure}},
		{"insecure", "example.org." + soa, map[string]dnssec.Status{"example.org.": dnssec.Insecure}, inbound.RRset{Status: dnssec.Insecure, Count: 1, Why: "zone without DS"}, inbound.RRset{Status: dnssec.Insecure, Why: "zone without DS"}},
		{"bogus", "example.org." + soa, map[string]dnssec.Status{"example.org.": dnssec.Bogus}, inbound.RRset{Status: dnssec.Bogus, Why: "the signature is wrong"}, inbound.RRset{Status: dnssec.Bogus, Why: "the signature is wrong"}},
		{"no answer", "example.org." + soa, map[string]dnssec.Status{"example.org.": dnssec.Error}, inbound.RRset{Status: dnssec.Error, Why: "no answer"}, inbound.RRset{Status: dnssec.Error, Why: "no answer"}},
		{"not that behind an alias", "org." + soa + "example.org. CNAME example.net.\nexample.net." + soa, map[string]dnssec.Status{"example.net.": dnssec.Insecure}, inbound.RRset{Status: dnssec.Secure, Count: 1}, inbound.RRset{Status: dnssec.Insecure, Why: "zone without DS"}},
		{"not that above a missing name", "org." + soa, map[string]dnssec.Status{"example.org.": dnssec.Insecure}, inbound.RRset{Status: dnssec.Insecure, Why: "zone without DS"}, inbound.RRset{Status: dnssec.Insecure, Why: "zone without DS"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := analyzer(t, c.zone)
			s.world.status = c.status
			a := s.analyze(t, "example.org")
			if a.Zone != c.want || a.TXT != c.txt {
				t.Errorf("zone %+v, TXT %+v", a.Zone, a.TXT)
			}
		})
	}
}
