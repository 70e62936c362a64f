package blocklist

import (
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Kind says what an entry blocks.
type Kind string

// The values of Kind.
const (
	Network Kind = "network" // clients
	Domain  Kind = "domain"  // senders of a domain and its subdomains
	Address Kind = "address" // one sender
)

// Networks shorter than these block very many.
const (
	widest4 = 8
	widest6 = 16
)

// ErrWide is in the error for an entry that would block very many.
var ErrWide = errors.New("this would block very many")

// Parse reads what is to be blocked: an IP address, a network such as
// 192.0.2.0/24, a domain such as spam.example (or @spam.example), or a mail
// address. The value is in its one canonical form. wide says that it would
// block very many: a large part of an address family, or a domain under which
// anybody can register a name.
func Parse(s string) (kind Kind, value string, wide bool, err error) {
	s = strings.TrimSpace(s)
	if len(s) > 320 { // RFC 5321 §4.5.3.1: 64 octets, @, 255 octets
		return "", "", false, fmt.Errorf("%d octets: want an IP address, a network, a domain or a mail address", len(s))
	}
	at := strings.LastIndexByte(s, '@')
	switch {
	case at > 0:
		value, err = canonicalAddress(s)
		return Address, value, false, err
	case at < 0:
		if p, ok := parseNetwork(s); ok {
			wide = p.Addr().Is4() && p.Bits() < widest4 || p.Addr().Is6() && p.Bits() < widest6
			return Network, p.String(), wide, nil
		}
		if strings.ContainsAny(s, "/:") {
			return "", "", false, fmt.Errorf("%q is no IP address and no network such as 192.0.2.0/24 or 2001:db8::/32", s)
		}
	}
	if value, err = canonicalDomain(s[at+1:]); err != nil {
		return "", "", false, err
	}
	suffix, _ := publicsuffix.PublicSuffix(value)
	return Domain, value, suffix == value, nil
}

// parseNetwork also takes an address, which is the network of itself.
func parseNetwork(s string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, false
		}
		a = a.WithZone("")
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), p.IsValid()
}

// canonicalDomain returns the A-labels of a domain, in lower case.
func canonicalDomain(s string) (string, error) {
	bad := func() (string, error) {
		return "", fmt.Errorf("%q is no domain such as spam.example", s)
	}
	name, err := idna.Lookup.ToASCII(strings.TrimSuffix(s, "."))
	if err != nil || name == "" || len(name) > 253 || !utf8.ValidString(s) {
		return bad()
	}
	if again, err := idna.Lookup.ToASCII(name); err != nil || again != name {
		return bad()
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return bad()
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return bad() // the rest of an IPv4 address
	}
	return name, nil
}

// canonicalAddress returns a mail address in lower case: case in a local part
// means something in theory only, and must not get anybody around a block.
func canonicalAddress(s string) (string, error) {
	a, err := mail.ParseAddress("<" + s + ">")
	if err != nil || strings.ContainsAny(a.Address, "\r\n\x00<>") {
		return "", fmt.Errorf("%q is no mail address such as a@spam.example", s)
	}
	at := strings.LastIndexByte(a.Address, '@')
	domain, err := canonicalDomain(a.Address[at+1:])
	if err != nil || a.Address[:at] == "" {
		return "", fmt.Errorf("%q is no mail address such as a@spam.example", s)
	}
	return strings.ToLower(a.Address[:at]) + "@" + domain, nil
}
