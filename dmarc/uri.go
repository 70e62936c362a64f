package dmarc

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// URI is an address for reports.
type URI struct {
	Text    string // as published, without the size
	Scheme  string // lower case
	Domain  string // of a mailto address, or host; lower case
	MaxSize uint64 // in bytes; 0: no limit given
}

// ParseURI reads a dmarc-uri (RFC 7489 §6.4). The URIs of a list are separated
// by commas already.
func ParseURI(s string) (URI, error) {
	text, size, limited := strings.Cut(s, "!")
	u := URI{Text: text}
	if text == "" {
		return u, fmt.Errorf("%s: want an address like mailto:reports@example.org", quote(s))
	}
	if limited {
		n, err := parseSize(size)
		if err != nil {
			return u, fmt.Errorf("%s: after \"!\" (%%21 in an address) want a size like 10m", quote(s))
		}
		u.MaxSize = n
	}
	if i := strings.IndexFunc(text, notURI); i >= 0 {
		return u, fmt.Errorf("%s: the character %s is not allowed in a URI", quote(s), strconv.QuoteToASCII(text[i:i+1]))
	}
	parsed, err := url.Parse(text)
	if err != nil {
		return u, fmt.Errorf("%s: not a URI", quote(s))
	}
	switch u.Scheme = parsed.Scheme; u.Scheme {
	case "":
		return u, fmt.Errorf("%s: no scheme; want mailto:%s", quote(s), clip(text))
	case "mailto":
		return u.mailto(parsed)
	}
	u.Domain = canonical(parsed.Hostname())
	if !isHostName(u.Domain) {
		return u, fmt.Errorf("%s: no host name", quote(s))
	}
	return u, nil
}

// mailto checks the address (RFC 6068 §2); a query part is left alone.
func (u URI) mailto(parsed *url.URL) (URI, error) {
	wrong := fmt.Errorf("%s: want mailto: and one address", quote(u.Text))
	address, err := url.PathUnescape(parsed.Opaque)
	if err != nil {
		return u, wrong
	}
	at := strings.LastIndexByte(address, '@')
	if at < 1 || strings.ContainsFunc(address[:at], func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return u, wrong
	}
	if strings.ContainsAny(address[:at], ",@") && !strings.HasPrefix(address, `"`) {
		return u, wrong
	}
	u.Domain = canonical(address[at+1:])
	if !isHostName(u.Domain) {
		return u, fmt.Errorf("%s: %s is not a domain name", quote(u.Text), quote(u.Domain))
	}
	return u, nil
}

// parseSize: 1*DIGIT [ "k" / "m" / "g" / "t" ], powers of two (RFC 7489 §6.2).
func parseSize(s string) (uint64, error) {
	shift := 0
	if n := len(s); n > 0 {
		if i := strings.IndexByte("kmgt", s[n-1]|0x20); i >= 0 {
			shift, s = 10*(i+1), s[:n-1]
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, err
	}
	if n > (1<<64-1)>>shift {
		return 1<<64 - 1, nil // the unit is not part of the number's limit
	}
	return n << shift, nil
}

// notURI reports whether a character may not stand in a URI (RFC 3986 §2).
func notURI(c rune) bool {
	return c <= ' ' || c > '~' || strings.ContainsRune("\"<>\\^`{|}", c)
}

func clip(s string) string { return s[:min(len(s), maxQuoted)] }

// isHostName allows underscores, which some names of mail domains have.
func isHostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
