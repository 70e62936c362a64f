package policyinfer

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/tlsink/tlsink/evidence"
)

// tlsFindings reports how well each host of the sender speaks TLS. The sink
// takes every version and suite that it knows, and prefers ECDHE with AEAD, so
// a host that ends up with less can't do better here.
func tlsFindings(as []attempt) []Finding {
	var pipelined, old, suites, none []evidence.ConnID
	hosts, order := connectionsByHost(as)
	l := &ledger{met: deliveriesByHost(as)}
	for _, addr := range order {
		cs := hosts[addr]
		for _, c := range cs {
			if !weak(c) && slices.Contains(c.Anomalies, evidence.AnomalyPipelined) {
				pipelined = appendCited(pipelined, c.ID)
			}
		}
		old = appendCited(old, onlyIf(cs, offersOld)...)
		suites = appendCited(suites, onlyIf(cs, negotiatedWeak)...)
		none = appendCited(none, l.noCommon(addr, cs)...)
	}
	var out []Finding
	add := func(id, text string, conns []evidence.ConnID) {
		if len(conns) > 0 {
			out = append(out, Finding{ID: id, Text: text, Connections: conns})
		}
	}
	add(FindingPipelined, "Right behind STARTTLS, more came without encryption than the command itself (RFC 3207 §4 forbids that). The sender, or somebody on the way, put it there; a careless server would take it for part of the encrypted session.", pipelined)
	add(FindingOldTLS, "The sender offers no TLS version later than 1.1. These are withdrawn (RFC 8996), and many servers no longer accept them.", old)
	add(FindingWeakSuites, "The sender gets along only with weak encryption: RC4, 3DES, or a key exchange without ECDHE, so that mail recorded today can be read by whoever gets hold of the server's key later.", suites)
	add(FindingNoCommonTLS, "The sender and this server could not agree on a TLS version or cipher suite, although this server accepts nearly all. No encryption came about.", none)
	return out
}

func connectionsByHost(as []attempt) (hosts map[netip.Addr][]*evidence.Connection, order []netip.Addr) {
	hosts = make(map[netip.Addr][]*evidence.Connection)
	for _, a := range as {
		for _, c := range a.conns {
			if c.TLS == nil && len(c.Anomalies) == 0 {
				continue
			}
			addr := hostOf(c)
			if hosts[addr] == nil {
				order = append(order, addr)
			}
			hosts[addr] = append(hosts[addr], c)
		}
	}
	return hosts, order
}

// onlyIf returns the connections of a host that is so whenever it speaks TLS.
// What only the address ties to the sender can refute it, but not show it.
func onlyIf(cs []*evidence.Connection, so func(*evidence.TLS) bool) []evidence.ConnID {
	var out []evidence.ConnID
	for _, c := range cs {
		switch {
		case c.TLS == nil:
		case !so(c.TLS):
			return nil
		case !weak(c):
			out = appendCited(out, c.ID)
		}
	}
	return out
}

// offersOld: RFC 8996 withdraws TLS 1.0 and 1.1.
func offersOld(t *evidence.TLS) bool {
	return len(t.ClientVersions) > 0 && !slices.ContainsFunc(t.ClientVersions, func(v string) bool { return v != "1.0" && v != "1.1" })
}

// negotiatedWeak goes by the names of crypto/tls. Suites with an ECDSA key
// don't count: their choice follows from the key, so that RSA suites may have
// been better. CBC with ECDHE doesn't count, either, and neither does
// finite-field DHE, which crypto/tls does not have and RFC 9325 §4.1 advises
// against: the sink then falls back to RSA key exchange.
func negotiatedWeak(t *evidence.TLS) bool {
	if t.Cipher == nil {
		return false
	}
	s := *t.Cipher
	return strings.HasPrefix(s, "TLS_RSA_WITH_") || strings.HasPrefix(s, "TLS_ECDHE_RSA_WITH_") && (strings.Contains(s, "_RC4_") || strings.Contains(s, "_3DES_"))
}

// noCommon returns the handshakes of a host that failed because nothing was
// in common, if no handshake of it ever came as far as our certificate. One
// that only the address ties to the sender needs its EHLO name, and company.
func (l *ledger) noCommon(addr netip.Addr, cs []*evidence.Connection) []evidence.ConnID {
	var failed []*evidence.Connection
	for _, c := range cs {
		switch {
		case c.TLS == nil:
		case c.TLS.Stage != evidence.StageBeforeCertificate || c.TLS.Complete:
			return nil
		case nothingInCommon(c.TLS):
			failed = append(failed, c)
		}
	}
	var out []evidence.ConnID
	sure := 0
	for _, c := range failed {
		switch {
		case !weak(c):
			sure += 2
		case l.saysItsName(event{conn: c, host: addr}):
			sure++
		default:
			continue
		}
		out = appendCited(out, c.ID)
	}
	if sure < 2 {
		return nil
	}
	return out
}

// nothingInCommon reports whether a handshake failed for its parameters: in the
// words of crypto/tls, or by an alert of RFC 8446 §6.2.
func nothingInCommon(t *evidence.TLS) bool {
	if t.Stage != evidence.StageBeforeCertificate {
		return false
	}
	if t.Alert != nil {
		switch *t.Alert {
		case "protocol version", "protocol version not supported", "handshake failure", "insufficient security", "insufficient security level":
			return true
		}
		return false
	}
	return t.Error != nil && slices.ContainsFunc([]string{
		"client offered only unsupported versions", "no cipher suite supported by both client and server", "no key exchanges supported by both client and server",
		"no supported elliptic curves offered", "peer doesn't support any of the certificate's signature algorithms",
	}, func(text string) bool { return strings.Contains(*t.Error, text) })
}
