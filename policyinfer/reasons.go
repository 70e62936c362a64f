package policyinfer

import (
	"fmt"
	"slices"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// The ids of reasons.
const (
	ReasonNeverAtUT              = "never-at-ut"
	ReasonNeverAtMX03            = "never-at-mx03"
	ReasonPlaintextRefused       = "plaintext-refused"
	ReasonPlaintextThoughOffered = "plaintext-though-tls-offered"
	ReasonPlaintextDelivered     = "plaintext-delivered"
	ReasonTLSStarted             = "tls-started"
	ReasonTLSDelivered           = "tls-delivered"
	ReasonTLSRefused             = "tls-refused"
)

// ReasonIDs lists the ids of all reasons.
func ReasonIDs() []string {
	return []string{
		ReasonNeverAtUT, ReasonNeverAtMX03, ReasonPlaintextRefused, ReasonPlaintextThoughOffered, ReasonPlaintextDelivered,
		ReasonTLSStarted, ReasonTLSDelivered, ReasonTLSRefused,
	}
}

// The arguments of reasons, with the values of package scenario.
const (
	ArgDomain      = "domain"      // scenario.Domain
	ArgHost        = "host"        // scenario.Host, if the sender named it
	ArgCertificate = "certificate" // scenario.Kind
	ArgTLSA        = "tlsa"        // scenario.TLSA, where there is a record
	ArgSNI         = "sni"         // tls-started: scenario.Ternary
)

// reasons puts the facts into sentences, what was delivered first.
func reasons(facts []fact) []Reason {
	out := []Reason{}
	index := make(map[string]int)
	for _, f := range facts {
		if f.outcome == contacted {
			continue // the SNI habit explains itself with what came of it
		}
		s := f.sentence()
		i, ok := index[s]
		if !ok {
			i = len(out)
			index[s] = i
			id, args := f.said()
			out = append(out, Reason{ID: id, Text: s, Connections: []evidence.ConnID{}, Args: args})
		}
		for _, c := range f.conns {
			if !slices.Contains(out[i].Connections, c) {
				out[i].Connections = append(out[i].Connections, c)
			}
		}
	}
	return out
}

// sentence says what was observed, for people who know no more than that there
// are two test domains.
func (o observation) sentence() string {
	switch o.outcome {
	case neverAtUT:
		return "A mail to both domains was sent to the protected one (et) again and again, and nothing came to the unprotected one (ut)."
	case neverAtMX03:
		return "mx03 was never contacted, although it was the first server to try."
	case refusedPlaintext:
		return "Did not send the mail " + o.domain() + ", when encryption (STARTTLS) was not offered."
	case deliveredPlaintext:
		if o.face.StartTLS {
			return "Sent the mail " + o.domain() + " unencrypted, although encryption (STARTTLS) was offered."
		}
		return "Sent the mail " + o.domain() + " unencrypted, when encryption (STARTTLS) was not offered."
	case deliveredTLS:
		return "Sent the mail encrypted " + o.server() + "."
	case refusedTLS:
		return "Did not send the mail " + o.server() + "."
	}
	return fmt.Sprintf("Started encryption (TLS) %s%s.", o.domain(), map[scenario.Ternary]string{scenario.Yes: ", naming the server", scenario.No: ", without naming a server"}[o.sni])
}

func (o observation) domain() string {
	switch o.face.Domain {
	case et:
		return "for the protected domain (et)"
	case ut:
		return "for the unprotected domain (ut)"
	}
	return "for one of the two domains (et or ut)"
}

// server says whom the sender met.
func (o observation) server() string {
	f := o.face
	cert := map[scenario.Kind]string{
		scenario.SelfSigned: "is self-signed", scenario.CA: "comes from a public CA",
		scenario.CADefault: "comes from a public CA and names every test server",
	}[f.Certificate]
	if cert == "" {
		cert = "is " + string(f.Certificate)
	}
	switch match := o.matches(); {
	case match == "":
	case match == scenario.TLSAMatch && !f.Certificate.Trusted():
		cert += ", but matches its TLSA record"
	case match == scenario.TLSAMatch:
		cert += " and matches its TLSA record"
	case f.Certificate.Trusted():
		cert += ", but does not match its TLSA record"
	default:
		cert += " and does not match its TLSA record"
	}
	if o.namesHost() {
		return fmt.Sprintf("for the protected domain (et) to %s, whose certificate %s", f.Host, cert)
	}
	return o.domain() + " to a server whose certificate " + cert
}

// matches says whether the certificate matches its TLSA record; "" where there
// is none, or may be none.
func (o observation) matches() scenario.TLSA {
	switch {
	case o.face.Host == scenario.UT || o.face.Domain != et:
		return ""
	case o.face.TLSA == scenario.TLSAMatch:
		return scenario.TLSAMatch
	}
	return scenario.TLSAMismatch
}

// namesHost reports whether the sender named the server that it met.
func (o observation) namesHost() bool {
	return o.sni == scenario.Yes && o.face.Host != "" && o.face.Host != scenario.UT
}

// said is the sentence as its id and arguments.
func (o observation) said() (id string, args map[string]string) {
	switch o.outcome {
	case neverAtUT:
		return ReasonNeverAtUT, nil
	case neverAtMX03:
		return ReasonNeverAtMX03, nil
	}
	args = map[string]string{ArgDomain: string(o.face.Domain)}
	switch {
	case o.outcome == refusedPlaintext:
		return ReasonPlaintextRefused, args
	case o.outcome == deliveredPlaintext && o.face.StartTLS:
		return ReasonPlaintextThoughOffered, args
	case o.outcome == deliveredPlaintext:
		return ReasonPlaintextDelivered, args
	case o.outcome == contacted:
		args[ArgSNI] = string(o.sni)
		return ReasonTLSStarted, args
	}
	args[ArgCertificate] = string(o.face.Certificate)
	if match := o.matches(); match != "" {
		args[ArgTLSA] = string(match)
	}
	if o.namesHost() {
		args[ArgDomain], args[ArgHost] = string(et), string(o.face.Host)
	}
	if o.outcome == deliveredTLS {
		return ReasonTLSDelivered, args
	}
	return ReasonTLSRefused, args
}
