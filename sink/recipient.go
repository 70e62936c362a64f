package sink

import (
	"strings"

	"github.com/tlsink/tlsink/scenario"
)

type kind int

const (
	foreign kind = iota // refused: we relay for nobody
	unknown             // refused: nobody has this name at a test domain
	test                // en@ or de@ a test domain; the token of a leased slot
	mailbox             // postmaster, abuse, report addresses
)

// recipient is what a forward-path means to us.
type recipient struct {
	kind   kind
	slot   int
	domain scenario.Domain // of test recipients
}

// classify decides about a forward-path as go-smtp gives it: source route and
// quotes removed (RFC 5321 §4.1.1.3 and appendix C ask to ignore the route).
// What is left has to be exactly one of our addresses; every other spelling,
// such as a%b@, a!b@ or a domain with a trailing dot, is foreign.
func (s *Server) classify(address string) recipient {
	if !ascii(address) {
		return recipient{}
	}
	at := strings.LastIndexByte(address, '@')
	if at < 1 || strings.HasSuffix(address, ".") {
		return recipient{}
	}
	local, domain := strings.ToLower(address[:at]), address[at+1:]
	target, ours := scenario.Find(s.options.Zone, domain)
	if !ours || target.Slot >= s.options.Slots {
		return recipient{}
	}
	domain = ""
	switch target.Role {
	case scenario.RoleET:
		domain = string(scenario.ET)
	case scenario.RoleUT:
		domain = string(scenario.Unprotected)
	}
	if domain != "" && s.takesTests(target.Slot, local) {
		return recipient{test, target.Slot, scenario.Domain(domain)}
	}
	switch local {
	case "postmaster", "abuse":
		// RFC 5321 §4.5.1, RFC 2142 §2.
		switch target.Role {
		case scenario.RoleApex, scenario.RoleService, scenario.RoleET, scenario.RoleUT, scenario.RoleMX:
			return recipient{kind: mailbox}
		}
	case "report", "tlsrpt":
		if target.Role == scenario.RoleApex {
			return recipient{kind: mailbox}
		}
	}
	if domain != "" && strings.Trim(local, "abcdefghijklmnopqrstuvwxyz0123456789-_.=+") == "" {
		return recipient{kind: unknown}
	}
	return recipient{}
}

// takesTests reports whether a local part is one for tests: in slot 0, which is
// everybody's, en and de; in the others, the token of whoever has the slot. Why
// another token is not taken is not told: dead ones and wrong ones look alike.
func (s *Server) takesTests(slot int, local string) bool {
	if slot > 0 {
		_, token := scenario.ParseToken(local)
		return token && s.options.Leased(slot, local)
	}
	user, detail, sub := strings.Cut(local, "+")
	return (user == "en" || user == "de") && (!sub || plain(detail))
}

// maxLocal bounds a local part, in octets (RFC 5321 §4.5.3.1.1).
const maxLocal = 64

// overlong reports whether the local part of a recipient is longer than allowed.
// RFC 5321 §4.5.3.1.10: the reply to it is 501. Senders are not held to it:
// forwarders (SRS) and lists (VERP) exceed it, and others take their mail.
func overlong(address string) bool { return strings.LastIndexByte(address, '@') > maxLocal }

// plain reports whether a sub-address is made of letters, digits and harmless
// marks only.
func plain(detail string) bool {
	return len(detail) <= 64 && strings.Trim(detail, "abcdefghijklmnopqrstuvwxyz0123456789-_.=+") == ""
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return false
		}
	}
	return true
}

// completePostmaster gives the domain-less <postmaster>, which go-smtp cannot
// parse, our own domain. RFC 5321 §4.1.1.3: "RCPT TO:<postmaster>".
func (s *Server) completePostmaster(verb, arg, line string) string {
	const path = "<postmaster>"
	if verb != "RCPT" || len(arg) < 3 || !strings.EqualFold(arg[:3], "TO:") {
		return line
	}
	rest := strings.TrimSpace(arg[3:])
	if len(rest) < len(path) || !strings.EqualFold(rest[:len(path)], path) {
		return line
	}
	return "RCPT TO:<postmaster@" + s.options.Zone + ">" + rest[len(path):] + "\r\n"
}
