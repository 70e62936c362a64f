package operate_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/operate"
)

// Each connection of a test says why it belongs to it: by which mail, since when
// its client is known, or by the slot.
func TestWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := test("T1", "a@sender.example", "192.0.2.1", 10)
	r.Test.LeftOut = 1
	later := test("T2", "b@other.example", "192.0.2.1", 100)
	mail, again, refused, slot := connection("c1", "192.0.2.1", 10, &r), connection("c2", "192.0.2.1", 12, &r), connection("c3", "192.0.2.1", 13, nil), connection("c4", "192.0.2.1", 14, nil)
	again.Transactions[0].MailFrom = "bounce+7@sender.example"
	from := "a@sender.example"
	noMessage := connection("c5", "192.0.2.1", 11, nil)
	noMessage.MailFrom = &from
	noMessage.Transactions = []evidence.Transaction{{MailFrom: from}}
	w.commit(history.Batch{
		Tests: []history.TestRecord{r, later}, Connections: []evidence.Connection{mail, again, refused, slot, noMessage, connection("d1", "192.0.2.1", 100, &later)},
		Attach: append(append(append(attach("T1", evidence.ByMail, "c1", "c2", "c5"), attach("T1", evidence.ByAddress, "c3")...), attach("T1", evidence.BySlot, "c4")...), attach("T2", evidence.ByMail, "d1")...),
	})
	x, err := w.Why(t.Context(), "t1")
	if err != nil || len(x.Connections) != 5 || x.LeftOut != 1 || !strings.Contains(x.Text, "<T1@sender.example>") {
		t.Fatalf("%+v %v", x, err)
	}
	got := make(map[evidence.ConnID]operate.Why)
	for _, y := range x.Connections {
		got[y.Connection] = y
	}
	for id, want := range map[evidence.ConnID]string{
		"c1": "Message-ID and envelope sender are those of the test",
		"c2": "the envelope sender, which some senders change, has its domain",
		"c3": "Its client 192.0.2.1/32 belongs to the test since 2026-11-21 10:10:00, when connection c1 handed over mail of it, and no other test",
		"c4": "Its SNI names a host of slot 0",
		"c5": "no message was handed over",
	} {
		if !strings.Contains(got[id].Text, want) {
			t.Errorf("%s: %q does not say %q", id, got[id].Text, want)
		}
	}
	if y := got["c1"]; y.MessageID != "<T1@sender.example>" || y.Sender != "a@sender.example" || y.By != evidence.ByMail {
		t.Errorf("by mail: %+v", y)
	}
	others := got["c3"].Others
	if len(others) != 1 || others[0].Test != "T2" || others[0].Could || !got["c3"].Since.Equal(at(10)) {
		t.Errorf("by address: %+v", got["c3"])
	}
	if _, err := w.Why(t.Context(), "NOSUCH"); err == nil {
		t.Error("a test that does not exist was explained")
	}
}

func TestWhyNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := running("T1", "a@sender.example", "192.0.2.1", 10), running("T2", "b@other.example", "192.0.2.1", 12)
	over := test("T3", "c@third.example", "192.0.2.3", 10)
	alone := running("T4", "d@fourth.example", "192.0.2.4", 10)
	stranger := "nobody@fifth.example"
	mailOnly := connection("mail", "192.0.2.5", 20, nil)
	mailOnly.MailFrom = &stranger
	lost := connection("lost", "192.0.2.5", 21, &alone)
	w.commit(history.Batch{
		Tests: []history.TestRecord{first, second, over, alone},
		Connections: []evidence.Connection{
			connection("m1", "192.0.2.1", 10, &first), connection("m2", "192.0.2.1", 12, &second), connection("m3", "192.0.2.3", 10, &over), connection("m4", "192.0.2.4", 10, &alone),
			connection("both", "192.0.2.1", 20, nil), connection("early", "192.0.2.1", 5, nil), connection("one", "192.0.2.1", 8, nil),
			connection("after", "192.0.2.3", 200, nil), connection("late", "192.0.2.3", 15, nil), connection("running", "192.0.2.4", 20, nil), connection("scan", "198.51.100.1", 20, nil),
			mailOnly, lost,
		},
		Attach: append(append(attach("T1", evidence.ByMail, "m1"), attach("T2", evidence.ByMail, "m2")...), append(attach("T3", evidence.ByMail, "m3"), attach("T4", evidence.ByMail, "m4")...)...),
	})
	page, err := w.Connections(t.Context(), operate.ConnectionQuery{Unattached: true})
	if err != nil || len(page.Connections) != 9 {
		t.Fatalf("%d connections, %v", len(page.Connections), err)
	}
	got := make(map[evidence.ConnID]operate.ConnectionRow)
	for _, c := range page.Connections {
		got[c.ID] = c
	}
	for id, want := range map[evidence.ConnID]string{
		"both": "Several tests could own it: T2, T1", "early": "none of them can own it", "one": "Only test T1 could own it, which still runs", "after": "none of them can own it",
		"late": "Of this client only test T3 could own it", "running": "Only test T4 could own it, which still runs", "scan": "No test had this client around that time",
		"mail": "It said MAIL FROM:<nobody@fifth.example>", "lost": "It handed over a mail that no test has",
	} {
		row := got[id]
		if row.Why == nil || !strings.Contains(row.Why.Text, want) {
			t.Errorf("%s: %+v does not say %q", id, row.Why, want)
			continue
		}
		one, err := w.Connection(t.Context(), id)
		if err != nil || one.Why == nil || one.Why.Text != row.Why.Text {
			t.Errorf("%s alone: %+v %v", id, one.Why, err)
		}
	}
	if one, err := w.Connection(t.Context(), "m4"); err != nil || one.Test != "T4" || one.Why.By != evidence.ByMail {
		t.Errorf("one with a test: %+v %v", one, err)
	}
	if _, err := w.Connection(t.Context(), "nosuch"); err == nil {
		t.Error("a connection that does not exist was found")
	}
	network := netip.MustParsePrefix("192.0.2.1/32")
	if p, err := w.Connections(t.Context(), operate.ConnectionQuery{Network: network, From: at(6), To: at(13)}); err != nil || len(p.Connections) != 3 {
		t.Errorf("%+v %v", p, err)
	}
	if _, err := w.Connections(t.Context(), operate.ConnectionQuery{From: at(6), To: at(5)}); !invalid(err) {
		t.Errorf("a time that ends before it begins: %v", err)
	}
}

func TestTranscript(t *testing.T) {
	t.Parallel()
	r := test("T1", "a@sender.example", "192.0.2.1", 10)
	sni, version, suite, alert := "mx05.et.sink.example", "TLS 1.3", "TLS_AES_128_GCM_SHA256", "bad_certificate"
	c := connection("c1", "192.0.2.1", 10, &r)
	c.TLS = &evidence.TLS{SNI: &sni, ClientVersions: []string{"TLS 1.2", "TLS 1.3"}, ClientSuites: []string{suite}, ClientCurves: []string{"X25519"}, Version: &version, Cipher: &suite, Stage: evidence.StageFinished, Complete: true, Certificate: "ca", TLSA: "mismatch", Alert: &alert}
	c.Helo = []string{"mta.sender.example", "mta.sender.example"}
	c.Verbs = []string{"", "EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "RCPT", "DATA", ".", "QUIT"}
	c.Replies = []string{"220", "250", "220", "250", "250", "250", "550", "354", "451", "221"}
	c.Refused = []string{"x@et.sink.example"}
	c.Anomalies = []string{"strange"}
	var got []string
	for _, l := range operate.Transcript(c) {
		got = append(got, l.Kind+" "+l.Text)
	}
	text := strings.Join(got, "\n")
	last := -1
	for _, want := range []string{
		"connect 10:10:00.000 from 192.0.2.1:40000", "server 220 (greeting)", "client EHLO mta.sender.example", "client STARTTLS", "server 220\ntls ClientHello: SNI mx05.et.sink.example; versions TLS 1.2, TLS 1.3; suites TLS_AES_128_GCM_SHA256; curves X25519",
		"tls shown: certificate ca, TLSA mismatch", "tls handshake completed: TLS 1.3 TLS_AES_128_GCM_SHA256", "tls alert of the client: bad_certificate",
		"client MAIL FROM:<a@sender.example>\nserver 250", "client RCPT TO:<en@et.sink.example>\nserver 250", "client RCPT TO:<x@et.sink.example>\nserver 550",
		"client DATA\nserver 354", "client end of the message\nserver 451", "mail message <T1@sender.example>, answered 451", "client QUIT\nserver 221", "anomaly strange", "end 10:10:02.000 after 2.0 s: the client said QUIT",
	} {
		i := strings.Index(text, want)
		if i <= last {
			t.Errorf("%q is not there, or out of order:\n%s", want, text)
		}
		last = i
	}
	// Without verbs, or where a mail was not recorded, nothing is guessed.
	c.Transactions = nil
	for _, l := range operate.Transcript(c) {
		if strings.Contains(l.Text, "MAIL FROM") {
			t.Errorf("made up: %s", l.Text)
		}
	}
	operate.Transcript(evidence.Connection{})
}

// A client with thousands of tests is explained in bounded time and space, and
// says what was left out.
func TestWhyIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var b history.Batch
	for i := range 500 {
		r := running(fmt.Sprintf("T%03d", i), "a@sender.example", "192.0.2.1", i/60)
		c := connection(fmt.Sprintf("m%03d", i), "192.0.2.1", i/60, &r)
		b.Tests, b.Connections, b.Attach = append(b.Tests, r), append(b.Connections, c), append(b.Attach, attach(r.Test.ID, evidence.ByMail, string(c.ID))...)
	}
	b.Connections = append(b.Connections, connection("loose", "192.0.2.1", 100, nil))
	w.commit(b)
	one, err := w.Connection(t.Context(), "loose")
	if err != nil || len(one.Why.Others) != 20 || one.Why.More != 480 || !strings.Contains(one.Why.Text, "and 490 more") || len(one.Why.Text) > 1000 {
		t.Errorf("%d others, %d more, %q, %v", len(one.Why.Others), one.Why.More, one.Why.Text, err)
	}
}
