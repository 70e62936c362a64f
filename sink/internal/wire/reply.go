package wire

import (
	"fmt"
	"strings"
)

// Reply is an SMTP reply. A zero Enhanced is left out.
type Reply struct {
	Code     int
	Enhanced [3]int // RFC 3463
	Text     string
}

// maxReplyText keeps a reply line below the 512 octets of RFC 5321 §4.5.3.1.5.
const maxReplyText = 480

// Sanitize makes text fit for one reply line: printable US-ASCII, bounded.
func Sanitize(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\r' || r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), maxReplyText)]
}

// String returns the reply as a line.
func (r Reply) String() string {
	if r.Enhanced == [3]int{} {
		return fmt.Sprintf("%d %s\r\n", r.Code, Sanitize(r.Text))
	}
	e := r.Enhanced
	return fmt.Sprintf("%d %d.%d.%d %s\r\n", r.Code, e[0], e[1], e[2], Sanitize(r.Text))
}
