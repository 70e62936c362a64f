package probe

import (
	"context"
	"regexp"
	"strings"

	"github.com/tlsink/tlsink/inbound/check"
)

// mandatory begins a transaction in plaintext and takes it back: no recipient is
// ever followed by DATA. usable reports whether STARTTLS can follow on this
// connection.
//
// A server that takes MAIL and RCPT takes mail without TLS, as far as that can
// be seen without sending one.
func (x *look) mandatory(ctx context.Context, d *dialog) (result check.Result, usable bool) {
	if !isHostName(x.domain) {
		return check.Skip("there is no recipient to ask for"), true
	}
	for _, command := range []string{"MAIL FROM:<>", "RCPT TO:<postmaster@" + x.domain + ">"} {
		r, err := d.command("%s", command)
		if err != nil {
			return check.Skip("in plaintext, after " + command + ": " + why(ctx, err)), false
		}
		if r.positive() {
			continue
		}
		result = refusedPlaintext(command, r)
		break
	}
	if result.Outcome == "" {
		result = check.Fail("it takes mail in plaintext: MAIL FROM:<> and RCPT TO:<postmaster@" + clean(x.domain) + "> are accepted")
	}
	// STARTTLS is not meant for the middle of a transaction.
	r, err := d.command("RSET")
	return result, err == nil && r.code != 421
}

// refusedPlaintext tells a demand for TLS from any other refusal.
func refusedPlaintext(command string, r reply) check.Result {
	if demandsTLS(r) {
		return check.Pass()
	}
	return check.Skip("in plaintext, its reply to " + command + " is " + r.String())
}

// demandsTLS reports whether a refusal says that there is nothing without TLS.
func demandsTLS(r reply) bool {
	if r.positive() {
		return false
	}
	text := strings.ToLower(r.text())
	enhanced := enhancedCode.FindString(text)
	// What it repeats of us, or refers to, is not what it says: our own name in
	// EHLO, the recipient, the address of a page.
	text = foreign.ReplaceAllString(text, " ")
	names := tlsWord.MatchString(text)
	login := strings.Contains(text, "auth") && !strings.Contains(text, "starttls")
	switch {
	case enhanced == "5.7.10": // RFC 5248, registry: encryption needed
		return true
	case r.code == 530:
		// RFC 3207 §4. The same code says that authentication is required (RFC 4954
		// §6), so it has to name TLS, and nothing else.
		return names && !login
	case strings.HasSuffix(strings.TrimRight(text, ". "), "session encryption is required"):
		return true // Postfix, reject_plaintext_session: 450 4.7.1
	case r.temporary() && !strings.HasPrefix(enhanced, "5.7."):
		return false // 451 5.7.3 is Exchange's; any other 4yz may pass
	}
	return names && !login && demand.MatchString(text)
}

var (
	enhancedCode = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`)
	// Addresses of pages and of mailboxes, and names of hosts; no "TLSv1.2".
	foreign = regexp.MustCompile(`\S*://\S*|\S*@\S*|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.[a-z][a-z0-9-]+`)
	tlsWord = regexp.MustCompile(`\b(?:start)?(?:tls|ssl)|crypt`)
	demand  = regexp.MustCompile(`requir|must|need|mandatory|enforce|first|only|without|unencrypted|please use`)
)
