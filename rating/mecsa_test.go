package rating

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
)

func scoreOf(r Ratings, id string) Score {
	i := slices.IndexFunc(r.MECSA, func(s Score) bool { return s.ID == id })
	return r.MECSA[i]
}

func mechanismOf(r Ratings, id string) Mechanism {
	i := slices.IndexFunc(r.Mechanisms, func(m Mechanism) bool { return m.ID == id })
	return r.Mechanisms[i]
}

// withMechanisms is a domain, and its mail, that supports exactly these.
func withMechanisms(list []string) (inbound.Analysis, Outbound) {
	a, out := good(), goodOutbound()
	without := func(id string) bool { return !slices.Contains(list, id) }
	if without("starttls") {
		plain(&a.Hosts[0].Servers[0])
	}
	if without("x509") {
		everyServer(&a, func(s *inbound.Server) {
			if s.Certificate != nil {
				s.Certificate.Trusted = no
			}
		})
	}
	if without("dane") {
		noTLSA(&a.Hosts[0])
	}
	if without("mta-sts") {
		a.MTASTS.Mode = "testing"
	}
	if without("dnssec") {
		a.Zone, a.MX, a.TXT = unsigned(1), unsigned(2), unsigned(1)
	}
	if without("spf") {
		out.SPF = no
	}
	if without("dkim") {
		out.DKIM = no
	}
	if without("dmarc") {
		a.DMARC.Valid = no
	}
	if without("dmarc_policy") {
		a.DMARC.Enforced = no
	}
	if without("spf_policy") {
		a.SPF.Strict = no
	}
	return a, out
}

func TestEveryRowOfTheTable(t *testing.T) {
	rows := table(mecsaScores)
	if lines := strings.Count(strings.TrimSpace(mecsaScores), "\n"); len(rows) != lines || lines < 40 {
		t.Fatalf("%d rows of %d lines", len(rows), lines)
	}
	for _, r := range rows {
		t.Run(r.score+": "+strings.Join(r.mechanisms, " "), func(t *testing.T) {
			a, out := withMechanisms(r.mechanisms)
			want := Score{ID: r.score, HalfStars: r.halfStars, Mechanisms: r.mechanisms}
			if diff := cmp.Diff(want, scoreOf(Rate(a, out), r.score)); diff != "" {
				t.Errorf("score (-want +got):\n%s", diff)
			}
		})
	}
}

func TestScoreOfASetThatIsNotListed(t *testing.T) {
	cases := []struct {
		name, score, mechanisms string
		want                    int
	}{
		{"nothing", Confidential, "", 0},
		{"no listed subset", Confidential, "dane dnssec x509 mta-sts", 0},
		{"best of several subsets", Confidential, "dane mta-sts starttls", 6},
		{"three of four", Confidential, "dnssec mta-sts starttls x509", 10},
		{"the policy of SPF alone", Phishing, "spf_policy", 0},
		{"DNSSEC alone", Phishing, "dnssec", 0},
		{"all but DKIM", Phishing, "dmarc dmarc_policy dnssec spf spf_policy", 8},
		{"the policy of DMARC without DKIM", Integrity, "dmarc dmarc_policy dnssec", 4},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, out := withMechanisms(strings.Fields(c.mechanisms))
			if got := scoreOf(Rate(a, out), c.score); got.HalfStars != c.want {
				t.Errorf("%d half stars, want %d: %+v", got.HalfStars, c.want, got)
			}
		})
	}
}

func TestTheTableIsMonotonic(t *testing.T) {
	rows := table(mecsaScores)
	for _, small := range rows {
		for _, large := range rows {
			within := !slices.ContainsFunc(small.mechanisms, func(m string) bool { return !slices.Contains(large.mechanisms, m) })
			if small.score == large.score && within && small.halfStars > large.halfStars {
				t.Errorf("%v scores %d, but %v only %d", small.mechanisms, small.halfStars, large.mechanisms, large.halfStars)
			}
		}
	}
}

func TestEightyPercent(t *testing.T) {
	cases := []struct {
		succeeded, tested int
		want              bool
	}{
		{0, 0, false},
		{0, 1, false},
		{1, 1, true},
		{1, 2, false},
		{2, 3, false},
		{3, 4, false},
		{4, 5, true},
		{7, 9, false},
		{8, 10, true},
		{79, 100, false},
		{80, 100, true},
		{81, 100, true},
		{799, 1000, false},
		{800, 1000, true},
		{4, 6, false},
		{5, 6, true},
	}
	for _, c := range cases {
		got := tally{c.succeeded, c.tested}.mechanism("x", false)
		if got.Supported != c.want {
			t.Errorf("%d of %d: supported is %v", c.succeeded, c.tested, got.Supported)
		}
	}
}

// hosts are good ones, some of them changed.
func hosts(all, changed int, change func(*inbound.Host)) inbound.Analysis {
	a := good()
	a.Hosts = nil
	for i := range all {
		h := goodHost("mx"+string(rune('a'+i))+".example.org", 10, "192.0.2.1", "192.0.2.2")
		if i < changed {
			change(&h)
		}
		a.Hosts = append(a.Hosts, h)
	}
	return a
}

func TestMechanisms(t *testing.T) {
	plainHost := func(h *inbound.Host) { plain(&h.Servers[1]) }
	dead := func(h *inbound.Host) { unreachable(&h.Servers[0]); unreachable(&h.Servers[1]) }
	seen := goodOutbound()
	cases := []struct {
		name string
		a    inbound.Analysis
		out  Outbound
		want Mechanism
	}{
		// The example of the report of 2018, §4: 66.6 %.
		{"two hosts with STARTTLS, one that sends without", hosts(2, 0, nil), Outbound{Hosts: 1}, Mechanism{ID: "starttls", Succeeded: 2, Tested: 3}},
		{"four hosts with STARTTLS, one that sends without", hosts(4, 0, nil), Outbound{Hosts: 1}, Mechanism{ID: "starttls", Succeeded: 4, Tested: 5, Supported: true}},
		{"one of four receives without", hosts(4, 1, plainHost), seen, Mechanism{ID: "starttls", Succeeded: 4, Tested: 5, Supported: true}},
		{"two of four receive without", hosts(4, 2, plainHost), seen, Mechanism{ID: "starttls", Succeeded: 3, Tested: 5}},
		{"hosts that could not be reached are left out", hosts(4, 3, dead), seen, Mechanism{ID: "starttls", Succeeded: 2, Tested: 2, Supported: true}},
		{"the sending direction is missing", hosts(1, 0, nil), Outbound{}, Mechanism{ID: "starttls", Succeeded: 1, Tested: 1, Supported: true, Partial: true}},
		{"the receiving direction is missing", hosts(1, 1, dead), seen, Mechanism{ID: "starttls", Succeeded: 1, Tested: 1, Supported: true, Partial: true}},
		{"three tests a host", hosts(2, 1, func(h *inbound.Host) { h.Servers[0].Certificate.Trusted = no }), seen, Mechanism{ID: "x509", Succeeded: 5, Tested: 6, Supported: true}},
		{"two bad answers", hosts(2, 2, func(h *inbound.Host) { h.Servers[1].Certificate.Dates = no }), seen, Mechanism{ID: "x509", Succeeded: 4, Tested: 6}},
		{"no STARTTLS, no certificate", hosts(2, 1, plainHost), seen, Mechanism{ID: "x509", Succeeded: 3, Tested: 6}},
		{"a certificate that was not seen", hosts(2, 1, func(h *inbound.Host) { h.Servers[0].Certificate, h.Servers[1].Certificate = nil, nil }), seen, Mechanism{ID: "x509", Succeeded: 3, Tested: 3, Supported: true}},
		{"DANE at four of five hosts", hosts(5, 1, noTLSA), seen, Mechanism{ID: "dane", Succeeded: 4, Tested: 5, Supported: true}},
		{"DANE at three of four hosts", hosts(4, 1, noTLSA), seen, Mechanism{ID: "dane", Succeeded: 3, Tested: 4}},
		{"TLSA could not be looked up", hosts(4, 1, func(h *inbound.Host) { h.TLSA = inbound.RRset{Status: dnssec.Error} }), seen, Mechanism{ID: "dane", Succeeded: 3, Tested: 3, Supported: true}},
		{"a server that does not match", hosts(4, 1, func(h *inbound.Host) { h.Servers[1].DANE = no }), seen, Mechanism{ID: "dane", Succeeded: 3, Tested: 4}},
		{"MTA-STS lists four of five", hosts(5, 1, func(h *inbound.Host) { h.Listed = no }), seen, Mechanism{ID: "mta-sts", Succeeded: 4, Tested: 5, Supported: true}},
		{"DNSSEC but for one TLSA RRset of five tests", hosts(2, 1, func(h *inbound.Host) { h.TLSA = unsigned(1) }), seen, Mechanism{ID: "dnssec", Succeeded: 4, Tested: 5, Supported: true}},
		{"DNSSEC does not count TLSA records that are not there", hosts(2, 2, func(h *inbound.Host) { h.TLSA = unsigned(0) }), seen, Mechanism{ID: "dnssec", Succeeded: 3, Tested: 3, Supported: true}},
	}
	for _, c := range cases {
		t.Run(c.want.ID+": "+c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, mechanismOf(Rate(c.a, c.out), c.want.ID)); diff != "" {
				t.Errorf("mechanism (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMechanismsOfRecordsAndMail(t *testing.T) {
	cases := []struct {
		name   string
		change func(a *inbound.Analysis, out *Outbound)
		want   Mechanism
	}{
		{"record and mail", func(*inbound.Analysis, *Outbound) {}, Mechanism{ID: "spf", Succeeded: 2, Tested: 2, Supported: true}},
		{"the mail fails", func(_ *inbound.Analysis, o *Outbound) { o.SPF = no }, Mechanism{ID: "spf", Succeeded: 1, Tested: 2}},
		{"the record has errors", func(a *inbound.Analysis, _ *Outbound) { a.SPF.Valid = no }, Mechanism{ID: "spf", Succeeded: 1, Tested: 2}},
		{"no mail was seen", func(_ *inbound.Analysis, o *Outbound) { *o = Outbound{} }, Mechanism{ID: "spf", Succeeded: 1, Tested: 1, Supported: true, Partial: true}},
		{"no record", func(a *inbound.Analysis, _ *Outbound) { a.SPF.Published, a.SPF.Strict = no, check.Result{} }, Mechanism{ID: "spf_policy", Tested: 1}},
		{"no mail was seen", func(_ *inbound.Analysis, o *Outbound) { *o = Outbound{} }, Mechanism{ID: "dkim", Partial: true}},
		{"not signed", func(_ *inbound.Analysis, o *Outbound) { o.DKIM = no }, Mechanism{ID: "dkim", Tested: 1}},
		{"could not be looked up", func(a *inbound.Analysis, _ *Outbound) { a.DMARC.Published = untested }, Mechanism{ID: "dmarc", Partial: true}},
		{"no record", func(a *inbound.Analysis, _ *Outbound) {
			a.DMARC.Published, a.DMARC.Valid, a.DMARC.Enforced = no, check.Result{}, check.Result{}
		}, Mechanism{ID: "dmarc_policy", Tested: 1}},
		{"policy none", func(a *inbound.Analysis, _ *Outbound) { a.DMARC.Enforced = no }, Mechanism{ID: "dmarc_policy", Tested: 1}},
	}
	for _, c := range cases {
		t.Run(c.want.ID+": "+c.name, func(t *testing.T) {
			a, out := good(), goodOutbound()
			c.change(&a, &out)
			if diff := cmp.Diff(c.want, mechanismOf(Rate(a, out), c.want.ID)); diff != "" {
				t.Errorf("mechanism (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPartialScores(t *testing.T) {
	partial := func(r Ratings) (out []string) {
		for _, s := range r.MECSA {
			if s.Partial {
				out = append(out, s.ID)
			}
		}
		return out
	}
	if got := partial(Rate(good(), goodOutbound())); got != nil {
		t.Errorf("everything tested: %q are partial", got)
	}
	out := goodOutbound()
	out.DKIM = untested
	if diff := cmp.Diff([]string{Phishing, Integrity}, partial(Rate(good(), out))); diff != "" {
		t.Errorf("DKIM not tested (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{Confidential, Phishing, Integrity}, partial(Rate(good(), Outbound{}))); diff != "" {
		t.Errorf("no mail seen (-want +got):\n%s", diff)
	}
	a := good()
	a.Route, a.Hosts = inbound.RouteNull, nil
	if got := partial(Rate(a, goodOutbound())); got != nil {
		t.Errorf("no mail is taken, so no host is missing: %q are partial", got)
	}
}
