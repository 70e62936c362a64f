package deliver

import "slices"

// TLSRule is the own rule of a sender for TLS, where neither DANE nor MTA-STS
// is in force.
type TLSRule int

// The values of TLSRule.
const (
	TLSOffered  TLSRule = iota // use TLS where it is offered
	TLSNever                   // never use it
	TLSRequired                // never deliver without it
)

// CARule says whether a sender verifies the certificate against public CAs and
// the name of the MX host, where neither DANE nor MTA-STS is in force.
type CARule int

// The values of CARule.
const (
	CAIgnored                CARule = iota // any certificate will do
	CAVerified                             // a refused certificate ends the session
	CAPlaintextAfterFailure                // then delivers in plaintext on a new connection
	CAUnverifiedAfterFailure               // then delivers over TLS on a new connection, unverified
)

// DANERule says what a sender makes of TLSA records.
type DANERule int

// The values of DANERule.
const (
	DANEOff     DANERule = iota
	DANEEnforce          // honours usable records
	DANERequire          // contacts only hosts that have usable records
)

// STSRule says what a sender makes of MTA-STS policies.
type STSRule int

// The values of STSRule.
const (
	STSOff     STSRule = iota
	STSEnforce         // fetches the policy before the first contact
	STSLazy            // fetches in the background: unprotected until that has ended
)

// BothRule says what holds where DANE and MTA-STS are both in force.
type BothRule int

// The values of BothRule.
const (
	DANEWins       BothRule = iota // MTA-STS is not looked at (RFC 8461 §2)
	STSWins                        // DANE is not looked at
	BothMustHold                   // the host must pass both
	EitherSuffices                 // the host must pass one
)

// SNIRule says when a sender names the host in the TLS handshake.
type SNIRule int

// The values of SNIRule.
const (
	SNINever          SNIRule = iota
	SNIAuthenticating         // where DANE or MTA-STS is in force
	SNIAlways
)

// FilterRule says when hosts that an MTA-STS policy does not list are left.
type FilterRule int

// The values of FilterRule.
const (
	FilterEarly FilterRule = iota // never contacted
	FilterLate                    // contacted, and left after the handshake
)

// MissingTLSRule says what becomes of the message if required TLS is not
// offered by any host.
type MissingTLSRule int

// The values of MissingTLSRule.
const (
	RetryMissingTLS MissingTLSRule = iota
	BounceMissingTLS
)

// RefusalStyle says how a refused certificate looks to the server.
type RefusalStyle int

// The values of RefusalStyle.
const (
	RefuseByQuit  RefusalStyle = iota // handshake completed, QUIT inside TLS
	RefuseByAlert                     // bad_certificate during the handshake
	RefuseByClose                     // handshake completed, close_notify, no QUIT
)

// Policy is how a sender behaves. The zero value is opportunistic TLS without
// SNI that tries every host.
type Policy struct {
	TLS          TLSRule
	CA           CARule
	DANE         DANERule
	STS          STSRule
	Both         BothRule
	SNI          SNIRule
	Filter       FilterRule
	OnMissingTLS MissingTLSRule
	Refusal      RefusalStyle
	// MaxMX is the number of sessions per attempt that get as far as MAIL; 0 is
	// no limit. Postfix has 2; many stop at the first.
	MaxMX int
	// ShuffleEqual shuffles hosts of equal preference.
	ShuffleEqual bool
	// CollapseSameAddress connects to an address only once per attempt, under
	// the name that comes first (Exim, OpenSMTPD).
	CollapseSameAddress bool
	// PlaintextAfterHandshakeFailure lets an opportunistic sender deliver in
	// plaintext, on a new connection, if the handshake failed for a reason
	// other than the certificate.
	PlaintextAfterHandshakeFailure bool
	// UnadvertisedStartTLS sends STARTTLS also where TLS is required and not
	// offered (mox).
	UnadvertisedStartTLS bool
}

// Names returns the names of the policies that Named knows, from weak to
// strong.
func Names() []string {
	return []string{"none", "may", "encrypt", "verify", "mta-sts", "dane", "dane-only", "dane+mta-sts"}
}

// Named returns the policy that goes by a name. Each behaves like common
// software does with it; fields may be changed afterwards.
func Named(name string) (Policy, bool) {
	p := Policy{MaxMX: 2, ShuffleEqual: true, SNI: SNIAuthenticating}
	switch name {
	case "none":
		p.TLS = TLSNever
	case "may":
		p.PlaintextAfterHandshakeFailure = true
	case "encrypt":
		p.TLS = TLSRequired
	case "verify":
		p.TLS, p.CA = TLSRequired, CAVerified
	case "mta-sts":
		p.STS = STSEnforce
	case "dane":
		p.DANE = DANEEnforce
	case "dane-only":
		p.DANE, p.TLS = DANERequire, TLSRequired
	case "dane+mta-sts":
		p.DANE, p.STS, p.Both = DANEEnforce, STSEnforce, BothMustHold
	}
	return p, slices.Contains(Names(), name)
}
