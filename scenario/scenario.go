package scenario

// Host is one of the mail hosts of a slot. The empty Host means that the host
// a client meant is not known.
type Host string

// The hosts of a slot.
const (
	MX03 Host = "mx03"
	MX04 Host = "mx04"
	MX05 Host = "mx05"
	MX06 Host = "mx06"
	UT   Host = "ut"
)

// MXHosts returns the four MX hosts of et in their numeric order.
func MXHosts() []Host { return []Host{MX03, MX04, MX05, MX06} }

// Resting returns the MX hosts in the order in which a slot rests that a test
// may have to itself, most preferred first: a sender that tries several hosts
// shows the most in it, at its first attempt.
func Resting() []Host { return []Host{MX04, MX05, MX06, MX03} }

// Domain is one of the two test domains.
type Domain string

// The values of Domain, in the words of the interchange format.
const (
	ET            Domain = "et"
	Unprotected   Domain = "ut"
	UnknownDomain Domain = "unknown"
)

// Domain returns the test domain that h belongs to.
func (h Host) Domain() Domain {
	switch h {
	case MX03, MX04, MX05, MX06:
		return ET
	case UT:
		return Unprotected
	}
	return UnknownDomain
}

// Kind says which certificate a client was shown.
type Kind string

// The values of Kind, in the words of the interchange format. SelfSigned is
// also the default certificate in its self-signed form; CADefault is the
// default certificate from the public CA, naming every MX host, et and ut.
const (
	NoCertificate Kind = ""
	SelfSigned    Kind = "self-signed"
	CA            Kind = "ca"
	CADefault     Kind = "ca-default"
)

// Trusted reports whether a client that verifies against the public CAs and
// the host's name accepts a certificate of this kind.
func (k Kind) Trusted() bool { return k == CA || k == CADefault }

// TLSA relates the certificate that was shown to the TLSA records of the host
// that the client meant.
type TLSA string

// The values of TLSA, in the words of the interchange format.
const (
	TLSAMatch    TLSA = "match"
	TLSAMismatch TLSA = "mismatch"
	TLSANone     TLSA = "none" // the host publishes no TLSA records
	TLSAUnknown  TLSA = "unknown"
)

// Ternary is a truth value that may be unknown.
type Ternary string

// The values of Ternary.
const (
	Yes     Ternary = "yes"
	No      Ternary = "no"
	Unknown Ternary = "unknown"
)

// Face is the presented scenario: what a connection was really shown.
type Face struct {
	Domain      Domain
	Host        Host // as far as SNI tells
	StartTLS    bool // STARTTLS was offered
	Certificate Kind // NoCertificate if none was sent
	TLSA        TLSA
	InPolicy    Ternary // the host is listed in the MTA-STS policy of its domain
}

// Plaintext returns the face of a connection that was not offered STARTTLS
// (offered false) or did not use it. The host cannot be known.
func Plaintext(d Domain, offered bool) Face {
	f := Face{Domain: d, StartTLS: offered, TLSA: TLSAUnknown, InPolicy: Unknown}
	if d == Unprotected {
		f.Host, f.TLSA, f.InPolicy = UT, TLSANone, No
	}
	return f
}

// Named returns the face of a TLS connection whose SNI named h, when
// certificate kind k was shown.
func Named(h Host, k Kind) Face {
	f := Face{Domain: h.Domain(), Host: h, StartTLS: true, Certificate: k, TLSA: TLSAUnknown, InPolicy: Unknown}
	switch h {
	case MX03, MX05:
		f.TLSA = TLSAMismatch
	case MX04, MX06:
		f.TLSA = TLSAMatch
	case UT:
		f.TLSA = TLSANone
	}
	switch h {
	case MX04, MX05, MX06:
		f.InPolicy = Yes
	case MX03, UT:
		f.InPolicy = No
	}
	return f
}

// Default returns the face of a TLS connection without SNI: default
// certificate k, and a domain that only a recipient can tell. The keys of the
// default certificates match no TLSA record, whichever MX host of et was
// meant; whether the host is in the policy stays unknown.
func Default(d Domain, k Kind) Face {
	f := Face{Domain: d, StartTLS: true, Certificate: k, TLSA: TLSAUnknown, InPolicy: Unknown}
	switch d {
	case ET:
		f.TLSA = TLSAMismatch
	case Unprotected:
		f.Host, f.TLSA, f.InPolicy = UT, TLSANone, No
	}
	return f
}

// HostKind returns the certificate kind that host h presents to clients that
// name it. ut has both; its regular one is from the public CA.
func HostKind(h Host) Kind {
	switch h {
	case MX03, MX04:
		return SelfSigned
	case MX05, MX06, UT:
		return CA
	}
	return NoCertificate
}

// Server is the number of a virtual server, 1 to 7: a label for people, never
// used by inference.
type Server int

// ServerOf labels a connection: 7 if a recipient or the SNI is ut, 1 without
// TLS, 2 without (or with unknown) SNI, else the number of the named host. SNI
// wins over a recipient that disagrees.
func ServerOf(tls bool, sni Host, rcpt Domain) Server {
	switch sni {
	case MX03:
		return 3
	case MX04:
		return 4
	case MX05:
		return 5
	case MX06:
		return 6
	case UT:
		return 7
	}
	switch {
	case rcpt == Unprotected:
		return 7
	case tls:
		return 2
	}
	return 1
}

// Owner says which face of a slot a certificate belongs to.
type Owner string

// The owners of certificates. Service is the operator's own clean identity
// (report mail host, pages); it has no slot.
const (
	OwnerMX03    Owner = "mx03"
	OwnerMX04    Owner = "mx04"
	OwnerMX05    Owner = "mx05"
	OwnerMX06    Owner = "mx06"
	OwnerUT      Owner = "ut"
	OwnerDefault Owner = "default"
	OwnerMTASTS  Owner = "mta-sts"
	OwnerService Owner = "service"
)

// Certificate identifies what a face presents. Kind is SelfSigned or CA; the
// default certificate from the CA is {OwnerDefault, CA}. Default and service
// certificates have Slot 0.
type Certificate struct {
	Slot  int
	Owner Owner
	Kind  Kind
}

// Shared returns the identity that stands behind c: all slots share the keys and
// certificates of a face, which name its hosts in every slot. So a sink of many
// slots needs no more certificates than one of one slot, and a public CA gives
// them all. Behind each identity stand an ECDSA and an RSA certificate.
func (c Certificate) Shared() Certificate {
	c.Slot = 0
	return c
}

// Certificates lists the identities of a sink, in a stable order.
func Certificates() []Certificate {
	return []Certificate{
		{0, OwnerService, CA},
		{0, OwnerDefault, SelfSigned},
		{0, OwnerDefault, CA},
		{0, OwnerMX03, SelfSigned},
		{0, OwnerMX04, SelfSigned},
		{0, OwnerMX05, CA},
		{0, OwnerMX06, CA},
		{0, OwnerUT, CA},
		{0, OwnerUT, SelfSigned},
		{0, OwnerMTASTS, CA},
	}
}

// Presented returns the certificate kind in the words of the interchange
// format, where the default certificate from the CA has a name of its own.
func (c Certificate) Presented() Kind {
	if c.Owner == OwnerDefault && c.Kind == CA {
		return CADefault
	}
	return c.Kind
}
