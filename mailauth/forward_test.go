package mailauth_test

import (
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/mailauth"
)

func TestForwardingOf(t *testing.T) {
	const srs = "SRS0=HHH=TT=sender.example=j@fwd.test"
	type change func(tx *evidence.Transaction)
	from := func(mailFrom, spfDomain string, result evidence.AuthResult, more ...change) change {
		return func(tx *evidence.Transaction) {
			tx.MailFrom = mailFrom
			tx.Message.SPF = evidence.SPF{Result: result, Domain: spfDomain, Mechanism: "ip4"}
			for _, c := range more {
				c(tx)
			}
		}
	}
	to := func(address string) change {
		return func(tx *evidence.Transaction) { tx.Addressed, tx.Message.To = nil, []string{address} }
	}
	unsigned := func(tx *evidence.Transaction) { tx.Message.DKIM = nil }
	broken := func(tx *evidence.Transaction) { tx.Message.DKIM[0].Result = evidence.AuthFail }
	partly := func(tx *evidence.Transaction) { tx.Message.DKIM[0].Headers = []string{"from", "date"} }
	everybody := func(tx *evidence.Transaction) { tx.Message.SPF.Mechanism = "all" }
	none := mailauth.Forwarding{}
	by := func(w mailauth.Way, domain string) mailauth.Forwarding {
		return mailauth.Forwarding{Way: w, By: domain, Author: "sender.example"}
	}
	for _, c := range []struct {
		name   string
		change change
		want   mailauth.Forwarding
	}{
		{"straight", func(*evidence.Transaction) {}, none},
		{"straight, bounces of a subdomain", from("b@bounces.sender.example", "bounces.sender.example", "pass"), none},
		{"null sender", from("", "mx.fwd.test", "pass"), none},
		{"not read", func(tx *evidence.Transaction) { tx.Message = nil }, none},
		{"no From", func(tx *evidence.Transaction) { tx.Message.From = nil }, none},

		{"SRS", from(srs, "fwd.test", "pass"), by(mailauth.Forwarded, "fwd.test")},
		{"SRS, in lower case, with +", from("srs0+HHH=TT=Sender.Example=j@fwd.test", "fwd.test", "pass"), by(mailauth.Forwarded, "fwd.test")},
		{"SRS, no signature", from(srs, "fwd.test", "pass", unsigned), by(mailauth.Forwarded, "fwd.test")},
		{"SRS over two hops", from("SRS1=HHH=hop.test==HHH=TT=sender.example=j@fwd.test", "fwd.test", "pass"), by(mailauth.Forwarded, "fwd.test")},
		{"SRS of another author", from("SRS0=HHH=TT=other.example=j@fwd.test", "fwd.test", "pass"), by(mailauth.Relayed, "fwd.test")},
		{"SRS that is none", from("SRS0=sender.example@fwd.test", "fwd.test", "pass", unsigned), none},
		{"SRS, SPF fails", from(srs, "fwd.test", "fail"), none},
		{"SRS, SPF passes for everybody", from(srs, "fwd.test", "pass", everybody), none},
		{"SRS, SPF of EHLO", from(srs, "mx.fwd.test", "pass"), none},

		{"rewritten, written to the forwarder", from("list@fwd.test", "fwd.test", "pass", to("me@fwd.test")), by(mailauth.Forwarded, "fwd.test")},
		{"rewritten, written to its subdomain", from("x@out.fwd.test", "out.fwd.test", "pass", to("me@fwd.test")), by(mailauth.Forwarded, "out.fwd.test")},
		{"rewritten, written to us: a sending service", from("x@esp.test", "esp.test", "pass"), by(mailauth.Relayed, "esp.test")},
		{"rewritten, written to somebody else", from("x@esp.test", "esp.test", "pass", to("me@else.test")), by(mailauth.Relayed, "esp.test")},
		{"rewritten, To not signed", from("x@fwd.test", "fwd.test", "pass", to("me@fwd.test"), partly), none},
		{"rewritten, no signature", from("x@fwd.test", "fwd.test", "pass", to("me@fwd.test"), unsigned), none},
		{"rewritten, broken signature", from("x@fwd.test", "fwd.test", "pass", to("me@fwd.test"), broken), none},

		{"unchanged, SPF fails", from("j@sender.example", "sender.example", "fail"), by(mailauth.Unlisted, "mx.fwd.test")},
		{"unchanged, written to the forwarder", from("j@sender.example", "sender.example", "fail", to("me@fwd.test")), by(mailauth.Forwarded, "fwd.test")},
		{"unchanged, written to somebody else", from("j@sender.example", "sender.example", "fail", to("me@else.test")), by(mailauth.Unlisted, "mx.fwd.test")},
		{"unchanged, SPF softfails", from("j@sender.example", "sender.example", "softfail"), none},
		{"unchanged, SPF fails for a time", from("j@sender.example", "sender.example", "temperror"), none},
		{"unchanged, broken signature", from("j@sender.example", "sender.example", "fail", broken), none},
	} {
		t.Run(c.name, func(t *testing.T) {
			tx := authentic()
			c.change(&tx)
			got, ok := mailauth.ForwardingOf(tx, "MX.fwd.test")
			if want := c.want != none; ok != want || ok && got != c.want {
				t.Errorf("%+v, %v; want %+v", got, ok, c.want)
			}
		})
	}
}
