package inbound

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxText = 400 // runes of a reason

// clean makes one bounded line of what may come from strangers.
func clean(s string) string {
	s = strings.ToValidUTF8(shorten(s, 8*maxText), "?")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	if utf8.RuneCountInString(s) > maxText {
		s = string([]rune(s)[:maxText]) + "…"
	}
	return strings.TrimSpace(s)
}

// shorten cuts a text after so many bytes.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
