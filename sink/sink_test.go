package sink_test

import (
	"crypto/tls"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

func ptr[T any](v T) *T { return &v }

// A whole delivery over TLS, with every field of its record.
func TestRecordOfADelivery(t *testing.T) {
	f := newFixture(t, evidence.Secure)
	c := f.dial(t, f.listen(t))
	if err := c.starttls(insecure(host(scenario.MX04))); err != nil {
		t.Fatal(err)
	}
	c.cmd("EHLO mta.sender.example", 250)
	c.mail("en@et.sink.example")
	c.send(body)
	if text := c.expect(451); text != "4.7.1 please retry  250 injected" {
		t.Errorf("reply %q: its text must be one line", text)
	}
	c.cmd("QUIT", 221)
	got := f.director.next(t)
	want := evidence.Connection{
		ID: "1", Phase: evidence.Secure, StartTLSOffered: true, EHLO: true, Server: 4, Destination: "et",
		Helo: []string{"mta.sender.example"}, StartTLS: true,
		TLS: &evidence.TLS{
			SNI: ptr("mx04.et.sink.example"), ClientVersions: []string{"1.3", "1.2"}, Version: ptr("1.3"), Cipher: got.TLS.Cipher,
			Stage: evidence.StageFinished, Complete: true, Certificate: "self-signed", TLSA: "match",
		},
		MailFrom: ptr("j@sender.example"), RcptTo: []string{"en@et.sink.example"}, Data: true,
		Transactions: []evidence.Transaction{{
			MailFrom: "j@sender.example", RcptTo: []string{"en@et.sink.example"}, Data: true, Reply: 451, TLS: true, MessageID: "<inspected@sender.example>",
		}},
		Replies: []string{"220", "250", "220", "250", "250", "250", "354", "451", "221"},
		Status:  evidence.StatusMail, Ending: evidence.EndingQuit,
	}
	ignore := cmpopts.IgnoreFields(evidence.Connection{}, "Start", "End", "Client", "Local")
	times := cmpopts.IgnoreFields(evidence.Transaction{}, "Time")
	if d := cmp.Diff(want, got, ignore, times, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("record (-want +got):\n%s", d)
	}
	if got.Transactions[0].Time.IsZero() || got.Start.IsZero() || got.End.Before(got.Start) || got.Client == "" || got.Local == "" {
		t.Errorf("times or addresses are missing: %+v", got)
	}
	if got.TLS.Cipher == nil || tls.CipherSuiteName(tls.TLS_AES_128_GCM_SHA256) == "" {
		t.Error("no cipher")
	}
	snapshot := f.director.snapshots[0]
	if snapshot.Ending != evidence.EndingOpen || !snapshot.Transactions[0].Data || snapshot.Transactions[0].Reply != 0 {
		t.Errorf("snapshot: %+v", snapshot)
	}
}
