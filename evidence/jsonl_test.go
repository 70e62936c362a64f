package evidence_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
)

func sample() evidence.History {
	at := time.Date(2026, 11, 21, 18, 0, 0, 123456789, time.UTC)
	str := func(s string) *string { return &s }
	return evidence.History{
		Test: evidence.Test{
			ID: "7KQ2", Zone: "sink.example", Started: at, Sender: "j@sender.example", SenderIPs: []string{"192.0.2.10"},
			Timing: &evidence.Timing{Settle: evidence.Duration(15 * time.Second)},
		},
		Connections: []evidence.Connection{{
			ID: "7", Start: at, End: at.Add(time.Second), Client: "192.0.2.10:37690", Local: "192.0.2.25:25",
			Phase: evidence.Secure, StartTLSOffered: true, EHLO: true, Server: 4, Destination: "et", Helo: []string{"mta.sender.example"}, StartTLS: true,
			TLS:      &evidence.TLS{SNI: str("mx04.et.sink.example"), ClientVersions: []string{"1.3"}, Version: str("1.3"), Stage: evidence.StageFinished, Complete: true, Certificate: "self-signed", TLSA: "match"},
			MailFrom: str("j@sender.example"), RcptTo: []string{"en@et.sink.example"}, Data: true, Addressed: []string{},
			Transactions: []evidence.Transaction{{MailFrom: "j@sender.example", RcptTo: []string{"en@et.sink.example"}, Data: true, Reply: 451, TLS: true, Addressed: []string{}, Message: message(at)}},
			Replies:      []string{"220", "250"}, Status: evidence.StatusMail, Ending: evidence.EndingQuit,
		}},
		Queries: []evidence.Query{{Time: at, Client: "192.0.2.10", Name: "et.sink.example.", Type: "MX", DO: true, Rcode: "NOERROR"}},
		Fetches: []evidence.PolicyFetch{{Time: at, Client: "192.0.2.10", Host: "mta-sts.et.sink.example", UserAgent: "x", Status: 200}},
		States:  []evidence.State{{Time: at, Phase: evidence.Secure, MX: map[string]int{"mx03": 10}}},
	}
}

// message has something in every field.
func message(at time.Time) *evidence.Message {
	return &evidence.Message{
		From: []string{"j@sender.example"}, To: []string{"en@et.sink.example"}, Cc: []string{"k@sender.example"}, Date: at, Language: "de-DE",
		Size: 1000, Automatic: "List-Id", ARC: true,
		DKIM:  []evidence.DKIM{{Domain: "sender.example", Result: evidence.AuthPass, Headers: []string{"from", "to"}, Reason: "r"}},
		SPF:   evidence.SPF{Result: evidence.AuthPass, Domain: "sender.example", Mechanism: "ip4", Reason: "r"},
		DMARC: evidence.DMARC{Result: evidence.AuthFail, Domain: "m.sender.example", From: "sender.example", Policy: "quarantine", AlignedSPF: true, AlignedDKIM: true, Reason: "r"},
		Chain: evidence.ARCChain{Result: evidence.AuthTempError, Sets: 50, Sealer: "list.example", Reason: "r"},
		Received: []evidence.Hop{
			{By: "out.sender.example", Claim: evidence.ClaimLocal},
			{From: "out.sender.example", By: "relay.example", With: "ESMTPS", Claim: evidence.ClaimEncrypted, TLS: "1.3", Cipher: "TLS_AES_128_GCM_SHA256", Time: at},
		},
		ReceivedLeftOut: 3,
	}
}

func TestHistoryRoundTrip(t *testing.T) {
	want := sample()
	var buf bytes.Buffer
	if err := evidence.WriteHistory(&buf, want); err != nil {
		t.Fatal(err)
	}
	got, err := evidence.ReadHistory(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("history changed on its way (-want +got):\n%s", d)
	}
}

func TestReadHistoryIgnoresWhatLaterVersionsAdd(t *testing.T) {
	in := `{"type":"test","id":"x","zone":"z.example","future":1}` + "\n" + `{"type":"weather","rain":true}` + "\n"
	h, err := evidence.ReadHistory(strings.NewReader(in))
	if err != nil || h.Test.ID != "x" {
		t.Errorf("got %+v, %v", h, err)
	}
}

func TestCloneIsDeep(t *testing.T) {
	a := sample().Connections[0]
	b := a.Clone()
	b.Helo[0], b.TLS.ClientVersions[0], b.Transactions[0].RcptTo[0], b.Replies[0] = "x", "x", "x", "x"
	*b.MailFrom, b.Transactions[0].Message.Size = "x", 1
	m := b.Transactions[0].Message
	m.From[0], m.To[0], m.Cc[0], m.DKIM[0].Headers[0], m.Received[0].By = "x", "x", "x", "x", "x"
	if d := cmp.Diff(sample().Connections[0], a); d != "" {
		t.Errorf("a change of the copy reached the original:\n%s", d)
	}
}

// Whatever can be read can be written and read again without change.
func FuzzReadHistory(f *testing.F) {
	var buf bytes.Buffer
	if err := evidence.WriteHistory(&buf, sample()); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Add([]byte(`{"type":"test","zone":"z.example","timing":{"settle":"1h"}}`))
	f.Add([]byte(`{"type":"test","zone":"z.example"}` + "\n" + `{"type":"connection","id":"1","start":"2026-01-01T00:00:00Z","client":"192.0.2.1:1"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		first, err := evidence.ReadHistory(bytes.NewReader(in))
		if err != nil {
			return
		}
		var once, twice bytes.Buffer
		if err := evidence.WriteHistory(&once, first); err != nil {
			return // e.g. a year that JSON cannot write
		}
		second, err := evidence.ReadHistory(bytes.NewReader(once.Bytes()))
		if err != nil {
			t.Fatalf("own output not readable: %v", err)
		}
		if err := evidence.WriteHistory(&twice, second); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Errorf("not stable:\n%s\n%s", once.Bytes(), twice.Bytes())
		}
	})
}
