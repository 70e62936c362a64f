package live_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

const zone = "sink.example"

func start() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC) }

// plain is a connection in the downgrade phase that left in order.
func plain() evidence.Connection {
	return evidence.Connection{
		ID: "1", Start: start(), End: start().Add(time.Second), Client: "192.0.2.10:4711", Phase: evidence.Downgrade, EHLO: true,
		Server: 1, Destination: "unknown", Helo: []string{"mta.sender.example"}, Replies: []string{"220", "250", "221"},
		Status: evidence.StatusNone, Ending: evidence.EndingQuit,
	}
}

// secure is one that named a host and left inside TLS.
func secure(sni, certificate string, server int) evidence.Connection {
	c := plain()
	c.Phase, c.StartTLSOffered, c.StartTLS, c.Server, c.Status = evidence.Secure, true, true, server, evidence.StatusTLSStarted
	c.TLS = &evidence.TLS{
		SNI: new(sni + "." + zone), Version: new("1.3"), Cipher: new("TLS_AES_128_GCM_SHA256"), Stage: evidence.StageFinished, Complete: true, Certificate: certificate,
	}
	return c
}

// mail adds a transaction whose message was transferred.
func mail(c evidence.Connection, to ...string) evidence.Connection {
	c.Transactions = append(c.Transactions, evidence.Transaction{
		MailFrom: "alice@sender.example", RcptTo: to, Data: true, Reply: 451, TLS: c.TLS != nil, Addressed: to, MessageID: "<1@sender.example>", Time: c.Start,
	})
	c.MailFrom, c.RcptTo, c.Data, c.Status, c.Attribution = new("alice@sender.example"), to, true, evidence.StatusMail, evidence.ByMail
	if strings.Contains(to[0], "ut") {
		c.Server, c.Destination = 7, "ut"
	} else {
		c.Destination = "et"
	}
	return c
}

func historyOf(connections ...evidence.Connection) evidence.History {
	h := evidence.History{Test: evidence.Test{ID: "k3f9qz", Zone: zone, Started: start(), Sender: "alice@sender.example"}, Connections: connections}
	for i := range h.Connections {
		h.Connections[i].ID = evidence.ConnID(fmt.Sprint(i + 1))
	}
	return h
}

func with(c evidence.Connection, change func(*evidence.Connection)) evidence.Connection {
	c = c.Clone()
	change(&c)
	return c
}

// What happens beside the regular: each is told as what it is, and claims
// nothing.
func TestOddConnections(t *testing.T) {
	mx04 := secure("mx04.et", "self-signed", 4)
	for _, tt := range []struct {
		name    string
		c       evidence.Connection
		outcome live.Outcome
		en, de  string
	}{
		{"port check", with(plain(), func(c *evidence.Connection) { c.Helo, c.EHLO, c.Ending = nil, false, evidence.EndingFIN }), live.Contacted, "without a word", "ohne ein Wort"},
		{"still open", with(plain(), func(c *evidence.Connection) { c.Ending, c.End = evidence.EndingOpen, time.Time{} }), live.Contacted, "connected right now", "gerade verbunden"},
		{"only HELO", with(plain(), func(c *evidence.Connection) { c.EHLO = false }), live.Refused, "old kind (HELO)", "alter Art (HELO)"},
		{"only HELO, and mail", with(mail(plain(), "en@et."+zone), func(c *evidence.Connection) { c.EHLO = false }), live.Plaintext, "(HELO)", "(HELO)"},
		{"left silently", with(plain(), func(c *evidence.Connection) { c.Ending = evidence.EndingFIN }), live.Refused, "only if it happens again", "wenn es wieder geschieht"},
		{"STARTTLS though not offered", with(plain(), func(c *evidence.Connection) { c.StartTLS, c.Replies = true, []string{"220", "250", "454", "221"} }), live.Refused, "kept the mail", "behielt die E-Mail"},
		{"reset", with(plain(), func(c *evidence.Connection) { c.Ending = evidence.EndingReset }), live.Contacted, "broke off", "riss ab"},
		{"timeout", with(plain(), func(c *evidence.Connection) { c.Ending = evidence.EndingTimeout }), live.Contacted, "fell silent", "schwieg"},
		{"our own close", with(plain(), func(c *evidence.Connection) { c.Ending = evidence.EndingServer }), live.Contacted, "This service ended", "Dieser Dienst hat"},
		{"refused by us", with(plain(), func(c *evidence.Connection) { c.Replies = []string{"220", "250", "502", "221"} }), live.Contacted, "got an error", "einen Fehler"},
		{"offered, not used, no mail", with(plain(), func(c *evidence.Connection) { c.StartTLSOffered, c.Phase = true, evidence.Secure }), live.Contacted, "neither used it", "nutzte sie nicht"},
		{"asked for TLS, no hello", with(plain(), func(c *evidence.Connection) { c.StartTLSOffered, c.StartTLS = true, true }), live.Contacted, "did not begin", "begann aber nicht"},
		{"TLS before the certificate", with(mx04, func(c *evidence.Connection) {
			c.TLS.Stage, c.TLS.Complete, c.TLS.Error = evidence.StageBeforeCertificate, false, new("no common version")
		}), live.Contacted, "before server 4 had shown", "bevor Server 4"},
		{"technical alert", with(mx04, func(c *evidence.Connection) {
			c.TLS.Stage, c.TLS.Complete, c.TLS.Alert, c.Ending = evidence.StageCertificate, false, new("protocol version"), evidence.EndingAlert
		}), live.Contacted, "technical reason", "technischen Grund"},
		{"alert about the certificate", with(mx04, func(c *evidence.Connection) {
			c.TLS.Stage, c.TLS.Complete, c.TLS.Alert, c.Ending = evidence.StageCertificate, false, new("bad certificate"), evidence.EndingAlert
		}), live.Refused, "refused it", "lehnte es ab"},
		{"reset after the certificate", with(mx04, func(c *evidence.Connection) { c.Ending = evidence.EndingReset }), live.Contacted, "broke off", "riss ab"},
		{"only address", with(mx04, func(c *evidence.Connection) { c.Attribution = evidence.ByAddress }), live.Contacted, "A server with your provider’s address left", "Ein Server mit der Adresse Ihres Anbieters ging"},
		{"by the slot", with(mx04, func(c *evidence.Connection) { c.Attribution = evidence.BySlot }), live.Contacted, "a test by hand", "ein Versuch von Hand"},
		{"foreign SNI", with(secure("mail", "self-signed", 2), func(c *evidence.Connection) { c.TLS.SNI = new("mail.example.org") }), live.Refused, "not part of this test", "nicht zu diesem Test gehört"},
		{"no SNI", with(secure("mx04.et", "ca-default", 2), func(c *evidence.Connection) { c.TLS.SNI = nil }), live.Refused, "Why is not known", "nicht bekannt"},
		{"mail began", with(plain(), func(c *evidence.Connection) {
			c.MailFrom, c.Transactions = new("a@b.example"), []evidence.Transaction{{MailFrom: "a@b.example"}}
		}), live.Contacted, "stopped before its content", "brach vor dem Inhalt ab"},
		{"no such recipient", with(plain(), func(c *evidence.Connection) {
			c.MailFrom, c.Transactions, c.Refused = new("a@b.example"), []evidence.Transaction{{MailFrom: "a@b.example"}}, []string{"x@et." + zone}
		}), live.Contacted, "does not exist here", "hier nicht gibt"},
		{"two mails", mail(mail(mx04, "en@et."+zone), "en@et."+zone), live.Encrypted, "By DANE that is right", "Nach DANE"},
		{"mail for ut", mail(with(plain(), func(c *evidence.Connection) { c.Server = 7 }), "en@ut."+zone), live.Plaintext, "Nothing forbids that here", "Nichts verbietet das hier"},
		{"mail for both", mail(plain(), "en@et."+zone, "en@ut."+zone), live.Plaintext, "both test addresses at once", "beide Testadressen"},
		{"host and recipient differ", mail(mx04, "en@ut."+zone), live.Encrypted, "can’t be told", "nicht zu erkennen"},
		{"opted out", with(mail(plain(), "en@et."+zone), func(c *evidence.Connection) { c.Transactions[0].TLSRequiredNo = true }), live.Plaintext, "asked to be sent without protection", "ohne Schutz"},
		{"REQUIRETLS", with(mail(mx04, "en@et."+zone), func(c *evidence.Connection) { c.Transactions[0].RequireTLS = true }), live.Encrypted, "demanded encryption for itself", "für sich selbst"},
		{"an unknown server", with(mail(mx04, "en@et."+zone), func(c *evidence.Connection) { c.TLS.Certificate, c.Server = "new", 0 }), live.Encrypted, "handed the mail over", "übergab die E-Mail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := snapshotOf(historyOf(tt.c), report.StateRunning)
			for l, want := range map[report.Language]string{report.English: tt.en, report.German: tt.de} {
				got := live.Of(s, l).Connections[0]
				if got.Outcome != tt.outcome {
					t.Errorf("outcome %q, want %q", got.Outcome, tt.outcome)
				}
				if !strings.Contains(got.Text, want) {
					t.Errorf("%s: %q does not say %q", l, got.Text, want)
				}
				if tt.outcome == live.Contacted && strings.Contains(got.Text, "right") && tt.name != "still open" {
					t.Errorf("what shows nothing is called right: %q", got.Text)
				}
			}
		})
	}
}

// While the service has a fault, what is seen is told, and not what it means.
func TestFaultOfTheService(t *testing.T) {
	h := historyOf(mail(plain(), "en@et."+zone))
	h.States = []evidence.State{{Time: start().Add(-time.Minute), Unverifiable: "no DS record"}}
	s := snapshotOf(h, report.StateRunning)
	s.Slow = "no DS record"
	en, de := live.Of(s, report.English), live.Of(s, report.German)
	for got, want := range map[string]string{
		en.Connections[0].Text: "This service had a fault of its own",
		de.Connections[0].Text: "Dieser Dienst war zu dieser Zeit selbst gestört",
		en.Slow:                "The service reports: “no DS record”.",
		de.Slow:                "Der Dienst meldet: „no DS record“.",
		en.Delay.Text:          "no fault of your provider.",
		de.Delay.Text:          "Ihr Anbieter kann nichts dafür.",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
	if en.Delay.Cause != s.Slow || de.Delay.Cause != s.Slow || strings.Contains(de.Delay.Text, s.Slow) {
		t.Errorf("the cause is not set apart: %+v, %+v", en.Delay, de.Delay)
	}
	if strings.Contains(en.Connections[0].Text, "DANE") {
		t.Errorf("a verdict on what a fault shows: %q", en.Connections[0].Text)
	}
}

// The states of a test, from the queue to its end, in both languages.
func TestStates(t *testing.T) {
	now := start().Add(time.Minute)
	booking := func(state live.State, change func(*live.Booking)) live.Snapshot {
		b := &live.Booking{State: state, Token: "en4k7w2q9mxa", Created: start(), Language: report.English}
		change(b)
		return live.Snapshot{ID: "k3f9qz", Zone: zone, Now: now, Booking: b, Order: []string{"mx04", "mx05", "mx06", "mx03", "evil"}, NextTurn: now.Add(time.Minute)}
	}
	run := func(state string, change func(*live.Snapshot)) live.Snapshot {
		s := booking("", func(b *live.Booking) { b.Slot = 3 })
		h := historyOf(plain(), mail(with(plain(), func(c *evidence.Connection) { c.Start = now.Add(-40 * time.Second); c.End = now.Add(-39 * time.Second) }), "en4k7w2q9mxa@ut3."+zone))
		h.Test.Slot = 3
		s.Input = &report.Input{Service: zone, Test: h.Test, History: h, Verdict: engine.Infer(h, policyinfer.Options{}), State: state, Generated: now}
		change(&s)
		return s
	}
	nothing := func(*live.Snapshot) {}
	var b strings.Builder
	for _, tt := range []struct {
		name string
		s    live.Snapshot
	}{
		{"next in the queue", booking(live.Queued, func(*live.Booking) {})},
		{"second in the queue", booking(live.Queued, func(b *live.Booking) { b.Ahead, b.Free = 1, now.Add(2*time.Hour) })},
		{"third in the queue", booking(live.Queued, func(b *live.Booking) { b.Ahead, b.Free = 2, now.Add(26*time.Hour) })},
		{"waiting", booking(live.Waiting, func(b *live.Booking) { b.Slot, b.Expires = 3, now.Add(29*time.Minute) })},
		{"waiting, time is up", booking(live.Waiting, func(b *live.Booking) { b.Slot, b.Expires = 3, now.Add(-time.Second) })},
		{"waiting, no end known", booking(live.Waiting, func(b *live.Booking) { b.Slot = 3 })},
		{"expired", booking(live.Expired, func(*live.Booking) {})},
		{"unknown", live.Snapshot{ID: "k3f9qz", Zone: zone, Now: now}},
		{"running, downgrade", run(report.StateRunning, func(s *live.Snapshot) { s.Phase, s.PhaseEnds = evidence.Downgrade, now.Add(2*time.Minute) })},
		{"running, downgrade without end", run(report.StateRunning, func(s *live.Snapshot) { s.Phase = evidence.Downgrade })},
		{"running, downgrade is over", run(report.StateRunning, func(s *live.Snapshot) { s.Phase, s.PhaseEnds = evidence.Downgrade, now.Add(-time.Second) })},
		{"running, secure, a fault", run(report.StateRunning, func(s *live.Snapshot) { s.Phase, s.Slow = evidence.Secure, "TLSA of mx05 matches" })},
		{"running, nothing known", run(report.StateRunning, func(s *live.Snapshot) { s.Input.History.Connections = nil })},
		{"concluded", run(report.StateConcluded, nothing)},
		{"acked", run(report.StateAcked, nothing)},
		{"closed", run(report.StateClosed, nothing)},
	} {
		fmt.Fprintf(&b, "##### %s\n", tt.name)
		written(&b, "", tt.s)
		for _, l := range []report.Language{report.English, report.German} {
			s := live.Of(tt.s, l)
			if s.Text == "" || strings.Contains(s.Text, "%!") {
				t.Errorf("%s: text %q", tt.name, s.Text)
			}
			if s.Slow != "" {
				fmt.Fprintf(&b, "slow %s\n", s.Slow)
			}
			if s.Addresses != nil {
				fmt.Fprintf(&b, "addresses %s %s %s\n", s.Addresses.ET, s.Addresses.UT, s.Addresses.Mailto)
			}
			if len(s.Rotation.Order) > 0 {
				fmt.Fprintf(&b, "rotation %v until %v, sender %s\n", s.Rotation.Order, s.Rotation.Next, s.Sender)
			}
		}
	}
	golden(t, "states.txt", b.String())
}
