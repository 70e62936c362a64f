package mailauth_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/mailauth"
)

func TestAddressed(t *testing.T) {
	many := make([]string, 200)
	for i := range many {
		many[i] = fmt.Sprintf("u%d@other.example", i)
	}
	for _, c := range []struct {
		name, header string
		want         []string
	}{
		{"both", "To: en@et.sink.example\nCc: de@ut.sink.example", []string{"en@et.sink.example", "de@ut.sink.example"}},
		{"named twice", "To: en@et.sink.example, en@ET.sink.example", []string{"en@et.sink.example"}},
		{"slot", "To: en4k7w2q9mxa@et3.sink.example, DE23456789ab@UT1.sink.example", []string{"en4k7w2q9mxa@et3.sink.example", "DE23456789ab@ut1.sink.example"}},
		{"slot that does not exist", "To: en4k7w2q9mxa@et4.sink.example", nil},
		{"no token of a slot", "To: en@et3.sink.example, en4k7w2q9mx0@et3.sink.example, en4k7w2q9mxa+x@et3.sink.example", nil},
		{"token, but slot 0", "To: en4k7w2q9mxa@et.sink.example", nil},
		{"other user", "To: postmaster@et.sink.example, fr@et.sink.example", nil},
		{"other host", "To: en@mx03.et.sink.example, en@sink.example, en@et.sink.example.org", nil},
		{"in a group", "To: Friends: en@et.sink.example, x@y.example;", []string{"en@et.sink.example"}},
		{"in a display name only", `To: "en@et.sink.example" <x@y.example>`, nil},
		{"in a local part only", `To: "en@et.sink.example"@y.example`, nil},
		{"in a comment only", "To: x@y.example (en@et.sink.example)", nil},
		{"folded", "To: Test\n\t<en@et.sink.example>\n ,\n x@y.example", []string{"en@et.sink.example"}},
		{"unknown charset", "To: =?x-klingon?q?=A4?= <en@et.sink.example>", []string{"en@et.sink.example"}},
		{"raw 8-bit name", "To: J\xf6rg <en@et.sink.example>", []string{"en@et.sink.example"}},
		{"two To fields", "To: en@et.sink.example\nTo: x@y.example", nil},
		{"junk", "To: <<<>>>, en@et.sink.example", nil},
		{"behind many others", "To: " + strings.Join(many, ", ") + ", en@ut.sink.example", []string{"en@ut.sink.example"}},
		{"Bcc does not count", "Bcc: en@et.sink.example", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			tx, err := inspect(t, newDNS(), "j@sender.example", c.header+"\n\n")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, tx.Addressed); d != "" {
				t.Errorf("addressed (-want +got):\n%s", d)
			}
			if len(tx.Message.To) > 50 {
				t.Errorf("%d addresses kept", len(tx.Message.To))
			}
		})
	}
}

func TestSingleFields(t *testing.T) {
	date := time.Date(2026, 11, 21, 11, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, header, id string
		date             time.Time
		from             []string
	}{
		{"ordinary", "Message-ID: <a@b>\nDate: Sat, 21 Nov 2026 12:00:00 +0100\nFrom: A@B.Example", "<a@b>", date, []string{"A@b.example"}},
		{"lower case, folded", "message-id:\n <a@b>\ndate: 21 Nov 2026\n 11:00:00 GMT (comment)\nfrom : a@b.example", "<a@b>", date, []string{"a@b.example"}},
		{"no brackets", "Message-ID: a@b", "a@b", time.Time{}, nil},
		{"twice", "Message-ID: <a@b>\nMessage-ID: <c@d>\nDate: 21 Nov 2026 11:00:00 GMT\nDate: 21 Nov 2026 11:00:00 GMT\nFrom: a@b.example\nFROM: a@b.example", "", time.Time{}, nil},
		{"empty", "Message-ID: \nDate: \nFrom: ", "", time.Time{}, nil},
		{"junk", "Message-ID: <a b>\nDate: yesterday\nFrom: nobody", "", time.Time{}, nil},
		{"control characters", "Message-ID: <a\x01@b>\nDate: \x00\nFrom: \"a\x01\"@b.example", "", time.Time{}, nil},
		{"not UTF-8", "Message-ID: <\xff@b>", "", time.Time{}, nil},
		{"endless", "Message-ID: <" + strings.Repeat("a", 2000) + "@b>\nFrom: " + strings.Repeat("a", 2000) + "@b.example", "", time.Time{}, nil},
		{"year out of range", "Date: 1 Jan 9999 00:00:00 GMT", "", time.Time{}, nil},
		{"several authors", "From: a@b.example, c@d.example", "", time.Time{}, []string{"a@b.example", "c@d.example"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tx, err := inspect(t, newDNS(), "j@sender.example", c.header+"\n\n")
			if err != nil {
				t.Fatal(err)
			}
			if tx.MessageID != c.id || !tx.Message.Date.Equal(c.date) {
				t.Errorf("Message-ID %q, Date %v", tx.MessageID, tx.Message.Date)
			}
			if d := cmp.Diff(c.from, tx.Message.From); d != "" {
				t.Errorf("From (-want +got):\n%s", d)
			}
		})
	}
}

func TestAutomatic(t *testing.T) {
	for header, want := range map[string]string{
		"Auto-Submitted: no":                          "",
		"Auto-Submitted: NO (really); x=y":            "Auto-Submitted: NO (really); x=y",
		"Auto-Submitted: no; x=y":                     "",
		"Auto-Submitted: auto-replied":                "Auto-Submitted: auto-replied",
		"Auto-Submitted: no\nAuto-Submitted: x":       "Auto-Submitted: x",
		"Auto-Submitted:":                             "Auto-Submitted: ",
		"List-Id: <x>":                                "List-Id",
		"list-unsubscribe: <x>":                       "List-Unsubscribe",
		"Listing: x":                                  "",
		"Precedence: Bulk":                            "Precedence: Bulk",
		"Precedence: first-class":                     "",
		"X-Loop: us":                                  "X-Loop",
		"Content-Type: multipart/report; boundary=x":  "Content-Type: multipart/report",
		"Content-Type: text/plain":                    "",
		"From: report@sink.example":                   "from this sink",
		"From: j@notsink.example":                     "",
		"Precedence: list\nAuto-Submitted: generated": "Auto-Submitted: generated",
		"no colon":                                    "header not readable",
		"X-A: b\n: empty key\nPrecedence: junk":       "Precedence: junk",
		strings.Repeat("X-A: b\n", 1001) + "X-Z: end": "header not readable",
		"X-A: b\n" + strings.Repeat(" \n", 4000):      "header not readable",
		strings.Repeat("X-A: 0123456789\n", 20_000):   "header not readable",
	} {
		tx, err := inspect(t, newDNS(), "j@sender.example", header+"\n\n")
		if (err != nil) != (want == "header not readable") {
			t.Errorf("%.40q: error %v", header, err)
		}
		if tx.Message.Automatic != want {
			t.Errorf("%.40q: %q, want %q", header, tx.Message.Automatic, want)
		}
	}
	if tx, _ := inspect(t, newDNS(), "x@mx.sink.example", plain); tx.Message.Automatic != "from this sink" {
		t.Errorf("our own MAIL FROM: %q", tx.Message.Automatic)
	}
}

func TestOtherFacts(t *testing.T) {
	type facts struct {
		Language           string
		ARC, TLSRequiredNo bool
	}
	for header, want := range map[string]facts{
		"Content-Language: de, en":                     {Language: "de"},
		"Accept-Language: en-GB;q=0.9":                 {Language: "en-GB"},
		"Content-Language: <script>":                   {},
		"Content-Language: \nAccept-Language: fr":      {Language: "fr"},
		"ARC-Seal: i=1; cv=none":                       {ARC: true},
		"TLS-Required: No":                             {TLSRequiredNo: true},
		"tls-required:\n no":                           {TLSRequiredNo: true},
		"TLS-Required: Yes":                            {},
		"TLS-Required: Yes\nTLS-Required: no":          {TLSRequiredNo: true},
		"Content-Language: " + strings.Repeat("a", 99): {},
	} {
		tx, err := inspect(t, newDNS(), "j@sender.example", header+"\n\n")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, facts{tx.Message.Language, tx.Message.ARC, tx.TLSRequiredNo}); d != "" {
			t.Errorf("%q (-want +got):\n%s", header, d)
		}
	}
}

// Whatever comes in: it is read to its end, what is kept is bounded, valid and
// can be stored, and an unauthenticated message is not answered.
func FuzzInspect(f *testing.F) {
	f.Add([]byte(plain), "j@sender.example")
	f.Add([]byte(sign(f, plain, "sender.example")), "j@other.example")
	f.Add([]byte("To: a\r\nTo: b\r\n\tc\r\n\r\n"), "")
	f.Add([]byte("DKIM-Signature: v=1; a=rsa-sha256; b=; bh=; d=x; h=from; s=y\r\nDKIM-Signature: x\r\nFrom: \"\xff\r\n"), "<>@")
	f.Fuzz(func(t *testing.T, message []byte, mailFrom string) {
		d := newDNS()
		delete(d.txt, "sender.example") // no SPF: nothing but DKIM could authenticate
		in := strings.NewReader(string(message))
		tx := evidence.Transaction{MailFrom: mailFrom}
		err := inspector(t, d).Inspect(t.Context(), client(), "x", &tx, in)
		m := tx.Message
		if m == nil || in.Len() != 0 || m.Size != int64(len(message)) {
			t.Fatalf("not read to the end: %+v, %d left", m, in.Len())
		}
		if len(m.From) > 50 || len(m.To) > 50 || len(m.Cc) > 50 || len(m.DKIM) > 6 || len(m.Received) > 30 || len(tx.MessageID) > 998 || len(tx.Addressed) > 50 {
			t.Errorf("not bounded: %+v", tx)
		}
		for _, s := range append([]string{tx.MessageID, m.Automatic, m.Language, m.Chain.Sealer, m.Chain.Reason, m.DMARC.Domain, m.DMARC.From, m.DMARC.Reason}, append(m.From, m.To...)...) {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00") {
				t.Errorf("kept %q", s)
			}
		}
		if _, err := json.Marshal(m); err != nil {
			t.Errorf("cannot be stored: %v", err)
		}
		if ok, _, reason := mailauth.MayReport(tx, at()); ok && (err != nil || !strings.HasPrefix(reason, "DKIM")) {
			t.Errorf("would report: %s (%v)", reason, err)
		}
	})
}
