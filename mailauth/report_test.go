package mailauth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/mailauth"
)

// authentic is a transaction that may be reported by SPF and by DKIM.
func authentic() evidence.Transaction {
	return evidence.Transaction{
		MailFrom: "j@sender.example", MessageID: "<1@sender.example>", Addressed: []string{"en@et.sink.example"},
		Message: &evidence.Message{
			From: []string{"j@sender.example"}, To: []string{"en@et.sink.example"}, Date: at(),
			SPF:  evidence.SPF{Result: evidence.AuthPass, Domain: "sender.example", Mechanism: "ip4"},
			DKIM: []evidence.DKIM{{Domain: "sender.example", Result: evidence.AuthPass, Headers: []string{"from", "to", "date"}}},
		},
	}
}

// signed is one that only DKIM authenticates.
func signed() evidence.Transaction {
	tx := authentic()
	tx.Message.SPF = evidence.SPF{Result: evidence.AuthFail, Domain: "sender.example", Mechanism: "all"}
	return tx
}

func TestMayReport(t *testing.T) {
	type change func(tx *evidence.Transaction)
	for _, c := range []struct {
		name      string
		tx        evidence.Transaction
		change    change
		ok, again bool
		reason    string
	}{
		{"SPF", authentic(), func(tx *evidence.Transaction) { tx.Message.DKIM = nil }, true, false, "SPF pass by ip4"},
		{"SPF, nobody in To", authentic(), func(tx *evidence.Transaction) { tx.Addressed, tx.Message.DKIM = nil, nil }, true, false, "SPF pass"},
		{"DKIM", signed(), func(*evidence.Transaction) {}, true, false, "DKIM signature by sender.example"},
		{"case of domains", signed(), func(tx *evidence.Transaction) { tx.MailFrom = "j@Sender.Example" }, true, false, "DKIM"},
		{"second signature", signed(), func(tx *evidence.Transaction) {
			tx.Message.DKIM = append([]evidence.DKIM{{Domain: "list.example", Result: evidence.AuthFail}}, tx.Message.DKIM...)
		}, true, false, "DKIM"},

		{"not read", authentic(), func(tx *evidence.Transaction) { tx.Message = nil }, false, false, "not read"},
		{"null sender", authentic(), func(tx *evidence.Transaction) { tx.MailFrom = "" }, false, false, "null reverse-path"},
		{"no domain", authentic(), func(tx *evidence.Transaction) { tx.MailFrom = "postmaster" }, false, false, "no domain"},
		{"address literal", authentic(), func(tx *evidence.Transaction) { tx.MailFrom = "j@[192.0.2.5]" }, false, false, "no domain"},
		{"automatic", authentic(), func(tx *evidence.Transaction) { tx.Message.Automatic = "List-Id" }, false, false, "List-Id"},
		{"no Message-ID", authentic(), func(tx *evidence.Transaction) { tx.MessageID = "" }, false, false, "Message-ID"},

		{"SPF all", authentic(), func(tx *evidence.Transaction) { tx.Message.SPF.Mechanism, tx.Message.DKIM = "all", nil }, false, false, "for everybody"},
		{"SPF of nothing", authentic(), func(tx *evidence.Transaction) { tx.Message.SPF.Mechanism, tx.Message.DKIM = "", nil }, false, false, "for everybody"},
		{"SPF of another domain", authentic(), func(tx *evidence.Transaction) {
			tx.Message.SPF.Domain, tx.Message.DKIM = "mta.sender.example", nil
		}, false, false, "another domain"},
		{"SPF neutral", authentic(), func(tx *evidence.Transaction) { tx.Message.SPF.Result, tx.Message.DKIM = "neutral", nil }, false, false, "SPF neutral"},
		{"SPF temporary", authentic(), func(tx *evidence.Transaction) { tx.Message.SPF.Result, tx.Message.DKIM = "temperror", nil }, false, true, "temperror"},
		{"SPF temporary, DKIM passes", authentic(), func(tx *evidence.Transaction) { tx.Message.SPF.Result = "temperror" }, true, false, "DKIM"},

		{"DKIM fails", signed(), func(tx *evidence.Transaction) { tx.Message.DKIM[0].Result = "fail" }, false, false, "fail"},
		{"DKIM temporary", signed(), func(tx *evidence.Transaction) { tx.Message.DKIM[0].Result = "temperror" }, false, true, "temperror"},
		{"DKIM temporary, of somebody else", signed(), func(tx *evidence.Transaction) {
			tx.Message.DKIM[0].Result, tx.Message.DKIM[0].Domain = "temperror", "other.example"
		}, false, false, "not aligned"},
		{"From not signed", signed(), func(tx *evidence.Transaction) { tx.Message.DKIM[0].Headers = []string{"to", "date"} }, false, false, "cover from"},
		{"To not signed", signed(), func(tx *evidence.Transaction) { tx.Message.DKIM[0].Headers = []string{"from", "date"} }, false, false, "cover to"},
		{"Date not signed", signed(), func(tx *evidence.Transaction) { tx.Message.DKIM[0].Headers = []string{"from", "to"} }, false, false, "cover date"},
		{"replayed with another MAIL FROM", signed(), func(tx *evidence.Transaction) { tx.MailFrom = "victim@sender.example" }, false, false, "From is not"},
		{"two authors", signed(), func(tx *evidence.Transaction) { tx.Message.From = append(tx.Message.From, "k@sender.example") }, false, false, "From is not"},
		{"not to us", signed(), func(tx *evidence.Transaction) { tx.Addressed = nil }, false, false, "none of our addresses"},
		{"to us only in an unsigned Cc", signed(), func(tx *evidence.Transaction) {
			tx.Message.To, tx.Message.Cc = []string{"k@other.example"}, tx.Message.To
		}, false, false, "none of our addresses"},
		{"to us in a signed Cc", signed(), func(tx *evidence.Transaction) {
			tx.Message.To, tx.Message.Cc = []string{"k@other.example"}, tx.Message.To
			tx.Message.DKIM[0].Headers = []string{"from", "to", "cc", "date"}
		}, true, false, "DKIM"},
		{"no Date", signed(), func(tx *evidence.Transaction) { tx.Message.Date = time.Time{} }, false, false, "valid Date"},
		{"5 days old", signed(), func(tx *evidence.Transaction) { tx.Message.Date = at().AddDate(0, 0, -5) }, true, false, "DKIM"},
		{"older", signed(), func(tx *evidence.Transaction) { tx.Message.Date = at().AddDate(0, 0, -5).Add(-time.Second) }, false, false, "not recent"},
		{"from the future", signed(), func(tx *evidence.Transaction) { tx.Message.Date = at().Add(25 * time.Hour) }, false, false, "not recent"},
		{"nothing at all", signed(), func(tx *evidence.Transaction) { tx.Message.DKIM = nil }, false, false, "no DKIM signature"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.change(&c.tx)
			ok, again, reason := mailauth.MayReport(c.tx, at())
			if ok != c.ok || again != c.again || !strings.Contains(reason, c.reason) {
				t.Errorf("got %v, temporary %v, %q; want %v, %v, %q", ok, again, reason, c.ok, c.again, c.reason)
			}
		})
	}
}

func TestAlignment(t *testing.T) {
	for _, c := range []struct {
		signer, sender string
		want           bool
	}{
		{"sender.example", "sender.example", true},
		{"sender.example", "bounces.sender.example", true},
		{"m.example.co.uk", "example.co.uk", true},
		{"example.co.uk", "other.co.uk", false},
		{"co.uk", "example.co.uk", false},
		{"other.example", "sender.example", false},
		{"a.github.io", "b.github.io", false},
		{"", "sender.example", false},
	} {
		tx := signed()
		tx.MailFrom, tx.Message.DKIM[0].Domain = "j@"+c.sender, c.signer
		tx.Message.From = []string{tx.MailFrom}
		if ok, _, reason := mailauth.MayReport(tx, at()); ok != c.want {
			t.Errorf("signed by %q for %q: %v, %s", c.signer, c.sender, ok, reason)
		}
	}
}

// From the wire to the decision, for what an attacker can do to signed mail.
func TestReplays(t *testing.T) {
	foreign := strings.Replace(plain, "Test <en@et.sink.example>,\n  \"U. T.\" <EN+x@UT.Sink.Example>", "k@other.example", 1)
	for _, c := range []struct {
		name, mailFrom, message string
		want                    bool
	}{
		{"honest", "j@sender.example", sign(t, plain, "sender.example"), true},
		{"another MAIL FROM", "victim@sender.example", sign(t, plain, "sender.example"), false},
		{"a second To", "j@sender.example", "To: en@et.sink.example\r\n" + sign(t, foreign, "sender.example"), false},
		{"a second From", "victim@sender.example", "From: victim@sender.example\r\n" + sign(t, plain, "sender.example"), false},
		{"a second Date", "j@sender.example", "Date: Sat, 21 Nov 2026 11:00:00 GMT\r\n" + sign(t, plain, "sender.example"), false},
		{"a second Message-ID", "j@sender.example", "Message-ID: <2@x>\r\n" + sign(t, plain, "sender.example"), false},
		{
			"an added Cc", "j@sender.example",
			"Cc: en@et.sink.example\r\n" + sign(t, strings.Replace(foreign, "Cc: k@sender.example\n", "", 1), "sender.example", "From", "To", "Date"), false,
		},
		{"a signer of its own", "j@sender.example", sign(t, plain, "other.example"), false},
	} {
		d := newDNS()
		delete(d.txt, "sender.example") // no SPF
		tx, err := inspect(t, d, c.mailFrom, c.message)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if ok, _, reason := mailauth.MayReport(tx, at()); ok != c.want {
			t.Errorf("%s: %v, %s", c.name, ok, reason)
		}
	}
}
