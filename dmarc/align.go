package dmarc

import (
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Organizational returns the organizational domain of a name: one label below
// its public suffix (RFC 7489 §3.2). A public suffix, or what is no name, is
// returned as it is.
func Organizational(domain string) string {
	domain = canonical(domain)
	org, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return domain
	}
	return org
}

// Aligned reports whether an authenticated identifier (the d= of a DKIM
// signature, or the domain that passed SPF) is aligned with the domain in From
// (RFC 7489 §3.1): equal if strict, else of one organizational domain. A public
// suffix is aligned with itself only.
func Aligned(identifier, from string, strict bool) bool {
	identifier, from = canonical(identifier), canonical(from)
	if identifier == from {
		return from != ""
	}
	if strict {
		return false
	}
	a, errA := publicsuffix.EffectiveTLDPlusOne(identifier)
	b, errB := publicsuffix.EffectiveTLDPlusOne(from)
	return errA == nil && errB == nil && a == b
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
