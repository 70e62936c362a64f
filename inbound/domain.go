package inbound

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const maxDomain = 253 // octets of a name without the final dot (RFC 1035 §2.3.4)

// ParseDomain returns a mail domain as A-labels in lower case without the final
// dot. It takes U-labels, any case, and one final dot. The error says what is
// wrong with it.
func ParseDomain(s string) (string, error) {
	domain, err := parseDomain(s)
	if err != nil {
		return "", fmt.Errorf("domain %q: %w", shorten(s, 100), err)
	}
	return domain, nil
}

func parseDomain(s string) (string, error) {
	switch {
	case s == "" || s == ".":
		return "", errors.New("it is empty: give a domain, e.g. example.org")
	case len(s) > 4*maxDomain:
		return "", errors.New("it is too long")
	case strings.ContainsRune(s, '@'):
		return "", errors.New("it is an address: give what is behind the @")
	case isLiteral(s):
		return "", errors.New("it is an IP address: give a domain, e.g. example.org")
	}
	// UTS #46 with the deviations of IDNA 2008: faß.example is not fass.example.
	profile := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckJoiners(true),
		idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false))
	ascii, err := profile.ToASCII(s)
	if err != nil || !utf8.ValidString(s) {
		return "", errors.New("it is neither a domain name nor an internationalized one")
	}
	ascii = strings.TrimSuffix(ascii, ".")
	switch {
	case len(ascii) > maxDomain:
		return "", fmt.Errorf("it has %d octets, and at most %d are possible", len(ascii), maxDomain)
	case isLiteral(ascii) || numeric(top(ascii)): // full-width digits
		return "", errors.New("its last label is a number, as of an IP address: give a domain, e.g. example.org")
	case !isHost(ascii):
		return "", errors.New("labels have 1 to 63 letters, digits and hyphens, and do not begin or end with a hyphen")
	case !strings.Contains(ascii, "."):
		return "", errors.New("it is a single label: give the whole domain, e.g. example.org")
	}
	return ascii, nil
}

// isLiteral reports whether a text is an IP address, in brackets or not (RFC
// 5321 §4.1.3).
func isLiteral(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if strings.HasPrefix(s, "[") {
		return true
	}
	_, err := netip.ParseAddr(s)
	return err == nil
}

func top(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// numeric reports whether a label is a number as inet_aton reads it, which no
// top-level domain is.
func numeric(label string) bool {
	digits, hex := strings.CutPrefix(label, "0x")
	set := "0123456789"
	if hex {
		set += "abcdef"
	}
	return label != "" && strings.Trim(digits, set) == ""
}

// isHost reports whether a name in lower case is made of labels that hosts
// have. Underscores are tolerated: they are wrong (RFC 952), and they exist.
func isHost(name string) bool {
	if len(name) > maxDomain {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// isLocalhost reports whether a name is that of every machine itself (RFC 6761
// §6.3).
func isLocalhost(name string) bool {
	return top(name) == "localhost" || name == "localhost.localdomain"
}

// hostFault says why a name can't be that of an MX host; "" if it can.
func hostFault(name string) (id, text string) {
	switch {
	case isLiteral(name) || numeric(top(name)):
		return FaultAddress, "the MX record has an IP address where the name of a host must be"
	case isLocalhost(name):
		return FaultLocalhost, "the MX record sends every sender to itself"
	case !isHost(name):
		return FaultNotAHost, "the MX record has something that is not the name of a host"
	}
	return "", ""
}
