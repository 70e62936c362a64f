package received

import (
	"net/mail"
	"net/netip"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

// Limits on what is kept.
const (
	// MaxHops is the most hops of a path.
	MaxHops = 30

	maxName   = 253 // octets of a host name
	maxWith   = 40  // octets of a protocol
	maxCipher = 80  // octets of a suite
)

// Field is what one Received field says. All its texts are ASCII without white
// space or control characters, but With, which may have blanks.
type Field struct {
	evidence.Hop
	// Client is the address that the mail came from; not valid if the field does
	// not say.
	Client netip.Addr
	// Submitted: the client logged in (the A of ESMTPSA), so it is a person's
	// device rather than a server.
	Submitted bool
}

// Path returns what the Received fields of a header say, whose values are given
// in the order of the header, newest first. The result has the order the mail
// went. Of more than MaxHops the oldest are left out: they are the furthest from
// anybody who can be trusted; leftOut is their number.
func Path(values []string) (path []Field, leftOut int) {
	leftOut = max(0, len(values)-MaxHops)
	for i := len(values) - leftOut - 1; i >= 0; i-- {
		path = append(path, Parse(values[i]))
	}
	return path, leftOut
}

// Parse reads the value of one Received field.
func Parse(value string) Field {
	tokens, date := scan(value)
	c := split(tokens)
	var f Field
	var helo string
	f.From, helo, f.Client = from(c)
	if words := c.words("by"); len(words) > 0 {
		f.By = host(words[0])
	}
	f.With = with(c)
	f.Time = parseTime(date)

	p := protocolOf(f.With)
	f.Submitted = p.authenticated || submitted(c)
	t := tlsOf(tokens, c)
	f.TLS, f.Cipher = t.version, t.cipher
	switch {
	case p.secure || t.claimed:
		f.Claim = evidence.ClaimEncrypted
	case p.local || local(c, helo, f.Client) || p.plain && !c.has("from"):
		// Without from (by mail-x.google.com with SMTP) it tells of no transport
		// between machines, but of a step within a provider.
		f.Claim = evidence.ClaimLocal
	case p.plain:
		f.Claim = evidence.ClaimUnencrypted
	default:
		f.Claim = evidence.ClaimNone
	}
	return f
}

// from returns the name of the client, what it called itself, and its address.
// The name is that of its address if the field has it: unlike HELO, the server
// looked it up.
func from(c clauses) (name, helo string, address netip.Addr) {
	if words := c.words("from"); len(words) > 0 {
		helo = words[0]
		address = literal(helo)
	}
	name = host(helo)
	for _, text := range c.comments("from") {
		words := strings.Fields(text)
		for i, w := range words {
			a := literal(w)
			if a.IsValid() && !address.IsValid() {
				address = a
			}
			switch key, value, assigned := strings.Cut(w, "="); {
			case assigned && strings.EqualFold(key, "helo"):
				helo = value
			case i == 1 && helloWord(words[0]):
				helo = w // qmail: (HELO name)
			case i == 0 && len(words) > 1 && literal(words[1]).IsValid() && host(w) != "" && !strings.EqualFold(w, "unknown") && !a.IsValid():
				name = host(w) // Postfix, Sendmail: (name [address])
			}
		}
	}
	if strings.EqualFold(name, "unknown") || name == "" {
		name = host(helo)
	}
	if name == "" && address.IsValid() {
		name = "[" + address.String() + "]"
	}
	return name, helo, address
}

func helloWord(s string) bool {
	switch strings.ToUpper(s) {
	case "HELO", "EHLO", "LHLO":
		return true
	}
	return false
}

// literal returns the address that a word is: 192.0.2.1, [192.0.2.1],
// [IPv6:2001:db8::1], [192.0.2.1]:587 or user@192.0.2.1; not valid if it is none.
func literal(word string) netip.Addr {
	word = strings.TrimSuffix(word, ",")
	if at := strings.LastIndexByte(word, '@'); at >= 0 {
		word = word[at+1:]
	}
	if inside, ok := strings.CutPrefix(word, "["); ok {
		word, _, _ = strings.Cut(inside, "]")
		if len(word) > 5 && strings.EqualFold(word[:5], "IPv6:") {
			word = word[5:]
		}
		if p, err := netip.ParseAddrPort(word); err == nil {
			return p.Addr().WithZone("").Unmap()
		}
	}
	a, err := netip.ParseAddr(word)
	if err != nil {
		return netip.Addr{}
	}
	return a.WithZone("").Unmap()
}

// host returns a host name in lower case without a final dot; "" if the word is
// none. Addresses are names here: some servers write their own.
func host(word string) string {
	word = strings.ToLower(strings.TrimRight(word, ".,"))
	address := literal(word).IsValid()
	switch {
	case word == "", len(word) > maxName, address && word[0] == '[', !address && strings.Contains(word, ":"):
		return ""
	}
	for i := range len(word) {
		c := word[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' && c != ':' {
			return ""
		}
	}
	return word
}

// parseTime reads a date; zero if it makes no sense.
func parseTime(s string) time.Time {
	t, err := mail.ParseDate(strings.TrimSpace(s))
	if err != nil || t.Year() < 1970 || t.Year() > 9990 {
		return time.Time{}
	}
	return t.UTC()
}
