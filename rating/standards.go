package rating

import (
	"strings"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/tlspolicy"
)

// daneItems are the requirements of SMTP-DANE (RFC 7672).
func daneItems(a inbound.Analysis) []item {
	out := []item{{MXSecure, a.Domain, secure(a.MX, "MX records")}}
	for _, h := range a.Hosts {
		if unasked(h) {
			continue
		}
		out = append(out, daneHost(a, h)...)
	}
	return append(out, eachServer(a, func(h inbound.Host, s inbound.Server) []item {
		out := []item{{id: StartTLS, result: s.StartTLS}}
		if s.StartTLS.OK() && tlsaPresent(h).OK() && tlsaUsable(h).OK() {
			out = append(out, item{id: TLSAMatch, result: s.DANE})
		}
		return out
	})...)
}

// daneHost are the requirements for DNS of one host.
func daneHost(a inbound.Analysis, h inbound.Host) []item {
	address, tlsa := addressSecure(h), tlsaPresent(h)
	if throughAlias(a, h) {
		address = check.Pass()
	} else if address.Failed() && h.Canonical != "" && a.MX.Status == dnssec.Secure && h.DANE.Outcome == check.Untested {
		address = h.DANE // whether it is one of a secure alias is not known
	}
	out := []item{{AddressSecure, h.Name, address}}
	if nowhere(h) {
		return out
	}
	out = append(out, item{TLSAPresent, h.Name, tlsa})
	usable := check.Result{}
	if tlsa.OK() {
		usable = tlsaUsable(h)
		out = append(out, item{TLSAUsable, h.Name, usable})
	}
	if a.MX.Status == dnssec.Secure && address.OK() && usable.OK() && !h.DANE.OK() {
		out = append(out, item{TLSAPresent, h.Name, h.DANE}) // senders know best
	}
	return out
}

// throughAlias reports whether the TLSA records are those of a secure alias.
// RFC 7672 §2.2.2: then the address that it leads to need not be secure.
func throughAlias(a inbound.Analysis, h inbound.Host) bool {
	if h.Canonical == "" || h.Canonical == h.Name {
		return false
	}
	if a.MX.Status == dnssec.Secure {
		return h.DANE.OK() // exact
	}
	return h.TLSAName == h.Name && tlsaPresent(h).OK()
}

func addressSecure(h inbound.Host) check.Result {
	var parts []check.Result
	if h.A.CountsBeside(h.AAAA) {
		parts = append(parts, secure(h.A, "A records"))
	}
	if h.AAAA.CountsBeside(h.A) {
		parts = append(parts, secure(h.AAAA, "AAAA records"))
	}
	return check.Worst(parts...)
}

// tlsaPresent says whether a host has secure TLSA records.
func tlsaPresent(h inbound.Host) check.Result {
	r := secure(h.TLSA, "TLSA records")
	if h.TLSA.Count == 0 && (r.OK() || h.TLSA.Status == dnssec.Insecure) {
		return check.Fail("it has no TLSA records")
	}
	return r
}

func tlsaUsable(h inbound.Host) check.Result {
	var why []string
	for _, r := range h.Records {
		if r.Usable {
			return check.Pass()
		}
		if r.Why != "" {
			why = append(why, r.Why)
		}
	}
	if len(h.Records) == 0 {
		return check.Skip("its TLSA records are not known")
	}
	return check.Fail("none of its TLSA records is usable" + reason(strings.Join(why, "; ")))
}

// mtastsItems are the requirements of MTA-STS (RFC 8461).
func mtastsItems(a inbound.Analysis) []item {
	p := a.MTASTS
	out := []item{{PolicyRecord, a.Domain, p.Published}}
	if p.Published.OK() {
		if p.HTTPS.Outcome != "" {
			out = append(out, item{PolicyHTTPS, a.Domain, p.HTTPS})
		}
		if !p.HTTPS.Failed() || p.Policy.Outcome != "" {
			out = append(out, item{PolicyFile, a.Domain, p.Policy})
		}
		if p.Policy.OK() {
			out = append(out, item{PolicyMode, a.Domain, enforced(p.Mode)})
			for _, h := range a.Hosts {
				out = append(out, item{PolicyLists, h.Name, h.Listed})
			}
		}
	}
	return append(out, eachServer(a, func(_ inbound.Host, s inbound.Server) []item {
		out := []item{{id: StartTLS, result: s.StartTLS}}
		if s.StartTLS.OK() {
			out = append(out, item{id: TLSVersion, result: modern(s)}, item{id: Certificate, result: valid(s)})
		}
		return out
	})...)
}

// enforced says whether senders act upon a policy (RFC 8461 §5).
func enforced(mode string) check.Result {
	switch tlspolicy.Mode(mode) {
	case tlspolicy.ModeEnforce:
		return check.Pass()
	case tlspolicy.ModeTesting:
		return check.Fail("its mode is testing: senders report what fails, and deliver all the same")
	case tlspolicy.ModeNone:
		return check.Fail("its mode is none: there is no policy any more")
	}
	return check.Skip("its mode is not known")
}

// qualifiedItems are the requirements of qualified transport encryption: the
// Orientierungshilfe of the German data protection authorities.
func qualifiedItems(a inbound.Analysis) []item {
	out := []item{{MXSecure, a.Domain, secure(a.MX, "MX records")}}
	for _, h := range a.Hosts {
		if !unasked(h) {
			out = append(out, item{AddressSecure, h.Name, addressSecure(h)})
		}
	}
	return append(out, eachServer(a, func(_ inbound.Host, s inbound.Server) []item {
		out := []item{{id: StartTLS, result: s.StartTLS}}
		if s.StartTLS.OK() {
			out = append(out,
				item{id: Mandatory, result: s.Mandatory},
				item{id: TLSVersion, result: modern(s)},
				item{id: NoOldTLS, result: noOld(s)},
				item{id: ForwardSecrecy, result: s.ForwardSecrecy},
				item{id: Authenticated, result: either(s.DANE, valid(s))},
			)
		}
		return out
	})...)
}

// tlsItems are the requirements of encryption that is not outdated.
func tlsItems(a inbound.Analysis) []item {
	return eachServer(a, func(_ inbound.Host, s inbound.Server) []item {
		out := []item{{id: StartTLS, result: s.StartTLS}}
		if s.StartTLS.OK() {
			out = append(out, item{id: TLSVersion, result: modern(s)})
		}
		return out
	})
}
