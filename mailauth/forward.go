package mailauth

import (
	"slices"
	"strings"

	"github.com/tlsink/tlsink/dmarc"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// Way is how a mail came, where that was not straight from its author's own
// servers.
type Way string

// The values of Way.
const (
	// Forwarded: written to an address of By, or sent there, whose servers passed
	// it on to us.
	Forwarded Way = "forwarded"
	// Relayed: the servers of By sent it, on behalf of Author. They may be a
	// forwarder's or the sending service of Author.
	Relayed Way = "relayed"
	// Unlisted: the host is none that Author's SPF record allows, and the mail is
	// Author's. It was forwarded, or the record is not complete.
	Unlisted Way = "unlisted"
)

// Forwarding says whose servers handed a mail over, if not those of its author.
type Forwarding struct {
	Way    Way
	By     string // domain; of an unlisted host its EHLO name, which it chose itself
	Author string // domain of From
}

// ForwardingOf says what SPF and DKIM show about the way of tx, which a client
// named helo handed over. ok is false where they show nothing for certain.
//
// Whoever passes a mail on either takes the envelope sender for its own, and
// then SPF passes for that domain, or leaves it, and then SPF fails. Either way
// only a valid signature of the author's domain, over From and To, shows that
// the mail was the author's before. SPF that passes for everybody, or fails for
// a time, shows nothing.
//
//	MAIL FROM   SPF    and                                          way
//	rewritten   pass   SRS: the old domain is in the local part     forwarded
//	rewritten   pass   signed To is of that domain, not of ours     forwarded
//	rewritten   pass   –                                            relayed
//	author's    fail   signed To is of EHLO's domain, not of ours   forwarded
//	author's    fail   –                                            unlisted
func ForwardingOf(tx evidence.Transaction, helo string) (f Forwarding, ok bool) {
	m := tx.Message
	if m == nil || len(m.From) != 1 || tx.MailFrom == "" {
		return Forwarding{}, false
	}
	local, domain := split(tx.MailFrom)
	domain = scenario.Canonical(domain)
	_, author := split(m.From[0])
	author = scenario.Canonical(author)
	if domain == "" || author == "" || scenario.Canonical(m.SPF.Domain) != domain {
		return Forwarding{}, false
	}
	signed := slices.ContainsFunc(m.DKIM, func(d evidence.DKIM) bool {
		return d.Result == evidence.AuthPass && aligned(d.Domain, author) && slices.Contains(d.Headers, "from") && slices.Contains(d.Headers, "to")
	})
	// Our own addresses in To or Cc: the author wrote to us.
	toUs := len(tx.Addressed) > 0
	writtenTo := func(to string) bool {
		return signed && !toUs && slices.ContainsFunc(m.To, func(a string) bool {
			_, d := split(a)
			return aligned(d, to)
		})
	}
	passes := spfObjection(m.SPF, domain) == ""
	switch {
	case passes && !aligned(domain, author):
		if from, srs := rewritten(local); srs && aligned(from, author) || writtenTo(domain) {
			return Forwarding{Forwarded, domain, author}, true
		}
		return Forwarding{Relayed, domain, author}, signed
	case m.SPF.Result == evidence.AuthFail && aligned(domain, author) && signed:
		if writtenTo(helo) {
			return Forwarding{Forwarded, dmarc.Organizational(helo), author}, true
		}
		return Forwarding{Unlisted, scenario.Canonical(helo), author}, true
	}
	return Forwarding{}, false
}

// rewritten returns the domain that the local part of an address was made from
// by the Sender Rewriting Scheme: SRS0=hash=time=domain=user, and for a second
// hop SRS1=hash=hop==hash=time=domain=user, with one of "=", "+" and "-" behind
// the tag.
func rewritten(local string) (domain string, ok bool) {
	if len(local) < 5 || !strings.ContainsRune("=+-", rune(local[4])) {
		return "", false
	}
	tag, rest := strings.ToUpper(local[:4]), local[5:]
	if tag == "SRS1" {
		if _, rest, ok = strings.Cut(rest, "=="); !ok {
			return "", false
		}
	} else if tag != "SRS0" {
		return "", false
	}
	parts := strings.SplitN(rest, "=", 4)
	if len(parts) != 4 || !strings.Contains(parts[2], ".") {
		return "", false
	}
	return scenario.Canonical(parts[2]), true
}
