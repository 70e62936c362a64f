package probe

import (
	"strings"
	"unicode"
)

// Limits of what is kept of a server's words, in characters.
const (
	maxText  = 200
	maxNames = 100 // DNS names of a certificate
)

// clean makes one line without control characters of what a server said.
func clean(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == maxText {
			return b.String() + "…"
		}
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			r = ' '
		case !unicode.IsPrint(r) || r == unicode.ReplacementChar:
			r = '?'
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}
