package policyinfer

import (
	"slices"

	"github.com/tlsink/tlsink/scenario"
)

const (
	et = scenario.ET
	ut = scenario.Unprotected
)

// inForce says which of DANE and MTA-STS decide about mail to domain d.
// fetched: the sender knows the MTA-STS policy of et.
func (p Policy) inForce(d scenario.Domain, fetched bool) (dane, sts bool) {
	if d != et {
		return false, false // ut publishes neither
	}
	dane, sts = p.DANE != DANEOff, p.knowsSTS(fetched)
	if dane && sts {
		switch p.Both {
		case DANEWins:
			sts = false
		case STSWins:
			dane = false
		}
	}
	return dane, sts
}

func (p Policy) knowsSTS(fetched bool) bool {
	return p.STS == STSEnforced || p.STS == STSLazy && fetched
}

// contacts reports whether p connects to host h of domain d at all.
func (p Policy) contacts(d scenario.Domain, h scenario.Host, fetched bool) bool {
	if d == ut {
		return p.DANE != DANERequired
	}
	// RFC 8461 §5: an MX that the policy does not list is not a candidate.
	return h != scenario.MX03 || p.Filter != FilterEarly || !p.knowsSTS(fetched)
}

// usesTLS reports whether p sends STARTTLS where it is offered.
func (p Policy) usesTLS(d scenario.Domain, fetched bool) bool {
	dane, sts := p.inForce(d, fetched)
	return dane || sts || p.TLS != TLSNever
}

// sendsSNI reports whether p names the host in its ClientHello.
func (p Policy) sendsSNI(d scenario.Domain, fetched bool) bool {
	dane, sts := p.inForce(d, fetched)
	return p.SNI == SNIAlways || p.SNI == SNIAuthenticating && (dane || sts)
}

// deliversPlaintext reports whether p hands over mail to d where STARTTLS is
// not offered.
func (p Policy) deliversPlaintext(d scenario.Domain, fetched bool) bool {
	if d == ut && p.DANE == DANERequired {
		return false
	}
	dane, sts := p.inForce(d, fetched)
	return !dane && !sts && p.TLS != TLSRequired
}

// deliversTLS reports whether p hands over mail inside TLS at f, whose Domain
// must be known. A part of f that is unknown makes the answer unknown.
func (p Policy) deliversTLS(f scenario.Face, fetched bool) scenario.Ternary {
	if f.Domain == ut && p.DANE == DANERequired {
		return scenario.No
	}
	dane, sts := p.inForce(f.Domain, fetched)
	if !dane && !sts {
		return p.ownRule(f)
	}
	matches := fromTLSA(f.TLSA)
	listed := and(trusted(f.Certificate), f.InPolicy)
	switch {
	case dane && sts && p.Both == EitherSuffices:
		return or(matches, listed)
	case dane && sts:
		return and(matches, listed)
	case dane:
		return matches
	}
	return listed
}

func (p Policy) ownRule(f scenario.Face) scenario.Ternary {
	switch {
	case p.TLS == TLSNever:
		return scenario.No
	case p.CA == CAIgnored:
		return scenario.Yes
	}
	return trusted(f.Certificate)
}

func trusted(k scenario.Kind) scenario.Ternary {
	switch {
	case k == scenario.NoCertificate:
		return scenario.Unknown
	case k.Trusted():
		return scenario.Yes
	}
	return scenario.No
}

// fromTLSA: where DANE is in force, a host without TLSA records fails like one
// with the wrong ones (RFC 7672 §2.2 would not have it in force).
func fromTLSA(t scenario.TLSA) scenario.Ternary {
	switch t {
	case scenario.TLSAMatch:
		return scenario.Yes
	case scenario.TLSAMismatch, scenario.TLSANone:
		return scenario.No
	}
	return scenario.Unknown
}

func and(a, b scenario.Ternary) scenario.Ternary {
	switch {
	case a == scenario.No || b == scenario.No:
		return scenario.No
	case a == scenario.Yes && b == scenario.Yes:
		return scenario.Yes
	}
	return scenario.Unknown
}

func or(a, b scenario.Ternary) scenario.Ternary {
	switch {
	case a == scenario.Yes || b == scenario.Yes:
		return scenario.Yes
	case a == scenario.No && b == scenario.No:
		return scenario.No
	}
	return scenario.Unknown
}

// outcome is what a sender did at a face.
type outcome uint8

const (
	contacted          outcome = iota // it came and used TLS; what it did then does not count
	deliveredPlaintext                // a message was transferred without TLS
	deliveredTLS
	refusedPlaintext // it saw no STARTTLS and left
	refusedTLS       // it saw our certificate and left
	neverAtMX03      // silence
	neverAtUT        // silence
)

// observation is one thing that was seen a sender do. It is a map key.
type observation struct {
	face    scenario.Face
	outcome outcome
	sni     scenario.Ternary // for TLS: a host was named
	// early: a lazy sender may not have its MTA-STS policy yet.
	early bool
	// degraded: our own zone or policy could not be verified, so that DANE or
	// MTA-STS may not have been in force.
	degraded bool
	// afterFailure: the host had tried TLS in the same attempt.
	afterFailure bool
	// doubtful: a refusal that may be somebody else's, if this sender does not
	// come there at all.
	doubtful bool
}

// possible reports whether a sender of policy p may be seen doing o: there is
// a domain it may have meant, and a state of its policy cache, that allow it.
func (p Policy) possible(o observation) bool {
	if !o.degraded {
		return p.seen(o)
	}
	return slices.ContainsFunc(p.without(), func(q Policy) bool { return q.seen(o) })
}

// without returns p and what it amounts to where DANE, MTA-STS or both cannot
// be used. The result need not exist as a policy.
func (p Policy) without() []Policy {
	noSTS := p
	noSTS.STS = STSOff
	out := []Policy{p, noSTS}
	if p.DANE == DANEEnforced { // DANERequired then sends nothing at all
		noDANE, neither := p, noSTS
		noDANE.DANE, neither.DANE = DANEOff, DANEOff
		out = append(out, noDANE, neither)
	}
	return out
}

// seen is possible with DANE and MTA-STS in force.
func (p Policy) seen(o observation) bool {
	domains := []scenario.Domain{o.face.Domain}
	if o.face.Domain == scenario.UnknownDomain {
		domains = []scenario.Domain{et, ut}
	}
	for _, d := range domains {
		f := o
		f.face = inDomain(o.face, d)
		if p.possibleIn(f, true) || o.early && p.STS == STSLazy && p.possibleIn(f, false) {
			return true
		}
	}
	return false
}

// inDomain completes a face whose domain is supposed to be d.
func inDomain(f scenario.Face, d scenario.Domain) scenario.Face {
	if f.Domain != scenario.UnknownDomain {
		return f
	}
	if f.Certificate == scenario.NoCertificate {
		return scenario.Plaintext(d, f.StartTLS)
	}
	return scenario.Default(d, f.Certificate)
}

func (p Policy) possibleIn(o observation, fetched bool) bool {
	d := o.face.Domain
	switch o.outcome {
	case contacted:
		return p.comes(o, fetched)
	case deliveredTLS:
		return p.comes(o, fetched) && p.deliversTLS(o.face, fetched) != scenario.No
	case refusedTLS:
		if o.doubtful && !p.contacts(d, o.face.Host, fetched) {
			return true
		}
		return p.comes(o, fetched) && p.deliversTLS(o.face, fetched) != scenario.Yes
	case deliveredPlaintext:
		if !p.deliversPlaintext(d, fetched) {
			return false
		}
		return !o.face.StartTLS || p.TLS == TLSNever || o.afterFailure
	case refusedPlaintext:
		return !p.deliversPlaintext(d, fetched)
	case neverAtMX03:
		return !p.contacts(et, scenario.MX03, true)
	case neverAtUT:
		return !p.contacts(ut, scenario.UT, true)
	}
	return true
}

// comes reports whether p may start TLS at this face, and with this SNI. A
// contact to ut alone does not exclude DANERequired: only a delivery is certain.
func (p Policy) comes(o observation, fetched bool) bool {
	d := o.face.Domain
	if d == et && !p.contacts(et, o.face.Host, fetched) {
		return false
	}
	if !p.usesTLS(d, fetched) {
		return false
	}
	return o.sni == scenario.Unknown || p.sendsSNI(d, fetched) == (o.sni == scenario.Yes)
}
