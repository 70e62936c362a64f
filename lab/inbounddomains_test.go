//go:build linux

package lab_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// domain is a domain that receives. What must be found out about it is in
// testdata/inbound.txt.
type domain struct {
	name    string
	records string // "@" is the domain; in the zone of the domain
	zone    string // example. by default
	sts     *stsPolicy
}

const (
	stsRecord    = "_mta-sts.@ TXT \"v=STSv1; id=20260101000000;\"\n"
	tlsrptRecord = "_smtp._tls.@ TXT \"v=TLSRPTv1; rua=mailto:tls@reports.example\"\n"
	spfRecord    = "@ TXT \"v=spf1 mx -all\"\n"
	dmarcRecord  = "_dmarc.@ TXT \"v=DMARC1; p=reject; rua=mailto:dmarc@reports.example\"\n"
)

func mx(hosts ...string) string {
	var out strings.Builder
	for i, h := range hosts {
		fmt.Fprintf(&out, "@ MX %d %s.\n", 10*(i+1), h)
	}
	return out.String()
}

// routeDomains differ in how mail is routed to them, and in what DNSSEC proves.
func routeDomains() []domain {
	return []domain{
		{name: "implicit.example", records: "@ A 192.0.2.131\n"},
		{name: "good.smtpd.example"}, // has an address alone, and TLSA records
		{name: "nullmx.example", records: "@ MX 0 .\n@ TXT \"v=spf1 -all\"\n"},
		{name: "nomx.example", records: "@ TXT \"nothing here\"\n"},
		{name: "nosuch.example"},
		{name: "alias.example", records: mx("mail.alias.example") + "mail.alias.example. CNAME strict.postfix.example.\n"},
		{name: "gone.example", records: mx("gone.nic.example")},
		{name: "loopback.example", records: mx("mail.loopback.example", "lan.loopback.example") +
			"mail.loopback.example. A 127.0.0.1\nmail.loopback.example. AAAA ::1\nlan.loopback.example. A 10.0.0.1\nlan.loopback.example. AAAA ::ffff:127.0.0.1\n"},
		{name: "insecure.example", zone: "insecure.example.", records: mx("strict.postfix.example")},
		{name: "foreign.example", records: mx("mail.insecure.example")},
		{name: "wrongds.example", zone: "wrongds.example.", records: mx("strict.postfix.example")},
		{name: "expired.example", zone: "expired.example.", records: mx("strict.postfix.example")},
		{name: "nsec3.example", zone: "nsec3.example.", records: mx("modern.postfix.example")},
		{name: "tlsabogus.example", records: mx("tlsabogus.postfix.example") + bogusTLSA + " A 192.0.2.130\n"},
		{name: "dead.example", records: ""},
		{name: "tlsadead.example", records: mx("tlsadead.postfix.example") + "tlsadead.postfix.example. A 192.0.2.130\n_tcp.tlsadead.postfix.example. NS ns.dead.example.\n"},
		{name: "refused.example", records: mx("closed.nic.example") + "closed.nic.example. A " + closedAddr + "\n"},
		{name: "timeout.example", records: mx("silent.nic.example") + "silent.nic.example. A " + deadAddr + "\n"},
		{name: "blocklist.example", records: mx("refuses.postfix.example")},
	}
}

// tlsDomains differ in their servers.
func tlsDomains() []domain {
	return []domain{
		{
			name: "both.example", records: mx("strict.postfix.example", "strict.exim.example") + stsRecord + tlsrptRecord + spfRecord + dmarcRecord,
			sts: new(enforce("strict.postfix.example", "*.exim.example")),
		},
		{name: "dane.example", records: mx("modern.postfix.example")},
		{name: "rpt.example", records: mx("modern.postfix.example") + tlsrptRecord},
		{name: "ta.example", records: mx("ecdsa.postfix.example", "private.postfix.example", "default.exim.example")},
		{name: "ee.example", records: mx("self.postfix.example", "expired.postfix.example", "name.postfix.example")},
		{name: "digests.example", records: mx("default.postfix.example", "nofs.postfix.example", "dhe.postfix.example", "dhe.exim.example", "strict.smtpd.example")},
		{name: "half.example", records: mx("modern.postfix.example", "modern.exim.example")},
		{name: "wrong.example", records: mx("tls12.postfix.example")},
		{name: "tawrong.example", records: mx("incomplete.postfix.example", "tls13.exim.example", "commonname.exim.example", "future.exim.example", "oldroot.smtpd.example")},
		{name: "unusable.example", records: mx("tls13.postfix.example")},
		{name: "stripped.example", records: mx("plain.postfix.example")},
		{name: "plain.example", records: mx("plain.exim.example")},
		{name: "oneplain.example", records: mx("modern.postfix.example", "plain.exim.example")},
		{name: "tls10.example", records: mx("tls10.postfix.example")},
		{name: "tls10gnu.example", records: mx("tls10.exim.example")},
		{name: "tls11.example", records: mx("tls11.postfix.example")},
		{name: "tls12.example", records: mx("tls12.exim.example")},
		{name: "tls13.example", records: mx("tls13.exim.example")},
		{name: "old.example", records: mx("old.postfix.example")},
		{name: "uneven.example", records: mx("old.postfix.example", "modern.postfix.example", "tls12.exim.example")},
		{name: "nofs.example", records: mx("nofs.exim.example")},
		{name: "qualified.example", records: mx("strict.postfix.example", "strict.exim.example")},
		{name: "selfsigned.example", records: mx("self.smtpd.example")},
		{name: "incomplete.example", records: mx("incomplete.smtpd.example")},
		{name: "name.example", records: mx("name.smtpd.example")},
		{name: "mixed.example", records: mx("modern.postfix.example", "self.smtpd.example", "tls12.exim.example", "plain.smtpd.example")},
	}
}

// stsDomains differ in MTA-STS. Their mail server is always good.
func stsDomains() []domain {
	const host = "strict.exim.example"
	good := mx(host)
	named := func(name, records string, p stsPolicy) domain {
		return domain{name: name + ".example", records: good + records, sts: &p}
	}
	return []domain{
		named("sts", stsRecord+tlsrptRecord, enforce(host)),
		named("sts-only", stsRecord, enforce("*.exim.example")),
		{name: "sts-nodane.example", records: mx("modern.exim.example") + stsRecord, sts: new(enforce("modern.exim.example"))},
		{name: "sts-rpt.example", records: mx("modern.exim.example") + stsRecord + tlsrptRecord, sts: new(enforce("modern.exim.example"))},
		named("sts-testing", stsRecord, stsPolicy{text: policyText("testing", host)}),
		named("sts-none", stsRecord, stsPolicy{text: policyText("none")}),
		named("sts-mismatch", stsRecord, enforce("other.example")),
		named("sts-self", stsRecord, stsPolicy{text: policyText("enforce", host), class: certSelf}),
		named("sts-name", stsRecord, stsPolicy{text: policyText("enforce", host), class: certName}),
		named("sts-expired", stsRecord, stsPolicy{text: policyText("enforce", host), class: certExpired}),
		named("sts-notfound", stsRecord, stsPolicy{fault: faultNotFound}),
		named("sts-page", stsRecord, stsPolicy{text: "<!DOCTYPE html><html><body>Welcome!</body></html>\n"}),
		named("sts-redirect", stsRecord, stsPolicy{fault: faultRedirect}),
		named("sts-refused", stsRecord, stsPolicy{fault: faultRefused}),
		named("sts-timeout", stsRecord, stsPolicy{fault: faultTimeout}),
		named("sts-plain", stsRecord, stsPolicy{fault: faultPlain}),
		named("sts-silent", stsRecord, stsPolicy{fault: faultSilent}),
		named("sts-nohost", stsRecord, stsPolicy{fault: faultNoName}),
		named("sts-badrecord", "_mta-sts.@ TXT \"v=STSv1 id=2026\"\n", enforce(host)),
		named("sts-tworecords", stsRecord+"_mta-sts.@ TXT \"v=STSv1; id=2;\"\n", enforce(host)),
		named("sts-norecord", "", enforce(host)),
		named("sts-recorddead", "_mta-sts.@ NS ns.dead.example.\n", enforce(host)),
		{name: "sts-badcert.example", records: mx("self.smtpd.example") + stsRecord, sts: new(enforce("self.smtpd.example"))},
		named("sts-loopback", stsRecord, stsPolicy{fault: faultLoopback}),
	}
}

// nameDomains differ in SPF, DMARC and TLS-RPT.
func nameDomains() []domain {
	good := mx("modern.postfix.example")
	eleven := "@ TXT \"v=spf1"
	for i := range 11 {
		eleven += fmt.Sprintf(" a:host%d.nic.example", i)
	}
	eleven += " -all\"\n"
	return []domain{
		{name: "spf.example", records: good + "@ TXT \"v=spf1 mx include:_spf.nic.example ~all\"\n_spf.nic.example. TXT \"v=spf1 ip4:192.0.2.0/24 -all\"\n"},
		{name: "spf-syntax.example", records: good + "@ TXT \"v=spf1 ipv4:192.0.2.1 -all\"\n"},
		{name: "spf-eleven.example", records: good + eleven},
		{name: "spf-two.example", records: good + "@ TXT \"v=spf1 mx -all\"\n@ TXT \"v=spf1 a -all\"\n"},
		{name: "spf-all.example", records: good + "@ TXT \"v=spf1 +all\"\n"},
		{name: "spf-loop.example", records: good + "@ TXT \"v=spf1 include:spf-loop.example -all\"\n"},
		{name: "spf-redirect.example", records: good + "@ TXT \"v=spf1 redirect=spf.example\"\n"},
		{name: "spf-void.example", records: good + "@ TXT \"v=spf1 a:no1.nic.example a:no2.nic.example a:no3.nic.example -all\"\n"},
		{name: "spf-missing.example", records: good + "@ TXT \"v=spf1 include:nospf.nic.example -all\"\n"},
		{name: "sub.both.example", records: good}, // DMARC of the domain above
		{name: "dmarc-none.example", records: good + "_dmarc.@ TXT \"v=DMARC1; p=none\"\n"},
		{name: "dmarc-syntax.example", records: good + "_dmarc.@ TXT \"v=DMARC1; p=rejct\"\n"},
		{name: "dmarc-two.example", records: good + "_dmarc.@ TXT \"v=DMARC1; p=none\"\n_dmarc.@ TXT \"v=DMARC1; p=reject\"\n"},
		{name: "tlsrpt-syntax.example", records: good + "_smtp._tls.@ TXT \"v=TLSRPTv1; rua=tls@reports.example\"\n"},
	}
}

// sizedDomains have 1, 4 and 16 MX, for measuring.
func sizedDomains(rx []*receiver) string {
	var out string
	for _, n := range []int{1, 4, 16} {
		var hosts []string
		for _, r := range benchHosts(rx, n) {
			hosts = append(hosts, r.host)
		}
		out += strings.ReplaceAll(mx(hosts...), "@", fmt.Sprintf("mx%d.example.", n))
	}
	return out
}

// hostileDomains want to keep an analysis busy.
func hostileDomains() []domain {
	good := mx("strict.exim.example") + stsRecord
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "@ MX %d m%d.many.example.\nm%d.many.example. A 192.0.2.130\n", i, i, i)
	}
	policy := policyText("enforce", "strict.exim.example")
	return []domain{
		{name: "many.example", records: many.String()},
		{name: "tarpit.example", records: mx("tarpit.nic.example") + "tarpit.nic.example. A " + tarpitAddr + "\n"},
		{name: "endless.example", records: mx("endless.nic.example") + "endless.nic.example. A " + endlessAddr + "\n"},
		{name: "sts-big.example", records: good, sts: new(stsPolicy{text: policy, fault: faultBig})},
		{name: "sts-bomb.example", records: good, sts: new(stsPolicy{text: policy, fault: faultBomb})},
		{name: "sts-endless.example", records: good, sts: new(stsPolicy{text: policy, fault: faultEndless})},
	}
}

func inboundDomains() []domain {
	var out []domain
	for _, list := range [][]domain{routeDomains(), tlsDomains(), stsDomains(), nameDomains(), hostileDomains()} {
		out = append(out, list...)
	}
	return out
}

// zoneRecords are what the domains add to each zone.
func zoneRecords(domains []domain) map[string]string {
	zones := map[string]string{
		"insecure.example.": "mail.insecure.example. A 192.0.2.148\n_25._tcp.mail.insecure.example. TLSA 3 1 1 " + strings.Repeat("ab", 32) + "\n",
	}
	for i := range 11 {
		zones["example."] += fmt.Sprintf("host%d.nic.example. A 192.0.2.1\n", i)
	}
	zones["_tcp."+bogusTLSA] = "_25._tcp." + bogusTLSA + " TLSA 3 1 1 " + strings.Repeat("ab", 32) + "\n"
	for _, d := range domains {
		zone := d.zone
		if zone == "" {
			zone = "example."
		}
		for line := range strings.Lines(d.records) {
			name, rest, _ := strings.Cut(line, " ")
			zones[zone] += strings.ReplaceAll(name, "@", d.name+".") + " " + rest
		}
		if d.sts != nil && d.sts.address() != "" {
			zones[zone] += "mta-sts." + d.name + ". A " + d.sts.address() + "\n"
		}
	}
	return zones
}

// expectations reads what must be found out, by domain.
func expectations(t testing.TB) map[string]string {
	t.Helper()
	b, err := os.ReadFile("testdata/inbound.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for section := range strings.SplitSeq(string(b), "\n## ") {
		if name, text, ok := strings.Cut(section, "\n"); ok && !strings.HasPrefix(name, "#") {
			out[name] = strings.TrimSpace(text)
		}
	}
	return out
}
