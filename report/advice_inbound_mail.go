package report

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/rating"
)

var (
	// spfPattern is an SPF record that may be proposed again with another end.
	spfPattern = regexp.MustCompile(`^v=spf1( [A-Za-z0-9:./_%{}+~?-]+)* [+?]all$`)
	// ruaPattern is an address for reports that may be kept.
	ruaPattern = regexp.MustCompile(`^mailto:[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+$`)
)

// spf is about the SPF record.
func (r receiver) spf() (step, bool) {
	p := r.a.SPF
	record := "v=spf1 mx ~all"
	if r.a.Route == inbound.RouteNull || r.a.Route == inbound.RouteNone {
		record = "v=spf1 a ~all"
	}
	var title, text phrase
	switch {
	case p.Published.Failed():
		title, text = phrase{"Publish an SPF record", "Einen SPF-Eintrag veröffentlichen"}, phrase{
			"Exactly one SPF record says which servers send for %[1]s. Add those of your provider and of newsletters (include:).",
			"Genau ein SPF-Eintrag sagt, welche Server für %[1]s verschicken. Ergänzen Sie die Ihres Anbieters und für Rundschreiben (include:).",
		}
	case p.Valid.Failed():
		title, text = phrase{"Correct the SPF record", "Den SPF-Eintrag berichtigen"}, phrase{
			"The SPF record of %[1]s has errors that make receivers ignore it; the details say which. It may need at most 10 DNS lookups.",
			"Der SPF-Eintrag von %[1]s hat Fehler, derentwegen Empfänger ihn nicht beachten; die Einzelheiten nennen sie. Er darf höchstens 10 DNS-Abfragen erfordern.",
		}
		record = ""
	case p.Strict.Failed():
		title, text = phrase{"Let the SPF record exclude everybody else", "Im SPF-Eintrag alle anderen ausschließen"}, phrase{
			"The SPF record of %[1]s lists servers, but does not say that others are wrong. Let it end in ~all, or in -all.",
			"Der SPF-Eintrag von %[1]s nennt Server, sagt aber nicht, dass andere falsch sind. Lassen Sie ihn auf ~all oder -all enden.",
		}
		record = ""
		if spfPattern.MatchString(p.Record) {
			record = p.Record[:len(p.Record)-len("+all")] + "~all"
		}
	default:
		return step{}, false
	}
	s := step{
		Title: title.in(r.l), Text: text.with(r.l, r.domain),
		Ask: phrase{
			"Which SPF record does %[1]s need so that your servers may send for it and no others can?",
			"Welchen SPF-Eintrag braucht %[1]s, damit Ihre Server dafür verschicken dürfen und keine anderen?",
		}.with(r.l, r.domain),
	}
	if record != "" {
		s.Settings = []setting{{"DNS", []string{fmt.Sprintf("%s. IN TXT \"%s\"", r.domain, record)}}}
	}
	return s, true
}

// dmarc is about the DMARC record.
func (r receiver) dmarc() (step, bool) {
	p := r.a.DMARC
	policy := "quarantine"
	var title, text phrase
	switch {
	case p.Published.Failed(), p.Valid.Failed():
		title, text = phrase{"Publish a DMARC record", "Einen DMARC-Eintrag veröffentlichen"}, phrase{
			"It says what receivers should do with mail that only pretends to come from %[1]s. All mail that is sent in your name should have a DKIM signature of this domain before.",
			"Er sagt, was Empfänger mit E-Mails tun sollen, die nur vorgeben, von %[1]s zu kommen. Zuvor sollten alle E-Mails, die in Ihrem Namen verschickt werden, eine DKIM-Signatur dieser Domain tragen.",
		}
		if !r.signs() {
			policy, text = "none", phrase{
				"It says what receivers should do with mail that only pretends to come from %[1]s. Begin with p=none, and change to quarantine or reject once the reports show that your own mail passes.",
				"Er sagt, was Empfänger mit E-Mails tun sollen, die nur vorgeben, von %[1]s zu kommen. Beginnen Sie mit p=none, und wechseln Sie zu quarantine oder reject, sobald die Berichte zeigen, dass Ihre eigenen E-Mails bestehen.",
			}
		}
	case p.Enforced.Failed():
		title, text = phrase{"Tighten the DMARC policy", "Die DMARC-Vorgabe verschärfen"}, phrase{
			"The policy that holds for %[1]s asks for nothing: mail with a forged sender is delivered as usual. Once the reports show that your own mail passes, set quarantine or reject.",
			"Die Vorgabe, die für %[1]s gilt, verlangt nichts: E-Mails mit gefälschtem Absender werden wie gewöhnlich zugestellt. Sobald die Berichte zeigen, dass Ihre eigenen E-Mails bestehen, setzen Sie quarantine oder reject.",
		}
	default:
		return step{}, false
	}
	rua := "mailto:postmaster@" + r.domain
	if i := slices.IndexFunc(p.Reports, ruaPattern.MatchString); i >= 0 {
		rua = p.Reports[i]
	}
	return step{
		Title: title.in(r.l), Text: text.with(r.l, r.domain),
		Settings: []setting{{"DNS", []string{fmt.Sprintf("_dmarc.%s. IN TXT \"v=DMARC1; p=%s; rua=%s\"", r.domain, policy, rua)}}},
		Ask: phrase{
			"Does all mail that you send for %[1]s carry a DKIM signature of this domain, so that I can publish DMARC with p=quarantine?",
			"Tragen alle E-Mails, die Sie für %[1]s verschicken, eine DKIM-Signatur dieser Domain, so dass ich DMARC mit p=quarantine veröffentlichen kann?",
		}.with(r.l, r.domain),
	}, true
}

// signs reports whether the test mail shows that a stricter DMARC policy does
// no harm.
func (r receiver) signs() bool {
	return slices.ContainsFunc(r.r.Mechanisms, func(m rating.Mechanism) bool { return m.ID == "dkim" && m.Supported })
}

// tlsReports is about TLS-RPT.
func (r receiver) tlsReports() (step, bool) {
	p := r.a.TLSRPT
	if !p.Published.Failed() && !p.Valid.Failed() {
		return step{}, false
	}
	return step{
		Title: phrase{"Ask for TLS reports", "TLS-Berichte anfordern"}.in(r.l),
		Text: phrase{
			"With this record, large senders report each day where DANE, MTA-STS or TLS failed (RFC 8460).",
			"Mit diesem Eintrag melden große Absender jeden Tag, wo DANE, MTA-STS oder TLS gescheitert ist (RFC 8460).",
		}.in(r.l),
		Settings: []setting{{"DNS", []string{fmt.Sprintf("_smtp._tls.%s. IN TXT \"v=TLSRPTv1; rua=mailto:postmaster@%s\"", r.domain, r.domain)}}},
		Ask: phrase{
			"Please publish a TLS-RPT record (RFC 8460) for %[1]s, and look at the reports.",
			"Bitte veröffentlichen Sie für %[1]s einen TLS-RPT-Eintrag (RFC 8460), und werten Sie die Berichte aus.",
		}.with(r.l, r.domain),
	}, true
}
