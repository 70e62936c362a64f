package received

import (
	"net/netip"
	"regexp"
	"strings"
)

// protocol is what the name of a protocol says.
type protocol struct {
	secure        bool // inside TLS
	plain         bool // without TLS, by definition
	local         bool // not between servers by SMTP
	authenticated bool // the client logged in
}

// mailProtocol: RFC 3848, RFC 6531 §4.3; SMTPS and SMTPSA are common, too, and
// ASMTP is what old Exim wrote.
var mailProtocol = regexp.MustCompile(`^(?:UTF8)?(A?E?SMTP|LMTP)(S?)(A?)$`)

func protocolOf(with string) protocol {
	name := strings.ToUpper(with)
	if m := mailProtocol.FindStringSubmatch(name); m != nil {
		p := protocol{secure: m[2] != "", authenticated: m[3] != "" || m[1][0] == 'A'}
		p.local = !p.secure && m[1] == "LMTP"
		p.plain = !p.secure && !p.local
		return p
	}
	switch first, _, _ := strings.Cut(name, " "); first {
	case "HTTPS":
		return protocol{secure: true, authenticated: true}
	case "HTTP", "MAPI":
		// A person's webmail or desktop.
		return protocol{local: true, authenticated: true}
	case "LOCAL", "UID", "PIPE", "STDIN", "BSMTP", "UUCP", "STORE", "MAILDROP", "SENDMAIL", "DOVECOT", "SPOOL", "FILE":
		return protocol{local: true}
	}
	return protocol{}
}

// with returns the protocol of a field; several words if it has no name of one
// word.
func with(c clauses) string {
	var kept []string
	for _, w := range c.words("with") {
		if strings.EqualFold(w, "tls") && len(kept) > 0 {
			break // Exim, Haraka: with esmtps tls SUITE
		}
		w = strings.Map(func(r rune) rune {
			if r > ' ' && r < 0x7f {
				return r
			}
			return -1
		}, w)
		if m := slashForm.FindStringSubmatch(w); m != nil {
			w = m[1]
		}
		if mailProtocol.MatchString(strings.ToUpper(w)) && len(kept) == 0 {
			return strings.ToUpper(w)
		}
		kept = append(kept, w)
	}
	if len(kept) == 0 {
		if words := c.words("via"); len(words) > 0 && protocolOf(words[0]) != (protocol{}) {
			return host(words[0])
		}
		for _, text := range c.comments("by") {
			if strings.EqualFold(text, "via HTTP") || strings.EqualFold(text, "via HTTPS") {
				return strings.ToUpper(text[4:])
			}
		}
	}
	out := strings.Join(kept, " ")
	return strings.TrimSpace(out[:min(len(out), maxWith)])
}

// local reports a step within one machine, or within one program.
func local(c clauses, helo string, client netip.Addr) bool {
	for _, text := range append(c.comments("by"), c.comments("")...) {
		if strings.Contains(text, "from userid ") || strings.HasSuffix(text, "/Submit") || strings.HasPrefix(text, "qmail ") {
			return true // Postfix, Sendmail, qmail
		}
	}
	for _, text := range c.comments("from") {
		if strings.Contains(text, "[local]") || strings.Contains(text, "[unix socket]") {
			return true // OpenSMTPD, Cyrus
		}
	}
	if client.IsValid() {
		return client.IsLoopback()
	}
	switch strings.ToLower(strings.TrimSuffix(helo, ".")) {
	case "localhost", "localhost.localdomain":
		return true
	}
	return false
}

// submitted reports a login that only a comment tells.
func submitted(c clauses) bool {
	for _, key := range []string{"from", "by", "with"} {
		for _, text := range c.comments(key) {
			lower := strings.ToLower(text)
			if strings.HasPrefix(lower, "authenticated") || strings.HasPrefix(lower, "smtp-auth") {
				return true
			}
		}
	}
	return false
}

// tlsClaim is what a field says about TLS beside the protocol.
type tlsClaim struct {
	claimed         bool
	version, cipher string
}

// How versions and suites look.
const (
	version = `(?:TLS[ v_-]*1(?:[._][0-3])?|SSL[ v_-]*[23](?:[._]0)?)`
	suite   = `[A-Za-z0-9][A-Za-z0-9_+-]{3,100}`
)

// The forms that tell them. OpenSSL's "TLSv1/SSLv3" is a class of suites, not a
// version.
var (
	suiteForm = regexp.MustCompile(`^` + suite + `$`)
	// Postfix, Dovecot: using TLSv1.3 with cipher X (…)
	usingForm = regexp.MustCompile(`(?i)\busing (` + version + `) with cipher (` + suite + `)`)
	// Sendmail, Gmail, Exchange, Haraka: version=TLS1_3, cipher=X
	versionForm = regexp.MustCompile(`(?i)\bversion=(` + version + `)(?:$|[,;\s])`)
	cipherForm  = regexp.MustCompile(`(?i)\bcipher=(` + suite + `)`)
	// Exim, OpenSMTPD: TLS1.3:X:256; with another program's word before
	colonForm = regexp.MustCompile(`(?i)(?:^|\s)(` + version + `):(` + suite + `)(?:$|[:\s,])`)
	// Exim from 4.94 on: (TLS1.3)
	bareForm = regexp.MustCompile(`(?i)^(` + version + `)$`)
	// Courier: TLS: TLSv1.3,256bits,X
	courierForm = regexp.MustCompile(`(?i)^TLS: (?:TLSv1/SSLv3|(` + version + `)),\s*[0-9]+bits,\s*(` + suite + `)`)
	// qmail with TLS: X encrypted
	encryptedForm = regexp.MustCompile(`(?i)^(` + suite + `) encrypted$`)
	// Cisco (IronPort): with ESMTP/TLS/X
	slashForm = regexp.MustCompile(`(?i)^(E?SMTP/TLS)/(` + suite + `)$`)
	// What the client called itself is no word of the server's.
	helloForm = regexp.MustCompile(`(?i)\b(?:HELO|EHLO|LHLO)[ =]+\S+`)
	// chasquid: over SMTP, TLS-1.3, …
	listForm = regexp.MustCompile(`(?i)(?:^|, )(` + version + `)(?:,|$)`)
)

// tlsOf looks for TLS in the comments of a field, in the words "tls SUITE", and
// in the protocol.
func tlsOf(tokens []token, c clauses) tlsClaim {
	var t tlsClaim
	found := func(version, cipher string) {
		t.claimed = true
		if t.version == "" {
			t.version = versionName(version)
		}
		if t.cipher == "" {
			t.cipher = cipher[:min(len(cipher), maxCipher)]
		}
	}
	for i, token := range tokens {
		text := token.text
		if !token.comment {
			if strings.EqualFold(text, "tls") && i+1 < len(tokens) && !tokens[i+1].comment && isSuite(tokens[i+1].text) {
				found("", tokens[i+1].text)
			}
			continue
		}
		text = helloForm.ReplaceAllString(text, "")
		if strings.EqualFold(text, "TLS") || strings.EqualFold(text, "Google Transport Security") {
			found("", "") // Exchange, Gmail
		}
		for _, form := range []*regexp.Regexp{usingForm, colonForm, courierForm} {
			if m := form.FindStringSubmatch(text); m != nil {
				found(m[1], m[2])
			}
		}
		for _, form := range []*regexp.Regexp{versionForm, bareForm, listForm} {
			if m := form.FindStringSubmatch(text); m != nil {
				found(m[1], "")
			}
		}
		for _, form := range []*regexp.Regexp{cipherForm, encryptedForm} {
			if m := form.FindStringSubmatch(text); m != nil && isSuite(m[1]) {
				found("", m[1])
			}
		}
	}
	for _, w := range c.words("with") {
		if m := slashForm.FindStringSubmatch(w); m != nil {
			found("", m[2])
		}
	}
	return t
}

// isSuite reports whether a word looks like the name of a suite, rather than
// "NONE" or a sentence.
func isSuite(s string) bool {
	return len(s) > 6 && strings.ContainsAny(s, "_-") && suiteForm.MatchString(s)
}

// versionName returns a version in the form of [evidence.TLS]: "1.3", or
// "SSLv3".
func versionName(s string) string {
	if s == "" {
		return ""
	}
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
	if strings.EqualFold(s[:3], "SSL") {
		return "SSLv" + digits[:1]
	}
	if len(digits) == 1 {
		digits += "0" // TLSv1
	}
	return digits[:1] + "." + digits[1:]
}
