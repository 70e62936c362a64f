//go:build linux

package lab_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/rating"
)

// class is one row of a table of a study, a domain of the lab that is of it, and
// how an analysis shows that.
type class struct {
	row, domain string
	shown       func(inbound.Analysis) bool
}

// nuremberg are the rows of tables 1 to 5 of Lange, Chang, Fiedler and Petrlic, "An
// Email a Day Could Give Your Health Data Away" (2022). No server of Debian speaks
// SSLv2 or SSLv3: what they are to the prober, its own tests tell.
func nuremberg() []class {
	highest := func(one, all string) func(inbound.Analysis) bool {
		return func(a inbound.Analysis) bool {
			v := a.TLSVersions()
			return v.HighestOne == one && v.HighestAll == all
		}
	}
	lowest := func(one, all string) func(inbound.Analysis) bool {
		return func(a inbound.Analysis) bool {
			v := a.TLSVersions()
			return v.LowestOne == one && v.LowestAll == all
		}
	}
	dane := func(one, all check.Outcome) func(inbound.Analysis) bool {
		return func(a inbound.Analysis) bool {
			some := slices.ContainsFunc(a.Hosts, func(h inbound.Host) bool { return daneHost(h) })
			return some == (one == check.Yes) && rating.Rate(a, rating.Outbound{}).Standard(rating.DANE).Met.Outcome == all
		}
	}
	return []class{
		{"1 no MX records", "implicit.example", func(a inbound.Analysis) bool { return a.Route == inbound.RouteImplicit }},
		{"1 no MX records", "nomx.example", func(a inbound.Analysis) bool { return a.Route == inbound.RouteNone }},
		{"1 no valid test results, connection problems", "timeout.example", unreached},
		{"1 no valid test results, connection problems", "refused.example", unreached},
		{"1 no valid test results, blocklist", "blocklist.example", unreached},
		{"1 valid test results", "both.example", func(a inbound.Analysis) bool { return !unreached(a) }},
		{"2 no STARTTLS, at least one and all", "plain.example", highest(inbound.NoTLS, inbound.NoTLS)},
		{"2 no STARTTLS, all", "oneplain.example", highest(probe.TLS13, inbound.NoTLS)},
		{"2 TLS 1", "tls10.example", highest(probe.TLS10, probe.TLS10)},
		{"2 TLS 1.1", "tls11.example", highest(probe.TLS11, probe.TLS11)},
		{"2 TLS 1.2", "tls12.example", highest(probe.TLS12, probe.TLS12)},
		{"2 TLS 1.3", "tls13.example", highest(probe.TLS13, probe.TLS13)},
		{"2 TLS 1.3 at least one, TLS 1.2 all", "uneven.example", highest(probe.TLS13, probe.TLS12)},
		{"3 TLS 1", "old.example", lowest(probe.TLS10, probe.TLS10)},
		{"3 TLS 1.1", "tls11.example", lowest(probe.TLS11, probe.TLS11)},
		{"3 TLS 1.2", "dane.example", lowest(probe.TLS12, probe.TLS12)},
		{"3 TLS 1.3", "tls13.example", lowest(probe.TLS13, probe.TLS13)},
		{"3 TLS 1 at least one, TLS 1.2 all", "uneven.example", lowest(probe.TLS10, probe.TLS12)},
		{"4 DANE ok, all", "ta.example", dane(check.Yes, check.Yes)},
		{"4 DANE ok, at least one", "half.example", dane(check.Yes, check.No)},
		{"4 DANE not ok", "wrong.example", dane(check.No, check.No)},
		{"5 minimum TLS 1, maximum TLS 1.3, no DANE", "old.example", func(a inbound.Analysis) bool {
			return highest(probe.TLS13, probe.TLS13)(a) && lowest(probe.TLS10, probe.TLS10)(a) && dane(check.No, check.No)(a)
		}},
		{"5 minimum and maximum TLS 1.2, no DANE", "nofs.example", func(a inbound.Analysis) bool {
			return highest(probe.TLS12, probe.TLS12)(a) && lowest(probe.TLS12, probe.TLS12)(a) && dane(check.No, check.No)(a)
		}},
	}
}

func unreached(a inbound.Analysis) bool {
	for _, h := range a.Hosts {
		for _, s := range h.Servers {
			if s.Reached.OK() {
				return false
			}
		}
	}
	return len(a.Hosts) > 0
}

func daneHost(h inbound.Host) bool {
	return len(h.Servers) > 0 && !slices.ContainsFunc(h.Servers, func(s inbound.Server) bool { return !s.DANE.OK() })
}

// finland are the rows of tables 11 to 19 of the thesis about .fi (JAMK, 2022).
func finland() []class {
	mx := func(s dnssec.Status) func(inbound.Analysis) bool {
		return func(a inbound.Analysis) bool { return a.MX.Status == s }
	}
	hosts := func(with, without bool) func(inbound.Analysis) bool {
		return func(a inbound.Analysis) bool {
			return slices.ContainsFunc(a.Hosts, func(h inbound.Host) bool { return h.TLSA.Count > 0 }) == with &&
				slices.ContainsFunc(a.Hosts, func(h inbound.Host) bool { return h.TLSA.Count == 0 }) == without
		}
	}
	sts := func(published, policy, https check.Outcome, mode string) func(inbound.Analysis) bool {
		return func(a inbound.Analysis) bool {
			m := a.MTASTS
			return m.Published.Outcome == published && m.Policy.Outcome == policy && m.HTTPS.Outcome == https && m.Mode == mode
		}
	}
	all := func(dane, mtasts, tlsrpt bool) func(inbound.Analysis) bool {
		return func(a inbound.Analysis) bool {
			r := rating.Rate(a, rating.Outbound{})
			return r.Standard(rating.DANE).Met.OK() == dane && a.MTASTS.Enforced() == mtasts && (a.TLSRPT.Published.OK() && a.TLSRPT.Valid.OK()) == tlsrpt
		}
	}
	const yes, no, untested = check.Yes, check.No, check.Untested
	return []class{
		{"11 DNSSEC configured", "dane.example", mx(dnssec.Secure)},
		{"11 DNSSEC not configured", "insecure.example", mx(dnssec.Insecure)},
		{"11 DNSSEC validation failed", "wrongds.example", mx(dnssec.Bogus)},
		{"11 DNSSEC validation failed", "expired.example", mx(dnssec.Bogus)},
		{"11 MX query timed out", "dead.example", mx(dnssec.Error)},
		{"11 no MX records", "nomx.example", func(a inbound.Analysis) bool { return a.MX.Count == 0 && a.MX.Status == dnssec.Secure }},
		{"11 null MX", "nullmx.example", func(a inbound.Analysis) bool { return a.Route == inbound.RouteNull }},
		{"11 TLSA query timed out", "tlsadead.example", func(a inbound.Analysis) bool { return a.Hosts[0].TLSA.Status == dnssec.Error }},
		{"11 no TLSA records", "plain.example", hosts(false, true)},
		{"11 TLSA records for all MX", "ta.example", hosts(true, false)},
		{"11 TLSA records for some MX", "half.example", hosts(true, true)},
		{"11 invalid TLSA record", "wrong.example", func(a inbound.Analysis) bool { return a.Hosts[0].Servers[0].DANE.Failed() }},
		{"12 DANE", "dane.example", all(true, false, false)},
		{"13 query timed out", "sts-recorddead.example", sts(untested, yes, yes, "enforce")},
		{"13 no mta-sts address", "sts-nohost.example", sts(yes, no, "", "")},
		{"13 TCP connection failed", "sts-refused.example", sts(yes, untested, untested, "")},
		{"13 HTTP error", "sts-notfound.example", sts(yes, no, yes, "")},
		{"13 connection timeout", "sts-timeout.example", sts(yes, untested, untested, "")},
		{"13 TLS handshake failed", "sts-plain.example", sts(yes, untested, untested, "")},
		{"13 no reply", "sts-silent.example", sts(yes, untested, yes, "")},
		{"13 certificate not of a trusted CA", "sts-self.example", sts(yes, no, no, "")},
		{"13 certificate for another name", "sts-name.example", sts(yes, no, no, "")},
		{"13 invalid policy", "sts-page.example", sts(yes, no, yes, "")},
		{"13 redirect to a landing page", "sts-redirect.example", sts(yes, no, yes, "")},
		{"13 mode testing", "sts-testing.example", sts(yes, yes, yes, "testing")},
		{"13 mode enforce", "sts.example", sts(yes, yes, yes, "enforce")},
		{"14 record query timeout", "sts-recorddead.example", sts(untested, yes, yes, "enforce")},
		{"14 no record", "sts-norecord.example", sts(no, yes, yes, "enforce")},
		{"14 invalid record", "sts-badrecord.example", sts(no, yes, yes, "enforce")},
		{"14 valid record", "sts.example", sts(yes, yes, yes, "enforce")},
		{"15 only a valid policy", "sts-norecord.example", sts(no, yes, yes, "enforce")},
		{"15 only a valid record", "sts-notfound.example", sts(yes, no, yes, "")},
		{"16 DANE and MTA-STS", "sts-only.example", all(true, true, false)},
		{"17 DANE and TLS-RPT", "rpt.example", all(true, false, true)},
		{"17 DANE without TLS-RPT", "dane.example", all(true, false, false)},
		{"18 MTA-STS and TLS-RPT", "sts-rpt.example", all(false, true, true)},
		{"18 MTA-STS without TLS-RPT", "sts-nodane.example", all(false, true, false)},
		{"19 DANE, MTA-STS and TLS-RPT", "both.example", all(true, true, true)},
		{"19 DANE and MTA-STS without TLS-RPT", "sts-only.example", all(true, true, false)},
	}
}

// testStudies finds each class of the studies' tables in the analysis of a domain
// that is of it.
func (r *reception) testStudies(t *testing.T) {
	for study, classes := range map[string][]class{"Nuremberg": nuremberg(), "Finland": finland()} {
		for _, c := range classes {
			t.Run(study+" "+strings.ReplaceAll(c.row, " ", "_")+" "+c.domain, func(t *testing.T) {
				a, ok := r.analyses[c.domain]
				if !ok {
					t.Fatal("no such domain in the lab")
				}
				if !c.shown(a) {
					t.Errorf("not shown: %+v", a)
				}
			})
		}
	}
}
