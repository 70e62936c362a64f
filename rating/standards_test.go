package rating

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
)

// standardCase changes the good domain. open are the requirements that are
// open then, "id subject", of the standard.
type standardCase struct {
	name   string
	change func(a *inbound.Analysis)
	want   check.Outcome
	open   []string
}

const (
	first, second = "mx1.example.org", "mx2.example.org"
	server1       = first + " (192.0.2.1)"
	server2       = first + " (192.0.2.2)"
	server3       = second + " (192.0.2.3)"
)

func at(i, j int, change func(*inbound.Server)) func(*inbound.Analysis) {
	return func(a *inbound.Analysis) { change(&a.Hosts[i].Servers[j]) }
}

func unreachable(s *inbound.Server) {
	s.Result, s.DANE = probe.Result{Reached: check.Skip("connection timed out")}, check.Result{}
}

func plain(s *inbound.Server) {
	s.Result, s.DANE = probe.Result{Reached: check.Pass(), StartTLS: no}, check.Result{}
}

// generalCases hold for every standard.
func generalCases() []standardCase {
	return []standardCase{
		{"everything is met", func(*inbound.Analysis) {}, check.Yes, nil},
		{"null MX: the question does not arise", func(a *inbound.Analysis) { a.Route, a.Hosts, a.MX = inbound.RouteNull, nil, signed(1) }, "", nil},
		{"no mail at all", func(a *inbound.Analysis) { a.Route, a.Hosts, a.MX = inbound.RouteNone, nil, signed(0) }, "", nil},
		{
			"reachable: one address of a host is left out", at(0, 1, unreachable), check.Yes, nil,
		},
		{"reachable: no address of a host", at(1, 0, unreachable), check.Untested, []string{"reachable " + second}},
		{"reachable: nothing", func(a *inbound.Analysis) { everyServer(a, unreachable) }, check.Untested, []string{"reachable " + first, "reachable " + second}},
		{"reachable: a host without an address takes no mail", func(a *inbound.Analysis) { a.Hosts[1].A, a.Hosts[1].Servers = signed(0), nil }, check.Yes, nil},
		{"reachable: all hosts without an address", func(a *inbound.Analysis) {
			for i := range a.Hosts {
				a.Hosts[i].A, a.Hosts[i].Servers = signed(0), nil
			}
		}, check.Untested, []string{"reachable example.org"}},
		{"reachable: a name that is no host", func(a *inbound.Analysis) {
			a.Hosts[1] = inbound.Host{Name: "192.0.2.9", Preference: 20}
			a.MTASTS.Mode, a.Hosts[1].Listed = "enforce", check.Pass()
		}, check.Untested, []string{"reachable 192.0.2.9"}},
		{"complete: a limit left hosts out", func(a *inbound.Analysis) { a.LeftOut = []string{"only 16 of 40 hosts"} }, check.Untested, []string{"complete "}},
		{"STARTTLS is not offered by one server", at(0, 1, plain), check.No, []string{"starttls " + server2}},
		{"STARTTLS could not be tested", at(0, 1, func(s *inbound.Server) { s.StartTLS = untested }), check.Untested, []string{"starttls " + server2}},
		{"STARTTLS was not asked for", at(0, 1, func(s *inbound.Server) { s.StartTLS = check.Result{} }), check.Untested, []string{"starttls " + server2}},
		{"a failure counts more than what could not be tested", func(a *inbound.Analysis) {
			plain(&a.Hosts[0].Servers[0])
			unreachable(&a.Hosts[1].Servers[0])
		}, check.No, []string{"reachable " + second, "starttls " + server1}},
	}
}

func daneCases() []standardCase {
	insecureTarget := func(a *inbound.Analysis) {
		h := &a.Hosts[0]
		h.Canonical, h.A, h.AAAA = "host.example.net", unsigned(2), unsigned(0)
	}
	return []standardCase{
		{"MX not signed", func(a *inbound.Analysis) { a.MX = unsigned(2) }, check.No, []string{"mx-secure example.org"}},
		{"MX bogus", func(a *inbound.Analysis) {
			a.Route, a.Hosts, a.MX = inbound.RouteUnknown, nil, inbound.RRset{Status: dnssec.Bogus}
		}, check.No, []string{"reachable example.org", "mx-secure example.org"}},
		{"MX could not be looked up", func(a *inbound.Analysis) {
			a.Route, a.Hosts, a.MX = inbound.RouteUnknown, nil, inbound.RRset{Status: dnssec.Error}
		}, check.Untested, []string{"reachable example.org", "mx-secure example.org"}},
		{"no MX, proven", func(a *inbound.Analysis) { a.Route, a.MX, a.Hosts = inbound.RouteImplicit, signed(0), a.Hosts[:1] }, check.Yes, nil},
		{"no MX, not proven", func(a *inbound.Analysis) { a.Route, a.MX, a.Hosts = inbound.RouteImplicit, unsigned(0), a.Hosts[:1] }, check.No, []string{"mx-secure example.org"}},
		{"an address is not signed", func(a *inbound.Analysis) { a.Hosts[1].A = unsigned(1) }, check.No, []string{"address-secure " + second}},
		{"the absence of AAAA is not signed", func(a *inbound.Analysis) { a.Hosts[1].AAAA = unsigned(0) }, check.Yes, nil},
		{"the absence of A is not signed", func(a *inbound.Analysis) { a.Hosts[1].A, a.Hosts[1].AAAA = unsigned(0), signed(1) }, check.Yes, nil},
		{"AAAA is not signed", func(a *inbound.Analysis) { a.Hosts[1].AAAA = unsigned(1) }, check.No, []string{"address-secure " + second}},
		{"AAAA could not be looked up", func(a *inbound.Analysis) { a.Hosts[1].AAAA = inbound.RRset{Status: dnssec.Error} }, check.Untested, []string{"address-secure " + second}},
		{"a secure alias with an insecure target", insecureTarget, check.Yes, nil},
		{"an alias that may be secure", func(a *inbound.Analysis) { insecureTarget(a); a.Hosts[0].DANE = untested }, check.Untested, []string{"address-secure " + first}},
		{"an insecure alias", func(a *inbound.Analysis) { insecureTarget(a); a.Hosts[0].DANE = no }, check.No, []string{"address-secure " + first}},
		{"a secure alias, but MX not signed", func(a *inbound.Analysis) { insecureTarget(a); a.MX, a.Hosts[0].DANE = unsigned(2), no }, check.No, []string{"mx-secure example.org"}},
		{"an insecure alias, and MX not signed", func(a *inbound.Analysis) {
			insecureTarget(a)
			a.MX, a.Hosts[0].DANE, a.Hosts[0].TLSAName = unsigned(2), no, "host.example.net"
		}, check.No, []string{"mx-secure example.org", "address-secure " + first}},
		{"senders have no DANE, whatever the reason", func(a *inbound.Analysis) { a.Hosts[0].DANE = untested }, check.Untested, []string{"tlsa " + first}},
		{"no TLSA records", func(a *inbound.Analysis) { noTLSA(&a.Hosts[1]) }, check.No, []string{"tlsa " + second}},
		{"TLSA records not signed", func(a *inbound.Analysis) { a.Hosts[1].TLSA = unsigned(1) }, check.No, []string{"tlsa " + second}},
		{"TLSA records bogus", func(a *inbound.Analysis) { a.Hosts[1].TLSA = inbound.RRset{Status: dnssec.Bogus} }, check.No, []string{"tlsa " + second}},
		{"TLSA records could not be looked up", func(a *inbound.Analysis) { a.Hosts[1].TLSA = inbound.RRset{Status: dnssec.Error} }, check.Untested, []string{"tlsa " + second}},
		{"no usable TLSA record", func(a *inbound.Analysis) {
			a.Hosts[1].Records = []inbound.TLSARecord{{Usage: 1, Why: "usage 1"}}
		}, check.No, []string{"tlsa-usable " + second}},
		{"one usable TLSA record of two", func(a *inbound.Analysis) {
			a.Hosts[1].Records = append([]inbound.TLSARecord{{Usage: 0}}, a.Hosts[1].Records...)
		}, check.Yes, nil},
		{"the certificate of one server does not match", at(0, 1, func(s *inbound.Server) { s.DANE = no }), check.No, []string{"tlsa-match " + server2}},
		{"the match could not be tested", at(0, 1, func(s *inbound.Server) { s.DANE = untested }), check.Untested, []string{"tlsa-match " + server2}},
		{"certificates need no trusted CA", func(a *inbound.Analysis) {
			everyServer(a, func(s *inbound.Server) { s.Certificate.Trusted = no })
		}, check.Yes, nil},
		{"plaintext may be taken, too", func(a *inbound.Analysis) { everyServer(a, func(s *inbound.Server) { s.Mandatory = no }) }, check.Yes, nil},
	}
}

func noTLSA(h *inbound.Host) {
	h.TLSA, h.Records, h.DANE = signed(0), nil, no
	for i := range h.Servers {
		h.Servers[i].DANE = check.Result{}
	}
}

func mtastsCases() []standardCase {
	cert := func(change func(*probe.Certificate)) func(*inbound.Analysis) {
		return at(0, 0, func(s *inbound.Server) { change(s.Certificate) })
	}
	return []standardCase{
		{"no record", func(a *inbound.Analysis) { a.MTASTS.Published = no }, check.No, []string{"mta-sts-record example.org"}},
		{"the record could not be looked up", func(a *inbound.Analysis) { a.MTASTS.Published = untested }, check.Untested, []string{"mta-sts-record example.org"}},
		{"the policy is not there", func(a *inbound.Analysis) { a.MTASTS.Policy = no }, check.No, []string{"mta-sts-policy example.org"}},
		{"the policy could not be fetched from here", func(a *inbound.Analysis) { a.MTASTS.Policy = untested }, check.Untested, []string{"mta-sts-policy example.org"}},
		{"the policy host has a bad certificate", func(a *inbound.Analysis) { a.MTASTS.HTTPS, a.MTASTS.Policy = no, check.Result{} }, check.No, []string{"mta-sts-https example.org"}},
		{"mode testing", func(a *inbound.Analysis) { a.MTASTS.Mode = "testing" }, check.No, []string{"mta-sts-mode example.org"}},
		{"mode none", func(a *inbound.Analysis) { a.MTASTS.Mode = "none" }, check.No, []string{"mta-sts-mode example.org"}},
		{"a host is not listed", func(a *inbound.Analysis) { a.Hosts[1].Listed = no }, check.No, []string{"mta-sts-mx " + second}},
		{"TLS 1.1 at most", at(0, 0, func(s *inbound.Server) {
			*version(s, probe.TLS13), *version(s, probe.TLS12), *version(s, probe.TLS11) = no, no, check.Pass()
		}), check.No, []string{"tls-version " + server1}},
		{"not trusted", cert(func(c *probe.Certificate) { c.Trusted = no }), check.No, []string{"certificate " + server1}},
		{"another name", cert(func(c *probe.Certificate) { c.Name = no }), check.No, []string{"certificate " + server1}},
		{"expired", cert(func(c *probe.Certificate) { c.Dates = no }), check.No, []string{"certificate " + server1}},
		{"the certificate was not seen", at(0, 0, func(s *inbound.Server) { s.Certificate = nil }), check.Untested, []string{"certificate " + server1}},
		{"DNSSEC does not matter", func(a *inbound.Analysis) { a.MX, a.Hosts[0].A, a.Hosts[0].TLSA = unsigned(2), unsigned(2), unsigned(0) }, check.Yes, nil},
	}
}

func qualifiedCases() []standardCase {
	old := func(name string, r check.Result) func(*inbound.Analysis) {
		return at(1, 0, func(s *inbound.Server) {
			if at := version(s, name); at != nil {
				*at = r
				return
			}
			s.Versions = append(s.Versions, probe.Version{Version: name, Accepted: r})
		})
	}
	return []standardCase{
		{"MX not signed", func(a *inbound.Analysis) { a.MX = unsigned(2) }, check.No, []string{"mx-secure example.org"}},
		{"address not signed", func(a *inbound.Analysis) { a.Hosts[0].A = unsigned(2) }, check.No, []string{"address-secure " + first}},
		{"plaintext is taken, too", at(1, 0, func(s *inbound.Server) { s.Mandatory = no }), check.No, []string{"starttls-mandatory " + server3}},
		{"whether plaintext is taken could not be tested", at(1, 0, func(s *inbound.Server) { s.Mandatory = untested }), check.Untested, []string{"starttls-mandatory " + server3}},
		{"TLS 1.1 is accepted", old(probe.TLS11, check.Pass()), check.No, []string{"no-old-tls " + server3}},
		{"TLS 1.0 is accepted", old(probe.TLS10, check.Pass()), check.No, []string{"no-old-tls " + server3}},
		{"SSLv3 is accepted", old(probe.SSL3, check.Pass()), check.No, []string{"no-old-tls " + server3}},
		{"TLS 1.0 could not be tried", old(probe.TLS10, untested), check.Untested, []string{"no-old-tls " + server3}},
		{"TLS 1.2 alone", old(probe.TLS13, no), check.Yes, nil},
		{"TLS 1.3 alone", old(probe.TLS12, no), check.Yes, nil},
		{"neither", func(a *inbound.Analysis) { old(probe.TLS12, no)(a); old(probe.TLS13, no)(a) }, check.No, []string{"tls-version " + server3}},
		{"a suite without forward secrecy", at(1, 0, func(s *inbound.Server) { s.ForwardSecrecy = no }), check.No, []string{"forward-secrecy " + server3}},
		{"DANE without a trusted certificate", at(1, 0, func(s *inbound.Server) { s.Certificate.Trusted = no }), check.Yes, nil},
		{"a trusted certificate without DANE", func(a *inbound.Analysis) { noTLSA(&a.Hosts[1]) }, check.Yes, nil},
		{"a trusted certificate that does not match", at(1, 0, func(s *inbound.Server) { s.DANE = no }), check.Yes, nil},
		{"neither DANE nor a trusted certificate", at(1, 0, func(s *inbound.Server) { s.DANE, s.Certificate.Name = no, no }), check.No, []string{"authenticated " + server3}},
		{"DANE could not be tested, and the certificate is not trusted", at(1, 0, func(s *inbound.Server) { s.DANE, s.Certificate.Name = untested, no }), check.Untested, []string{"authenticated " + server3}},
		{"it does not match, and the certificate could not be checked", at(1, 0, func(s *inbound.Server) { s.DANE, s.Certificate.Trusted = no, untested }), check.Untested, []string{"authenticated " + server3}},
		{"MTA-STS does not matter", func(a *inbound.Analysis) { a.MTASTS.Published = no }, check.Yes, nil},
	}
}

func tlsCases() []standardCase {
	return []standardCase{
		{"TLS 1.2 and older", at(0, 0, func(s *inbound.Server) { *version(s, probe.TLS13), *version(s, probe.TLS10) = no, check.Pass() }), check.Yes, nil},
		{"TLS 1.0 alone", at(0, 0, func(s *inbound.Server) {
			*version(s, probe.TLS13), *version(s, probe.TLS12), *version(s, probe.TLS10) = no, no, check.Pass()
		}), check.No, []string{"tls-version " + server1}},
		{"no TLS 1.3, and TLS 1.2 could not be tried", at(0, 0, func(s *inbound.Server) {
			*version(s, probe.TLS13), *version(s, probe.TLS12) = no, untested
		}), check.Untested, []string{"tls-version " + server1}},
		{"versions were not tried", at(0, 0, func(s *inbound.Server) { s.Versions = nil }), check.Untested, []string{"tls-version " + server1}},
		{"certificates do not matter", func(a *inbound.Analysis) {
			everyServer(a, func(s *inbound.Server) { s.Certificate.Trusted, s.DANE = no, no })
		}, check.Yes, nil},
	}
}

func TestStandards(t *testing.T) {
	for id, cases := range map[string][]standardCase{DANE: daneCases(), MTASTS: mtastsCases(), Qualified: qualifiedCases(), TLS: tlsCases()} {
		for _, c := range append(generalCases(), cases...) {
			t.Run(id+": "+c.name, func(t *testing.T) {
				a := good()
				c.change(&a)
				got := Rate(a, goodOutbound()).Standard(id)
				if got.Met.Outcome != c.want {
					t.Errorf("met: %+v, want %q", got.Met, c.want)
				}
				var open []string
				for _, o := range got.Open {
					open = append(open, o.ID+" "+o.Subject)
					if o.Why == "" {
						t.Errorf("no reason: %+v", o)
					}
				}
				if diff := cmp.Diff(c.open, open); diff != "" {
					t.Errorf("open (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestLeftOutServersAreNamed(t *testing.T) {
	a := good()
	unreachable(&a.Hosts[0].Servers[1])
	want := []Open{{ID: Reachable, Outcome: check.Untested, Subject: server2, Why: "connection timed out"}}
	if diff := cmp.Diff(want, Rate(a, goodOutbound()).LeftOut); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
}

func TestRulesNameEveryRequirementOnce(t *testing.T) {
	rules := make(map[string]Rule)
	for _, r := range Rules() {
		key := r.Standard + " " + r.ID
		if _, twice := rules[key]; twice {
			t.Errorf("rule %s twice", key)
		}
		if r.Text == "" || r.Source == "" {
			t.Errorf("rule %s: %+v", key, r)
		}
		rules[key] = r
	}
	seen := make(map[string]bool)
	for id, cases := range map[string][]standardCase{DANE: daneCases(), MTASTS: mtastsCases(), Qualified: qualifiedCases(), TLS: tlsCases()} {
		for _, c := range append(generalCases(), cases...) {
			a := good()
			c.change(&a)
			for _, o := range Rate(a, goodOutbound()).Standard(id).Open {
				seen[id+" "+o.ID] = true
			}
		}
	}
	for key, r := range rules {
		if r.Standard != OfClass && r.Standard != OfMECSA && !seen[key] {
			t.Errorf("no case has %s open", key)
		}
	}
	for key := range seen {
		if _, ok := rules[key]; !ok {
			t.Errorf("no rule says %s", key)
		}
	}
	for _, m := range Rate(good(), goodOutbound()).Mechanisms {
		if _, ok := rules[OfMECSA+" "+m.ID]; !ok {
			t.Errorf("no rule for mechanism %s", m.ID)
		}
	}
}
