package report

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dmarc"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/inbound/records"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/rating"
	"github.com/tlsink/tlsink/tlspolicy"
)

// withoutRemedy are the findings that are good news, or whose step is that of
// the verdict which they come with.
var withoutRemedy = []string{
	policyinfer.FindingLazy, policyinfer.FindingUnlistedMX, policyinfer.FindingAlsoSTS, policyinfer.FindingMixed,
	policyinfer.FindingOptedOut, policyinfer.FindingRequireTLS, policyinfer.FindingUnverifiable, policyinfer.FindingBroken, policyinfer.FindingContradictory,
}

// Each verdict and each finding has a next step, in each language.
func TestEveryVerdictAndFindingHasAStep(t *testing.T) {
	for _, l := range []Language{English, German} {
		for _, w := range table {
			for _, state := range []string{StateRunning, StateAcked, StateClosed} {
				s := ofVerdict(Input{State: state}, w).in(Input{Service: "sink.example", Language: l, State: state})
				if s.Text == "" || strings.ContainsAny(s.Text+s.Title+s.Ask, "{}%") {
					t.Errorf("%s, %s: %q", w.key, state, s)
				}
			}
		}
	}
	for _, id := range policyinfer.FindingIDs() {
		has := slices.ContainsFunc(findingRemedies(), func(r remedy) bool { return r.key == id })
		if has == slices.Contains(withoutRemedy, id) {
			t.Errorf("finding %s has a step: %v", id, has)
		}
	}
}

// What is weak names settings for both mail servers, and what to ask.
func TestWeakVerdictsNameSettings(t *testing.T) {
	for _, r := range weakRemedies() {
		if r.ask == (phrase{}) {
			t.Errorf("%s: nothing to ask a provider", r.key)
		}
		var names []string
		for _, s := range r.settings {
			names = append(names, s.Name)
		}
		all := strings.Join(names, " ")
		if !strings.Contains(all, "Postfix") || !strings.Contains(all, "Exim") {
			t.Errorf("%s: settings of %s only", r.key, all)
		}
	}
}

// sound is a domain with nothing left to do.
func sound() inbound.Analysis {
	pass := check.Pass()
	server := inbound.Server{Address: netip.MustParseAddr("192.0.2.1"), DANE: pass, Result: probe.Result{
		Reached: pass, StartTLS: pass, Mandatory: pass, ForwardSecrecy: pass,
		Versions: []probe.Version{
			{Version: probe.TLS13, Accepted: pass},
			{Version: probe.TLS12, Accepted: pass},
			{Version: probe.TLS11, Accepted: check.Fail("refused")},
			{Version: probe.TLS10, Accepted: check.Fail("refused")},
		},
		Certificate: &probe.Certificate{Trusted: pass, Name: pass, Dates: pass},
	}}
	signed := inbound.RRset{Status: dnssec.Secure, Count: 1}
	return inbound.Analysis{
		Domain: "example.org", Started: time.Date(2026, 11, 21, 18, 45, 0, 0, time.UTC), Route: inbound.RouteMX, Zone: signed, MX: signed, TXT: signed,
		Hosts: []inbound.Host{{
			Name: "mx1.example.org", A: signed, AAAA: inbound.RRset{Status: dnssec.Secure}, TLSA: signed, TLSAName: "mx1.example.org",
			Records: []inbound.TLSARecord{{Usage: 3, Selector: 1, MatchingType: 1, Usable: true}}, DANE: pass, Listed: pass, Servers: []inbound.Server{server},
		}},
		MTASTS: records.MTASTS{Published: pass, Policy: pass, HTTPS: pass, ID: "20261121184500", Mode: "enforce", MX: []string{"mx1.example.org"}},
		TLSRPT: records.TLSRPT{Published: pass, Valid: pass},
		SPF:    records.SPF{Published: pass, Valid: pass, Strict: pass, Record: "v=spf1 mx -all"},
		DMARC:  records.DMARC{Published: pass, Valid: pass, Enforced: pass, Policy: "reject"},
	}
}

func stepsFor(a inbound.Analysis, l Language) []step {
	r := rating.Rate(a, rating.Outbound{})
	return inboundAdvice(Input{Inbound: &a, Ratings: &r, Language: l})
}

func TestSoundDomainHasNothingToDo(t *testing.T) {
	if got := stepsFor(sound(), English); len(got) > 0 {
		t.Errorf("steps for a domain without weakness: %q", got)
	}
	if got := inboundAdvice(Input{}); len(got) > 0 {
		t.Errorf("steps without an analysis: %q", got)
	}
}

var no = check.Fail("it is so")

// weaknesses are one for each requirement of a standard, and those of records
// that no standard asks for, with a line or word that the step must have.
var weaknesses = []struct {
	id     string // of a requirement, or what is weak
	change func(a *inbound.Analysis)
	want   string
}{
	{rating.MXSecure, func(a *inbound.Analysis) { a.MX.Status = dnssec.Insecure }, "delv example.org MX"},
	{rating.AddressSecure, func(a *inbound.Analysis) { a.Hosts[0].A.Status = dnssec.Insecure }, "delv mx1.example.org A"},
	{rating.TLSAPresent, func(a *inbound.Analysis) { a.Hosts[0].TLSA.Count, a.Hosts[0].Records = 0, nil }, "_25._tcp.mx1.example.org. IN TLSA 3 1 1 <hash>"},
	{rating.TLSAUsable, func(a *inbound.Analysis) { a.Hosts[0].Records[0] = inbound.TLSARecord{Why: "usage 0"} }, "3 1 1 <hash>"},
	{rating.TLSAMatch, func(a *inbound.Analysis) { a.Hosts[0].Servers[0].DANE = no }, "openssl x509"},
	{rating.StartTLS, func(a *inbound.Analysis) {
		a.Hosts[0].Servers[0].Result = probe.Result{Reached: check.Pass(), StartTLS: no, Mandatory: no}
	}, "tls_advertise_hosts = *"},
	{rating.Mandatory, func(a *inbound.Analysis) { a.Hosts[0].Servers[0].Mandatory = no }, "smtpd_tls_security_level = encrypt"},
	{rating.TLSVersion, func(a *inbound.Analysis) {
		v := a.Hosts[0].Servers[0].Versions
		v[0].Accepted, v[1].Accepted, v[2].Accepted = no, no, check.Pass()
	}, "RFC 8996"},
	{rating.NoOldTLS, func(a *inbound.Analysis) { a.Hosts[0].Servers[0].Versions[3].Accepted = check.Pass() }, "smtpd_tls_mandatory_protocols = >=TLSv1.2"},
	{rating.ForwardSecrecy, func(a *inbound.Analysis) { a.Hosts[0].Servers[0].ForwardSecrecy = no }, "tls_require_ciphers = NORMAL:-RSA"},
	{rating.Authenticated, func(a *inbound.Analysis) { a.Hosts[0].Servers[0].Certificate.Name, a.Hosts[0].Servers[0].DANE = no, no }, "3 1 1 <hash>"},
	{rating.Certificate, func(a *inbound.Analysis) { a.Hosts[0].Servers[0].Certificate.Trusted = no }, "smtpd_tls_chain_files"},
	{rating.PolicyRecord, func(a *inbound.Analysis) { a.MTASTS = records.MTASTS{Published: no} }, `_mta-sts.example.org. IN TXT "v=STSv1; id=20261121184500"`},
	{rating.PolicyHTTPS, func(a *inbound.Analysis) { a.MTASTS.HTTPS, a.MTASTS.Policy = no, no }, "https://mta-sts.example.org/.well-known/mta-sts.txt"},
	{rating.PolicyFile, func(a *inbound.Analysis) { a.MTASTS.Policy = no }, "mx: mx1.example.org"},
	{rating.PolicyMode, func(a *inbound.Analysis) { a.MTASTS.Mode = "testing" }, "mode: enforce"},
	{rating.PolicyLists, func(a *inbound.Analysis) { a.Hosts[0].Listed = no }, "id=20261121184501"},
	{"bogus MX records", func(a *inbound.Analysis) { a.MX.Status = dnssec.Bogus }, "delv example.org MX"},
	{"bogus TLSA records", func(a *inbound.Analysis) { a.Hosts[0].TLSA.Status = dnssec.Bogus }, "delv _25._tcp.mx1.example.org TLSA"},
	{"alias as MX", func(a *inbound.Analysis) {
		a.Faults = []inbound.Fault{{ID: inbound.FaultAlias, Subject: "mx1.example.org", Text: "x"}}
	}, "CNAME"},
	{"no SPF record", func(a *inbound.Analysis) { a.SPF = records.SPF{Published: no} }, `example.org. IN TXT "v=spf1 mx ~all"`},
	{"invalid SPF record", func(a *inbound.Analysis) { a.SPF.Valid = no }, "10 DNS"},
	{"loose SPF record", func(a *inbound.Analysis) { a.SPF.Strict, a.SPF.Record = no, "v=spf1 mx include:_spf.example.net ?all" }, `"v=spf1 mx include:_spf.example.net ~all"`},
	{"no DMARC record", func(a *inbound.Analysis) { a.DMARC = records.DMARC{Published: no} }, `_dmarc.example.org. IN TXT "v=DMARC1; p=none; rua=mailto:postmaster@example.org"`},
	{"DMARC without consequences", func(a *inbound.Analysis) { a.DMARC.Enforced, a.DMARC.Reports = no, []string{"mailto:d@example.org"} }, `"v=DMARC1; p=quarantine; rua=mailto:d@example.org"`},
	{"no TLS-RPT record", func(a *inbound.Analysis) { a.TLSRPT = records.TLSRPT{Published: no} }, `_smtp._tls.example.org. IN TXT "v=TLSRPTv1; rua=mailto:postmaster@example.org"`},
}

// Each weakness has a step with settings or records, and a question for a
// provider, in each language.
func TestEveryWeaknessHasAStep(t *testing.T) {
	for _, w := range weaknesses {
		for _, l := range []Language{English, German} {
			a := sound()
			w.change(&a)
			steps := stepsFor(a, l)
			var all strings.Builder
			for _, s := range steps {
				if s.Title == "" || s.Text == "" || s.Ask == "" || strings.Contains(s.Title+s.Text+s.Ask, "%!") {
					t.Errorf("%s in %q: something is missing: %q", w.id, l, s)
				}
				all.WriteString(s.Title + s.Text + s.Ask)
				for _, set := range s.Settings {
					all.WriteString(set.Name + "\n" + strings.Join(set.Lines, "\n"))
				}
			}
			if !strings.Contains(all.String(), w.want) {
				t.Errorf("%s in %q: no %q in the steps %q", w.id, l, w.want, steps)
			}
		}
	}
}

// A requirement that is added needs a step.
func TestEveryRequirementHasAStep(t *testing.T) {
	neverFail := []string{rating.Complete, rating.Reachable} // they are met, or untested
	for _, rule := range rating.Rules() {
		if rule.Standard == rating.OfClass || rule.Standard == rating.OfMECSA || slices.Contains(neverFail, rule.ID) {
			continue
		}
		i := slices.IndexFunc(weaknesses, func(w struct {
			id     string
			change func(a *inbound.Analysis)
			want   string
		},
		) bool {
			return w.id == rule.ID
		})
		if i < 0 {
			t.Errorf("requirement %s has no step that is tested", rule.ID)
			continue
		}
		a := sound()
		weaknesses[i].change(&a)
		r := rating.Rate(a, rating.Outbound{})
		if !slices.ContainsFunc(r.Standards, func(s rating.Standard) bool {
			return slices.ContainsFunc(s.Open, func(o rating.Open) bool { return o.ID == rule.ID && o.Outcome == check.No })
		}) {
			t.Errorf("the test of %s does not make it fail", rule.ID)
		}
	}
}

// What could not be tested is no weakness.
func TestUntestedGivesNoStep(t *testing.T) {
	skip := check.Skip("timed out")
	for name, change := range map[string]func(a *inbound.Analysis){
		"server": func(a *inbound.Analysis) {
			a.Hosts[0].Servers[0] = inbound.Server{Result: probe.Result{Reached: skip, StartTLS: skip}}
		},
		"DNSSEC": func(a *inbound.Analysis) {
			a.MX.Status, a.Hosts[0].A.Status, a.Hosts[0].TLSA.Status = dnssec.Error, dnssec.Error, dnssec.Error
		},
		"records": func(a *inbound.Analysis) {
			a.SPF, a.DMARC = records.SPF{Published: skip}, records.DMARC{Published: skip}
		},
		"policy": func(a *inbound.Analysis) {
			a.MTASTS, a.TLSRPT = records.MTASTS{Published: skip}, records.TLSRPT{Published: skip}
		},
		"route": func(a *inbound.Analysis) { a.Route, a.SPF.Published = inbound.RouteUnknown, no },
	} {
		a := sound()
		change(&a)
		if got := stepsFor(a, English); len(got) > 0 {
			t.Errorf("%s: steps %q", name, got)
		}
	}
}

// A domain with every weakness gets no more than the first ones, and those that
// keep mail from arriving come first.
func TestStepsAreBoundedAndOrdered(t *testing.T) {
	a := sound()
	for _, w := range weaknesses {
		if w.id != rating.StartTLS && w.id != rating.TLSAPresent { // which hide the rest
			w.change(&a)
		}
	}
	steps := stepsFor(a, English)
	if len(steps) != maxSteps || steps[0].Title != "Repair DNSSEC" {
		t.Errorf("%d steps, the first is %q", len(steps), steps[0].Title)
	}
}

// A domain that takes no mail still needs records about what it sends.
func TestNullMXHasStepsOfSendersOnly(t *testing.T) {
	a := sound()
	a.Route, a.Hosts, a.SPF, a.TLSRPT, a.MTASTS = inbound.RouteNull, nil, records.SPF{Published: no}, records.TLSRPT{Published: no}, records.MTASTS{Published: no}
	steps := stepsFor(a, English)
	if len(steps) != 1 || steps[0].Title != "Publish an SPF record" {
		t.Errorf("steps %q", steps)
	}
}

// Lines are copied into shells and zones, so nothing that a stranger chose gets
// into one unless it is harmless.
func TestHostileNamesAreNotInLines(t *testing.T) {
	harmless := regexp.MustCompile(`^[A-Za-z0-9_.:;,/"<>|=+!~@ -]*$`)
	a := sound()
	evil := "mx`reboot`.example.org"
	a.Hosts = append(a.Hosts, a.Hosts[0])
	a.Hosts[1].Name, a.Hosts[1].TLSA, a.Hosts[1].Records = evil, inbound.RRset{Status: dnssec.Secure}, nil
	a.Hosts[1].A.Status = dnssec.Bogus
	a.MTASTS.Mode = "testing"
	a.SPF.Strict, a.SPF.Record = no, "v=spf1 $(reboot) ?all"
	a.DMARC.Enforced, a.DMARC.Reports = no, []string{"mailto:`reboot`@example.org"}
	a.Faults = []inbound.Fault{{ID: inbound.FaultNotAHost, Subject: evil + "\x1b[31m", Text: "x"}}
	steps := stepsFor(a, English)
	if len(steps) < 4 {
		t.Fatalf("only %d steps", len(steps))
	}
	for _, s := range steps {
		for _, set := range s.Settings {
			for _, line := range set.Lines {
				if strings.Contains(line, "reboot") || !harmless.MatchString(line) {
					t.Errorf("line %q", line)
				}
			}
		}
		if strings.Contains(s.Text, "\x1b") {
			t.Errorf("text %q", s.Text)
		}
	}
	evilDomain := sound()
	evilDomain.Domain, evilDomain.SPF.Published = "$(reboot).example.org", no
	if got := stepsFor(evilDomain, English); got != nil {
		t.Errorf("steps for a domain that is none: %q", got)
	}
}

// What is not the domain's own is up to its operator, and a policy must not
// forget a host that was not looked at.
func TestHostsOfOthers(t *testing.T) {
	a := sound()
	a.MX.Count, a.Hosts[0].Name, a.Hosts[0].TLSA.Count, a.Hosts[0].Records = 3, "mx.provider.example", 0, nil
	a.MTASTS = records.MTASTS{Published: no}
	steps := stepsFor(a, English)
	if len(steps) != 2 || !strings.HasSuffix(steps[0].Text, "For names in provider.example, only their operator can do that.") || !strings.Contains(steps[1].Text, "more MX hosts") {
		t.Errorf("steps %q", steps)
	}
}

// What is proposed is right: records are such, and senders understand the
// policy.
func TestProposalsAreValid(t *testing.T) {
	proposed := 0
	for _, w := range weaknesses {
		a := sound()
		w.change(&a)
		for _, s := range stepsFor(a, English) {
			for _, set := range s.Settings {
				if set.Name == "DNS" {
					for _, line := range set.Lines {
						proposed++
						checkRecord(t, line)
					}
				}
				if strings.HasPrefix(set.Name, "https://") {
					proposed++
					p, err := tlspolicy.ParsePolicy([]byte(strings.Join(set.Lines, "\r\n") + "\r\n"))
					if err != nil || !p.Matches("mx1.example.org") || set.Name != "https://"+tlspolicy.PolicyHost(a.Domain)+"/.well-known/mta-sts.txt" {
						t.Errorf("%s: policy %q at %s: %v", w.id, set.Lines, set.Name, err)
					}
				}
			}
		}
	}
	if proposed < 15 {
		t.Errorf("only %d proposals", proposed)
	}
}

func checkRecord(t *testing.T, line string) {
	t.Helper()
	rr, err := dns.NewRR(strings.Replace(line, "<hash>", strings.Repeat("0a", 32), 1))
	if err != nil {
		t.Errorf("%s: %v", line, err)
		return
	}
	switch rr := rr.(type) {
	case *dns.TLSA:
		if rr.Usage != 3 || rr.Selector != 1 || rr.MatchingType != 1 {
			t.Errorf("%s: want 3 1 1", line)
		}
	case *dns.TXT:
		text := strings.Join(rr.Txt, "")
		switch {
		case strings.HasPrefix(rr.Hdr.Name, "_mta-sts."):
			_, err = tlspolicy.ParseRecord(text)
		case strings.HasPrefix(rr.Hdr.Name, "_dmarc."):
			_, err = dmarc.Parse(text)
		}
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
	default:
		t.Errorf("%s: unexpected type", line)
	}
}
