package report

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tlsink/tlsink/scenario"
)

// Lengths at which values are cut, in characters.
const (
	maxName    = 80  // names, identifiers
	maxText    = 600 // sentences
	maxLink    = 500
	maxRecord  = 320  // values in JSON; a reverse-path has at most 256 octets (RFC 5321 §4.5.3.1.3)
	maxMarks   = 2    // combining characters on one base
	maxScanned = 4096 // octets of a value that are looked at
)

// clean neutralises a value that a stranger chose: one line, at most max
// characters, and only characters that are visible. Control characters, ANSI
// escapes, bidirectional overrides, zero-width characters and line separators
// become U+FFFD.
func clean(s string, max int) string {
	if len(s) <= max && plain(s) {
		return s
	}
	cut := len(s) > maxScanned
	if cut {
		s = s[:maxScanned]
	}
	var b strings.Builder
	n, marks := 0, 0
	for _, r := range s {
		if unicode.In(r, unicode.M) {
			if marks++; marks > maxMarks {
				continue
			}
		} else {
			marks = 0
		}
		if n == max {
			cut = true
			break
		}
		if !unicode.IsPrint(r) {
			r = utf8.RuneError
		}
		b.WriteRune(r)
		n++
	}
	if cut {
		b.WriteString("…")
	}
	return b.String()
}

// plain reports whether s has visible ASCII characters and spaces only, as most
// values have.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// ownAddress is the local part of the sink's own addresses. Anything else at
// our domains, such as "john%example.org", was made up by the sender.
var ownLocal = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// addressPattern finds what looks like a mail address, up to the last @: with
// quoted local parts, and at address literals.
var addressPattern = regexp.MustCompile(`(?:"(?:[^"\\]|\\.)*"|[^\s<>()\[\],;]+)@\[?[^\s<>()\[\],;"]*[^\s<>()\[\],;".:]`)

// redactAddress returns addr with its local part reduced to its first and last
// character. Addresses of the zone are kept. The empty address stays empty.
func redactAddress(addr, zone string) string {
	at := strings.LastIndexByte(addr, '@')
	if at < 0 {
		if addr == "" || ownLocal.MatchString(addr) {
			return clean(addr, maxRecord)
		}
		return redactLocal(addr)
	}
	local, domain := addr[:at], addr[at+1:]
	if isOurs(domain, zone) && ownLocal.MatchString(local) {
		return local + "@" + clean(domain, maxRecord)
	}
	return redactLocal(local) + "@" + clean(domain, maxRecord)
}

func isOurs(domain, zone string) bool {
	_, ok := scenario.Find(zone, domain)
	return ok && zone != ""
}

func redactLocal(local string) string {
	runes := []rune(clean(strings.Trim(local, `"`), maxRecord))
	switch {
	case len(runes) < 2:
		return "***"
	case len(runes) < 4:
		return string(runes[0]) + "***"
	}
	last := runes[len(runes)-1]
	if last == '…' {
		return string(runes[0]) + "***"
	}
	return string(runes[0]) + "***" + string(last)
}

// redactText cleans free text and redacts the addresses in it.
func redactText(s, zone string, max int) string {
	s = clean(s, maxScanned)
	if !strings.Contains(s, "@") {
		return clean(s, max)
	}
	s = addressPattern.ReplaceAllStringFunc(s, func(a string) string { return redactAddress(a, zone) })
	return clean(s, max)
}

// recordAddress finds addresses in what a domain publishes, but not the tag or
// scheme before them, as in rua=mailto:reports@example.org.
var recordAddress = regexp.MustCompile(`(?:"(?:[^"\\]|\\.)*"|[^\s<>()\[\],;:=]+)@\[?[^\s<>()\[\],;"]*[^\s<>()\[\],;".:]`)

// redactRecord is redactText for what a domain publishes.
func redactRecord(s, zone string, max int) string {
	s = clean(s, maxScanned)
	if !strings.Contains(s, "@") {
		return clean(s, max)
	}
	s = recordAddress.ReplaceAllStringFunc(s, func(a string) string { return redactAddress(a, zone) })
	return clean(s, max)
}

// senderDomain returns the domain of the sender, for people.
func senderDomain(sender string, l Language) string {
	at := strings.LastIndexByte(sender, '@')
	if at < 0 || at+1 == len(sender) {
		return phrase{"an unknown sender", "ein unbekannter Absender"}.in(l)
	}
	return clean(sender[at+1:], maxName)
}

// safeLink returns link if it is an absolute http or https URL on one line, else "".
func safeLink(link string) string {
	u, err := url.Parse(link)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || len(link) > maxLink {
		return ""
	}
	if strings.ContainsFunc(link, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return link
}
