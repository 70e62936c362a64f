package report

import (
	"github.com/tlsink/tlsink/policyinfer"
)

// Provider is what several tests that ran at the same time, behind the same
// addresses, show together. It is never the verdict of the test.
type Provider struct {
	Policy      policyinfer.Name   `json:"policy"`
	Candidates  []policyinfer.Name `json:"candidates"`
	Tests       int                `json:"tests"`
	Connections int                `json:"connections"`
}

// Forwarded says whose servers handed the test mail over, if not those of its
// author.
type Forwarded struct {
	Way    string `json:"way"`    // forwarded, relayed, unlisted
	By     string `json:"by"`     // domain; with unlisted an EHLO name
	Author string `json:"author"` // domain
}

// The values of Forwarded.Way.
const (
	WayForwarded = "forwarded"
	WayRelayed   = "relayed"
	WayUnlisted  = "unlisted"
)

// providerText is the section about the provider; nil without one.
func providerText(in Input) []string {
	p := in.Provider
	if p == nil {
		return nil
	}
	return []string{
		phrase{
			"Policy %[1]s, as far as several tests that ran at the same time show together: %[2]s of %[3]d tests.",
			"Stufe %[1]s, soweit mehrere gleichzeitige Tests das gemeinsam zeigen: %[2]s aus %[3]d Tests.",
		}.with(in.Language, clean(string(p.Policy), maxName), connections.with(in.Language, p.Connections), p.Tests),
		phrase{
			"This is not the verdict of your test. Several tests ran at the same time behind the same addresses, and what carried no mail could not be given to one of them. " +
				"Each of these tests fits this policy, and so do all of them together; a provider may still treat the mail of different users in different ways.",
			"Das ist nicht das Ergebnis Ihres Tests. Hinter denselben Adressen liefen mehrere Tests gleichzeitig, und Verbindungen ohne E-Mail ließen sich keinem davon zuordnen. " +
				"Zu dieser Stufe passt jeder dieser Tests für sich, und auch alle zusammen passen dazu; trotzdem kann ein Anbieter die E-Mails verschiedener Nutzer unterschiedlich behandeln.",
		}.in(in.Language),
	}
}

// forwardedText says what was measured if the mail did not come straight from
// its author's servers; "" if nothing is known about that.
func forwardedText(in Input) string {
	f := in.Forwarded
	if f == nil {
		return ""
	}
	by, author := redactText(f.By, in.Service, maxName), redactText(f.Author, in.Service, maxName)
	switch f.Way {
	case WayForwarded:
		return phrase{
			"This mail was forwarded by %[1]s: what was measured is the policy of %[1]s, not that of %[2]s.",
			"Diese E-Mail wurde von %[1]s weitergeleitet: Gemessen wurde, wie %[1]s E-Mails verschickt, nicht %[2]s.",
		}.with(in.Language, by, author)
	case WayRelayed:
		return phrase{
			"This mail of %[2]s was handed over by the servers of %[1]s: what was measured is the policy of %[1]s.",
			"Diese E-Mail von %[2]s wurde von den Servern von %[1]s übergeben: Gemessen wurde, wie %[1]s E-Mails verschickt.",
		}.with(in.Language, by, author)
	case WayUnlisted:
		return phrase{
			"This mail is signed by %[2]s, but came from a host (%[1]s) that the SPF record of %[2]s excludes. If it was forwarded, what was measured is the policy of the forwarder.",
			"Diese E-Mail ist von %[2]s signiert, kam aber von einem Server (%[1]s), den der SPF-Eintrag von %[2]s ausschließt. Wurde sie weitergeleitet, so wurde gemessen, wie der weiterleitende Anbieter E-Mails verschickt.",
		}.with(in.Language, by, author)
	}
	return ""
}

// redactProvider and redactForwarded neutralise what came from elsewhere.
func redactProvider(in Input) *Provider {
	if in.Provider == nil {
		return nil
	}
	r := redactor{zone: in.Service}
	p := *in.Provider
	p.Policy = value(r, p.Policy)
	p.Candidates = each(p.Candidates, func(n policyinfer.Name) policyinfer.Name { return value(r, n) })
	return &p
}

func redactForwarded(in Input) *Forwarded {
	if in.Forwarded == nil {
		return nil
	}
	r := redactor{zone: in.Service}
	return &Forwarded{Way: r.text(in.Forwarded.Way), By: r.text(in.Forwarded.By), Author: r.text(in.Forwarded.Author)}
}
