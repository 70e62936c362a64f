package report

import (
	"fmt"

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

const providerHeading = "What your provider's servers do"

// providerText is the section about the provider; nil without one.
func providerText(in Input) []string {
	p := in.Provider
	if p == nil {
		return nil
	}
	return []string{
		fmt.Sprintf("Policy %s, as far as several tests that ran at the same time show together: %s of %d tests.",
			clean(string(p.Policy), maxName), count(p.Connections), p.Tests),
		"This is not the verdict of your test. Several tests ran at the same time behind the same addresses, and what carried no mail could not be given to one of them. " +
			"Each of these tests fits this policy, and so do all of them together; a provider may still treat the mail of different users in different ways.",
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
		return fmt.Sprintf("This mail was forwarded by %s: what was measured is the policy of %s, not that of %s.", by, by, author)
	case WayRelayed:
		return fmt.Sprintf("This mail of %s was handed over by the servers of %s: what was measured is the policy of %s.", author, by, by)
	case WayUnlisted:
		return fmt.Sprintf("This mail is signed by %s, but came from a host (%s) that the SPF record of %s excludes. If it was forwarded, what was measured is the policy of the forwarder.", author, by, author)
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
