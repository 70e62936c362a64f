package policyinfer

import "strings"

// TLSRule is a sender's own rule for TLS, where neither DANE nor MTA-STS is in
// force.
type TLSRule uint8

// The values of TLSRule.
const (
	TLSNever    TLSRule = iota
	TLSOffered          // used when offered
	TLSRequired         // no mail without TLS
)

// CARule says what a sender does with certificates where its own rule holds.
type CARule uint8

// The values of CARule.
const (
	CAIgnored       CARule = iota // any certificate will do
	CARequired                    // a public CA and the name, else no mail over TLS
	CAElsePlaintext               // as CARequired, but then the mail goes in plaintext
)

// DANERule says what a sender does with TLSA records (RFC 7672).
type DANERule uint8

// The values of DANERule.
const (
	DANEOff DANERule = iota
	DANEEnforced
	DANERequired // nothing is sent to a domain without usable TLSA records
)

// STSRule says what a sender does with MTA-STS policies (RFC 8461).
type STSRule uint8

// The values of STSRule.
const (
	STSOff STSRule = iota
	STSEnforced
	STSLazy // unprotected until the first fetch of a policy has ended, which RFC 8461 allows
)

// Both says what holds where DANE and MTA-STS both apply.
type Both uint8

// The values of Both.
const (
	DANEWins Both = iota
	STSWins       // against RFC 8461 §2
	BothMustHold
	EitherSuffices
)

// SNIHabit says when a sender names the host in its ClientHello.
type SNIHabit uint8

// The values of SNIHabit.
const (
	SNINever          SNIHabit = iota
	SNIAuthenticating          // where DANE or MTA-STS is in force
	SNIAlways
)

// Filter says what a sender does with MX hosts that its MTA-STS policy does
// not list.
type Filter uint8

// The values of Filter.
const (
	FilterLate  Filter = iota // contacted, checked after the handshake, left
	FilterEarly               // never contacted
)

// MissingTLS says what happens to a mail that needs TLS when no MX offers it.
type MissingTLS uint8

// The values of MissingTLS.
const (
	RetryMissing MissingTLS = iota
	BounceMissing
)

// Policy is what a sender is configured to do. The zero value is a sender that
// never uses TLS.
type Policy struct {
	TLS        TLSRule
	CA         CARule
	DANE       DANERule
	STS        STSRule
	Both       Both
	SNI        SNIHabit
	Filter     Filter
	MissingTLS MissingTLS
}

// exists is the one predicate that says which combinations of parts there can
// be. Parts that have no effect have their zero value.
func (p Policy) exists() bool {
	switch {
	case p.TLS == TLSNever && p.CA != CAIgnored,
		p.CA == CAElsePlaintext && p.TLS != TLSOffered:
		return false
	case (p.DANE == DANEOff || p.STS == STSOff) && p.Both != DANEWins,
		p.STS == STSOff && p.Filter != FilterLate:
		return false
	}
	return p.existsDANE() && p.existsSNI() && p.existsMissing()
}

func (p Policy) existsDANE() bool {
	if p.DANE == DANERequired {
		// Its own rule for TLS is never applied: et has TLSA records, and
		// domains without are not sent to. MTA-STS cannot loosen that.
		return p.TLS == TLSRequired && p.CA != CAElsePlaintext && p.Both != STSWins && p.Both != EitherSuffices && p.STS != STSLazy
	}
	// Lazy senders have no DANE: with DANE from the first contact on, and
	// MTA-STS added to it later, no sender is known, and a verdict that shows
	// protection could never be given at once.
	return p.DANE == DANEOff || p.STS != STSLazy
}

func (p Policy) existsSNI() bool {
	if p.DANE != DANEOff || p.STS != STSOff {
		// RFC 7672 §8.1, RFC 8461 §4: the sender MUST send SNI.
		return p.SNI != SNINever
	}
	// One that verifies everywhere authenticates everywhere.
	return p.CA == CAIgnored || p.SNI != SNIAuthenticating
}

func (p Policy) existsMissing() bool {
	needsTLS := p.TLS == TLSRequired || p.DANE != DANEOff || p.STS != STSOff
	return p.MissingTLS == RetryMissing || needsTLS
}

// policies enumerates every Policy that can exist, in a stable order.
func policies() []Policy {
	var out []Policy
	for n := range 3 * 3 * 3 * 3 * 4 * 3 * 2 * 2 {
		digit := func(base int) uint8 {
			d := n % base
			n /= base
			return uint8(d)
		}
		p := Policy{
			MissingTLS: MissingTLS(digit(2)), Filter: Filter(digit(2)), SNI: SNIHabit(digit(3)), Both: Both(digit(4)),
			STS: STSRule(digit(3)), DANE: DANERule(digit(3)), CA: CARule(digit(3)), TLS: TLSRule(digit(3)),
		}
		if p.exists() {
			out = append(out, p)
		}
	}
	return out
}

// String describes p in words, for explanations.
func (p Policy) String() string {
	parts := []string{
		[]string{"never TLS", "TLS when offered", "TLS required"}[p.TLS],
		[]string{"any certificate", "verifies the CA", "verifies the CA, else plaintext"}[p.CA],
		[]string{"no DANE", "DANE", "DANE required"}[p.DANE],
		[]string{"no MTA-STS", "MTA-STS", "MTA-STS after its first fetch"}[p.STS],
	}
	if p.DANE != DANEOff && p.STS != STSOff {
		parts = append(parts, []string{"DANE wins", "MTA-STS wins", "both must hold", "either suffices"}[p.Both])
	}
	parts = append(parts, []string{"no SNI", "SNI where it authenticates", "SNI always"}[p.SNI])
	if p.STS != STSOff {
		parts = append(parts, []string{"contacts unlisted MX", "skips unlisted MX"}[p.Filter])
	}
	if p.MissingTLS == BounceMissing {
		parts = append(parts, "bounces without TLS")
	}
	return strings.Join(parts, ", ")
}

// Name is a policy name: the Postfix level, or mta-sts, that p amounts to.
type Name string

// The names, and the two that are no policy of one sender.
const (
	None         Name = "none"
	May          Name = "may"
	Encrypt      Name = "encrypt"
	Verify       Name = "verify"
	DANE         Name = "dane"
	DANEOnly     Name = "dane-only"
	MTASTS       Name = "mta-sts"
	DANEMTASTS   Name = "dane+mta-sts"
	Undetermined Name = "undetermined"
	Mixed        Name = "mixed"
)

// Names lists the policy names from the weakest to the strongest.
func Names() []Name {
	return []Name{None, May, Encrypt, Verify, MTASTS, DANE, DANEOnly, DANEMTASTS}
}

// Protected reports whether the policy protects mail to a domain that
// publishes DANE and MTA-STS against an active attacker.
func (n Name) Protected() bool {
	switch n {
	case Verify, MTASTS, DANE, DANEOnly, DANEMTASTS:
		return true
	}
	return false
}

// Name names p; the first rule that matches wins.
func (p Policy) Name() Name {
	dane, sts := p.inForce(et, true)
	switch {
	case p.DANE == DANERequired:
		return DANEOnly
	case dane && sts && p.Both == BothMustHold:
		return DANEMTASTS
	case dane && !sts:
		return DANE
	case sts:
		// With EitherSuffices too: a certificate from a public CA is enough to
		// get the mail, which is what MTA-STS promises; a finding says the rest.
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
