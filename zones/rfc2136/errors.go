package rfc2136

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// Error is a refusal by the server: the zone is as it was.
type Error struct {
	Op     string // what was asked for
	Server string
	Rcode  int // RFC 1035 §4.1.1, RFC 2136 §2.2
	TSIG   int // error of the signature (RFC 8945 §3), 0 if there is none
	Hint   string
}

func (e *Error) Error() string {
	code := dns.RcodeToString[e.Rcode]
	if code == "" {
		code = fmt.Sprintf("rcode %d", e.Rcode)
	}
	switch e.TSIG {
	case 0:
	case dns.RcodeBadSig: // the number is that of BADVERS, too
		code += "/BADSIG"
	default:
		code += "/" + dns.RcodeToString[e.TSIG]
	}
	if e.Hint == "" {
		return fmt.Sprintf("%s: %s answered %s", e.Op, e.Server, code)
	}
	return fmt.Sprintf("%s: %s answered %s: %s", e.Op, e.Server, code, e.Hint)
}

// check turns an rcode into an error that says what to do.
func (p *Provider) check(op string, m *dns.Msg) error {
	hint := ""
	switch m.Rcode {
	case dns.RcodeSuccess:
		return nil
	case dns.RcodeRefused:
		hint = fmt.Sprintf("key %q may not do this; allow it to update and to transfer the zone (BIND: update-policy { grant %s zonesub ANY; } and allow-transfer { key %s; }; Knot: acl with action: [update, transfer]); BIND also refuses MX hosts of the zone that have no address, and names with an underscore for A, AAAA and MX", p.key, p.key, p.key)
	case dns.RcodeNotAuth:
		hint = "the server is not the primary of this zone; check dns.zone and dns.rfc2136.server"
	case dns.RcodeNotZone:
		hint = "a name is not in the zone that the server has; check dns.zone"
	case dns.RcodeServerFailure:
		hint = "the server failed; its log says why (a zone that is not loaded, a full or read-only disk, missing signing keys)"
	case dns.RcodeNotImplemented:
		hint = "the server takes no dynamic updates"
	case dns.RcodeFormatError:
		hint = "the server does not understand the message; its log says why"
	}
	return &Error{Op: op, Server: p.opts.Server, Rcode: m.Rcode, Hint: hint}
}

// unsigned is the error for a reply without a signature. Its rcode can't be
// trusted, but nothing rests on it but this message.
func (p *Provider) unsigned(m *dns.Msg) error {
	if err := p.check("unsigned reply", m); err != nil {
		return err
	}
	return fmt.Errorf("reply from %s is not signed with key %q: something between may have changed it, or the server does not support TSIG", p.opts.Server, p.key)
}

// tsigError is the error for a reply that says that our signature was not accepted
// (RFC 8945 §5.2).
func (p *Provider) tsigError(m *dns.Msg, tsig *dns.TSIG) error {
	hint := ""
	switch tsig.Error {
	case dns.RcodeBadKey:
		hint = fmt.Sprintf("the server does not know key %q with algorithm %s, or does not let it do this; check key_name and algorithm, and its access rules (Knot: acl)", p.key, strings.TrimSuffix(p.algo, "."))
	case dns.RcodeBadSig:
		hint = fmt.Sprintf("the server has another secret for key %q", p.key)
	case dns.RcodeBadTime:
		hint = fmt.Sprintf("the clocks of server and sink are more than %d s apart; set them (NTP)", fudge)
	}
	return &Error{Op: "signature", Server: p.opts.Server, Rcode: m.Rcode, TSIG: int(tsig.Error), Hint: hint}
}
