package policyinfer

import (
	"github.com/tlsink/tlsink/scenario"
)

// A second, generative account of what a sender of a policy does. It knows the
// fields of Policy and nothing of the package's own model of behaviour.

// simView is what a sender knows of et at one time.
type simView struct {
	fetched bool // it has the MTA-STS policy
	noDANE  bool // our zone does not verify, and it goes on without
	noSTS   bool
}

// simRules are what decides about one connection.
type simRules struct{ dane, sts bool }

func (r simRules) authenticates() bool { return r.dane || r.sts }

func simRulesFor(p Policy, d scenario.Domain, v simView) simRules {
	if d != scenario.ET {
		return simRules{}
	}
	r := simRules{
		dane: p.DANE != DANEOff && !v.noDANE,
		sts:  (p.STS == STSEnforced || p.STS == STSLazy && v.fetched) && !v.noSTS,
	}
	if r.dane && r.sts {
		r.dane, r.sts = p.Both != STSWins, p.Both != DANEWins
	}
	return r
}

// simSkips says whether the sender does not even connect to a host.
func simSkips(p Policy, h scenario.Host, v simView) bool {
	if p.DANE == DANERequired && (h == scenario.UT || v.noDANE) {
		return true
	}
	hasPolicy := !v.noSTS && (p.STS == STSEnforced || p.STS == STSLazy && v.fetched)
	return h == scenario.MX03 && p.Filter == FilterEarly && hasPolicy
}

func simWantsTLS(p Policy, r simRules) bool { return r.authenticates() || p.TLS != TLSNever }

func simNeedsTLS(p Policy, r simRules) bool { return r.authenticates() || p.TLS == TLSRequired }

func simNames(p Policy, r simRules) bool {
	return p.SNI == SNIAlways || p.SNI == SNIAuthenticating && r.authenticates()
}

// simAccepts says whether the sender hands mail over to h, which it named or
// not, inside TLS with a certificate of this kind.
func simAccepts(p Policy, r simRules, h scenario.Host, sni bool, kind scenario.Kind) bool {
	ca := kind != scenario.SelfSigned
	// Without SNI the host showed a default certificate, whose key matches nothing.
	tlsa := sni && (h == scenario.MX04 || h == scenario.MX06)
	listed := ca && h != scenario.MX03
	switch {
	case r.dane && r.sts && p.Both == EitherSuffices:
		return tlsa || listed
	case r.dane && r.sts:
		return tlsa && listed
	case r.dane:
		return tlsa
	case r.sts:
		return listed
	}
	return p.CA == CAIgnored || ca
}

// simMayFallBack says whether the sender may do without TLS after TLS failed.
func simMayFallBack(p Policy, r simRules) bool { return !r.authenticates() && p.TLS == TLSOffered }

// simOptedOut is what a sender of p does with a mail that opts out (RFC 8689 §5).
func simOptedOut(p Policy) Policy {
	p.DANE, p.STS, p.Both, p.Filter, p.CA = DANEOff, STSOff, DANEWins, FilterLate, CAIgnored
	p.TLS = min(p.TLS, TLSOffered)
	return p
}

// simRequired is what a sender of p does with a mail that demands TLS (RFC 8689 §2).
func simRequired(p Policy) Policy {
	p.TLS = TLSRequired
	if p.CA == CAElsePlaintext {
		p.CA = CARequired
	}
	return p
}

// simName is the name that p must be given.
func simName(p Policy) Name {
	dane, sts := p.DANE != DANEOff, p.STS != STSOff
	switch {
	case p.DANE == DANERequired:
		return DANEOnly
	case dane && sts:
		return map[Both]Name{DANEWins: DANE, STSWins: MTASTS, BothMustHold: DANEMTASTS, EitherSuffices: MTASTS}[p.Both]
	case dane:
		return DANE
	case sts:
		return MTASTS
	case p.TLS == TLSNever:
		return None
	case p.TLS == TLSOffered:
		return May
	case p.CA == CARequired:
		return Verify
	}
	return Encrypt
}

// simParts is what may be said of each part of p; a part that is not here can
// only be unknown.
func simParts(p Policy) map[string]string {
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	out := map[string]string{
		"plaintext":             yes(p.DANE == DANEOff && p.STS == STSOff && p.TLS != TLSRequired),
		"plaintext_unprotected": yes(p.DANE != DANERequired && p.TLS != TLSRequired),
		"verifies_ca":           yes(p.CA != CAIgnored),
		"dane":                  []string{"no", "yes", "required"}[p.DANE],
		"mta_sts":               []string{"no", "yes", "lazy"}[p.STS],
		"sni":                   []string{"never", "authenticating", "always"}[p.SNI],
	}
	if p.DANE != DANERequired { // whose own rule is never applied
		out["tls"] = []string{"never", "offered", "required"}[p.TLS]
	}
	if p.DANE != DANEOff && p.STS != STSOff {
		out["both"] = []string{"dane", "mta-sts", "both", "either"}[p.Both]
	}
	if p.STS != STSOff {
		out["unlisted_mx"] = []string{"contacted", "skipped"}[p.Filter]
	}
	if simNeedsTLS(p, simRulesFor(p, scenario.ET, simView{fetched: true})) {
		out["without_tls"] = []string{"retry", "bounce"}[p.MissingTLS]
	}
	return out
}

// simFindings are the ids of what may be found about p.
func simFindings(p Policy) (out []string) {
	both := p.DANE != DANEOff && p.STS != STSOff
	for id, is := range map[string]bool{
		FindingFallback:       p.CA == CAElsePlaintext,
		FindingVerifiesUnused: p.CA != CAIgnored && simName(p) == May,
		FindingVerifiesNoSNI:  p.CA != CAIgnored && p.SNI == SNINever,
		FindingEither:         both && p.Both == EitherSuffices,
		FindingSTSOverDANE:    both && p.Both == STSWins,
		FindingAlsoSTS:        both && p.Both == DANEWins,
		FindingLazy:           p.STS == STSLazy,
		FindingUnlistedMX:     p.STS != STSOff && p.Filter == FilterLate,
		FindingBounced:        p.MissingTLS == BounceMissing,
	} {
		if is {
			out = append(out, id)
		}
	}
	return out
}
