package dnssec

import (
	"strings"

	"github.com/miekg/dns"
)

// Texts returns the texts of the TXT records of an answer, as the octets that
// were sent: character-strings joined, without the escapes of zone files.
func (a Answer) Texts() []string {
	var out []string
	for _, rr := range a.RRs {
		if t, ok := rr.(*dns.TXT); ok {
			out = append(out, unescape(strings.Join(t.Txt, "")))
		}
	}
	return out
}

// unescape resolves \DDD and \c (RFC 1035 §5.1), which miekg/dns adds.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i+2 < len(s) && digit(s[i]) && digit(s[i+1]) && digit(s[i+2]) {
			b.WriteByte((s[i]-'0')*100 + (s[i+1]-'0')*10 + s[i+2] - '0')
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func digit(c byte) bool { return c >= '0' && c <= '9' }
