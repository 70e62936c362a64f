package probe

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tlsink/tlsink/inbound/check"
)

func TestMandatory(t *testing.T) {
	root, key := newRoot(t), ecdsaKey(t)
	for name, c := range map[string]struct {
		mail, rcpt string
		want       check.Outcome
	}{
		"both accepted":                 {"", "", check.No},
		"accepted, will forward":        {"", "251 will forward", check.No},
		"RFC 3207":                      {"530 Must issue a STARTTLS command first", "", check.Yes},
		"Postfix":                       {"530 5.7.0 Must issue a STARTTLS command first", "", check.Yes},
		"Postfix, at RCPT":              {"", "450 4.7.1 Session encryption is required", check.Yes},
		"OpenSMTPD":                     {"530 5.5.1 Invalid command: Must issue a STARTTLS command first", "", check.Yes},
		"Exchange":                      {"451 5.7.3 STARTTLS is required to send mail", "", check.Yes},
		"Exim ACL at RCPT":              {"", "550 TLS encryption required", check.Yes},
		"RCPT, several lines":           {"", "550-5.7.1 Sorry.\r\n550 5.7.1 We accept only encrypted mail", check.Yes},
		"enhanced code alone":           {"", "550 5.7.10 no", check.Yes},
		"German":                        {"530 5.7.0 Bitte STARTTLS verwenden", "", check.Yes},
		"greylisted":                    {"", "450 4.2.0 Greylisted, try again", check.Untested},
		"greylisted without TLS":        {"", "451 4.7.1 Greylisted; retry, or use TLS, which is required to pass at once", check.Untested},
		"no TLS for now":                {"454 4.7.0 TLS not available, must try later", "", check.Untested},
		"authentication":                {"530 5.7.0 Authentication required", "", check.Untested},
		"Exchange, authentication":      {"530 5.7.57 Client not authenticated to send mail", "", check.Untested},
		"authentication that names TLS": {"", "550 5.7.1 SMTP AUTH required, see our page about SSL", check.Untested},
		"530 without a word about TLS":  {"530 Access denied", "", check.Untested},
		"authentication, inside TLS":    {"530 5.7.0 Authentication required; please use SSL and log in", "", check.Untested},
		"a version":                     {"550 5.7.1 TLSv1.2 or later is required here", "", check.Yes},
		"our name":                      {"504 5.5.2 <probe.tlsink.example>: Helo command rejected: need fully-qualified hostname", "", check.Untested},
		"our name, without a host":      {"550 5.7.1 You must have a PTR record, not probe.tls.example.", "", check.Untested},
		"the recipient":                 {"", "550 5.1.1 <postmaster@encrypt.example>: only valid recipients", check.Untested},
		"a page":                        {"", "554 5.7.1 Rejected; senders must register first, see https://ssl.example/tls", check.Untested},
		"part of a word":                {"", "550 5.7.1 titlsoft only", check.Untested},
		"no such user":                  {"", "550 5.1.1 no such user", check.Untested},
		"no relay":                      {"", "554 5.7.1 Relay access denied", check.Untested},
		"block list":                    {"", "554 5.7.1 Service unavailable; client blocked using dnsbl", check.Untested},
		"null sender":                   {"550 5.7.1 bounces only from hosts that need it", "", check.Untested},
		"not the time":                  {"", "452 too many recipients", check.Untested},
		"strange":                       {"354 go ahead", "", check.Untested},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{tls: root.config(t, key), replies: map[string]string{}}
				refusal := ""
				for verb, reply := range map[string]string{"MAIL": c.mail, "RCPT": c.rcpt} {
					if reply != "" {
						s.replies[verb] = reply + "\r\n"
						refusal = strings.Fields(reply)[0][:3]
					}
				}
				got := s.probe(t, root.pool())
				if got.Mandatory.Outcome != c.want || !got.StartTLS.OK() {
					t.Errorf("%+v, want %s", got.Mandatory, c.want)
				}
				if c.want == check.Untested && !strings.Contains(got.Mandatory.Why, refusal) {
					t.Errorf("the reply is missing in %q", got.Mandatory.Why)
				}
				if s.said("RSET") != 1 || s.said("MAIL FROM:<>") != 1 || s.said("RCPT TO:<postmaster@example.org>") > 1 {
					t.Errorf("commands %q", s.commands)
				}
			})
		})
	}
}
