package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
)

// A record is what a domain publishes about its mail under one standard.
type record struct {
	Name     string
	Lay      string // what it is for
	Answers  answers
	Text     string // the record itself
	Problems []string
}

var (
	publishedYes = phrase{"published", "veröffentlicht"}
	publishedNo  = phrase{"not published", "nicht veröffentlicht"}
	validYes     = phrase{"without errors", "fehlerfrei"}
	validNo      = phrase{"with errors", "mit Fehlern"}
)

// records puts SPF, DMARC, MTA-STS and TLS-RPT into words.
func (s speaker) records(a *inbound.Analysis) []record {
	return slices.DeleteFunc([]record{s.mtasts(a), s.tlsrpt(a), s.spf(a), s.dmarc(a)}, func(r record) bool { return len(r.Answers) == 0 })
}

// publishing answers what every record is asked: is it there, is it right.
func (s speaker) publishing(published, valid check.Result) (out []answer) {
	if a, ok := s.answerOf(published, publishedYes, publishedNo); ok {
		out = append(out, a)
	}
	if a, ok := s.answerOf(valid, validYes, validNo); ok {
		out = append(out, a)
	}
	return out
}

func (s speaker) signed(status dnssec.Status) (out []answer) {
	if a, ok := s.secured("DNSSEC:", status, ""); ok {
		out = append(out, a)
	}
	return out
}

func (s speaker) problems(list []string) []string {
	var out []string
	for _, p := range list {
		out = append(out, s.reason(p))
	}
	return s.atMost(out, problemsKeep)
}

func (s speaker) spf(a *inbound.Analysis) record {
	r := record{
		Name: "SPF", Text: s.quote(a.SPF.Record, maxText), Problems: s.problems(a.SPF.Problems),
		Lay:     phrase{"Says which servers may send mail in the name of your domain.", "Sagt, welche Server im Namen Ihrer Domain senden dürfen."}.in(s.l),
		Answers: s.publishing(a.SPF.Published, a.SPF.Valid),
	}
	if strict, ok := s.answerOf(a.SPF.Strict, phrase{"asks to refuse others", "verlangt, andere abzulehnen"}, phrase{"lets others pass", "lässt andere durch"}); ok {
		r.Answers = append(r.Answers, strict)
	}
	if a.SPF.Valid.Outcome != "" {
		r.Answers = append(r.Answers, answer{markNone, phrase{"DNS lookups: %[1]d of 10", "DNS-Abfragen: %[1]d von 10"}.with(s.l, a.SPF.Lookups)})
	}
	r.Answers = append(r.Answers, s.signed(a.SPF.DNSSEC)...)
	return r
}

func (s speaker) dmarc(a *inbound.Analysis) record {
	d := &a.DMARC
	r := record{
		Name: "DMARC", Text: s.quote(d.Record, maxText), Problems: s.problems(d.Problems),
		Lay:     phrase{"Says what others shall do with mail that only claims to be from your domain.", "Sagt, was andere mit E-Mails tun sollen, die nur vorgeben, von Ihrer Domain zu sein."}.in(s.l),
		Answers: s.publishing(d.Published, d.Valid),
	}
	policy := ""
	if d.Policy != "" {
		policy = " (p=" + s.quote(d.Policy, maxName) + ")"
	}
	if enforced, ok := s.answerOf(d.Enforced, phrase{"asks to refuse such mail or to set it aside", "verlangt, solche E-Mails abzulehnen oder auszusortieren"}, phrase{"asks for nothing", "stellt keine Forderung"}); ok {
		enforced.Text += policy
		r.Answers = append(r.Answers, enforced)
	}
	if d.From != "" && d.From != a.Domain {
		r.Answers = append(r.Answers, answer{markNone, phrase{"the record of %[1]s holds", "es gilt der Eintrag von %[1]s"}.with(s.l, s.quote(d.From, maxName))})
	}
	r.Answers = append(r.Answers, s.signed(d.DNSSEC)...)
	return r
}

func (s speaker) tlsrpt(a *inbound.Analysis) record {
	r := record{
		Name: "TLS-RPT", Text: s.quote(a.TLSRPT.Record, maxText), Problems: s.problems(a.TLSRPT.Problems),
		Lay:     phrase{"Asks senders to report when encryption to your servers fails.", "Bittet Absender um Berichte, wenn die Verschlüsselung zu Ihren Servern scheitert."}.in(s.l),
		Answers: s.publishing(a.TLSRPT.Published, a.TLSRPT.Valid),
	}
	return r
}

func (s speaker) mtasts(a *inbound.Analysis) record {
	m := &a.MTASTS
	r := record{
		Name: "MTA-STS", Problems: s.problems(m.Problems),
		Lay:     phrase{"Tells senders to encrypt, and which servers are yours.", "Sagt Absendern, dass sie verschlüsseln sollen und welche Server Ihre sind."}.in(s.l),
		Answers: s.publishing(m.Published, check.Result{}),
	}
	if policy, ok := s.answerOf(m.Policy, phrase{"policy found", "Richtlinie gefunden"}, phrase{"no usable policy", "keine verwendbare Richtlinie"}); ok {
		r.Answers = append(r.Answers, policy)
	}
	if https, ok := s.answerOf(m.HTTPS, phrase{"certificate of the policy host valid", "gültiges Zertifikat des Webservers"}, phrase{"certificate of the policy host not valid", "ungültiges Zertifikat des Webservers"}); ok {
		r.Answers = append(r.Answers, https)
	}
	if m.Mode != "" {
		mode := answer{markNone, "mode: " + s.quote(m.Mode, maxName)}
		if m.Mode == "enforce" {
			mode.Mark = markYes
		}
		r.Answers = append(r.Answers, mode)
		if m.MaxAge > 0 {
			r.Answers = append(r.Answers, answer{markNone, fmt.Sprintf("max_age: %d", int64(m.MaxAge/time.Second))})
		}
	}
	if len(m.MX) > 0 {
		var patterns []string
		for _, p := range m.MX {
			patterns = append(patterns, "mx: "+s.quote(p, maxName))
		}
		r.Text = strings.Join(s.atMost(patterns, membersKeep), "; ")
	}
	return r
}

// networks lists whose networks the servers are in, with their addresses.
func (s speaker) networks(a *inbound.Analysis) []string {
	in := make(map[string][]string)
	for i := range a.Hosts {
		for j := range a.Hosts[i].Servers {
			server := &a.Hosts[i].Servers[j]
			var parts []string
			if server.Network.Name != "" {
				parts = append(parts, s.quote(server.Network.Name, maxName))
			}
			if server.Network.AS != 0 {
				parts = append(parts, fmt.Sprintf("AS%d", server.Network.AS))
			}
			if server.Network.Country != "" {
				parts = append(parts, s.quote(server.Network.Country, maxName))
			}
			if len(parts) > 0 {
				name := strings.Join(parts, ", ")
				in[name] = append(in[name], server.Address.String())
			}
		}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(in)) {
		out = append(out, name+": "+strings.Join(s.atMost(in[name], membersKeep), ", "))
	}
	return s.atMost(out, networksKeep)
}
