package sink_test

import (
	"crypto/tls"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

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
			SNI: new("mx04.et.sink.example"), ClientVersions: []string{"1.3", "1.2"}, Version: new("1.3"), Cipher: got.TLS.Cipher,
			Stage: evidence.StageFinished, Complete: true, Certificate: "self-signed", TLSA: "match",
		},
		MailFrom: new("j@sender.example"), RcptTo: []string{"en@et.sink.example"}, Data: true,
		Transactions: []evidence.Transaction{{
			MailFrom: "j@sender.example", RcptTo: []string{"en@et.sink.example"}, Data: true, Reply: 451, TLS: true, MessageID: "<inspected@sender.example>",
		}},
		Replies: []string{"220", "250", "220", "250", "250", "250", "354", "451", "221"},
		Verbs:   []string{"", "EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA", ".", "QUIT"},
		Status:  evidence.StatusMail, Ending: evidence.EndingQuit,
	}
	ignore := cmpopts.IgnoreFields(evidence.Connection{}, "Start", "End", "Client", "Local")
	times := cmpopts.IgnoreFields(evidence.Transaction{}, "Time")
	offers := cmpopts.IgnoreFields(evidence.TLS{}, "ClientSuites", "ClientCurves")
	if d := cmp.Diff(want, got, ignore, times, offers, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("record (-want +got):\n%s", d)
	}
	if !slices.Contains(got.TLS.ClientSuites, "TLS_AES_128_GCM_SHA256") || !slices.Contains(got.TLS.ClientCurves, "X25519") {
		t.Errorf("the client offered %q, %q", got.TLS.ClientSuites, got.TLS.ClientCurves)
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

// What sets one connection apart from another, besides its ending.
func TestRecordsOfSessions(t *testing.T) {
	type record struct {
		EHLO, Offered, StartTLS, TLS bool
		Server, Slot                 int
		Destination                  string
		Anomalies                    []string
	}
	for name, c := range map[string]struct {
		phase evidence.Phase
		play  func(c *client)
		want  record
	}{
		"EHLO in the downgrade phase": {
			evidence.Downgrade, func(c *client) { c.hello() },
			record{EHLO: true, Server: 1, Destination: "unknown"},
		},
		"STARTTLS although not offered": {
			evidence.Downgrade, func(c *client) { c.hello(); c.cmd("STARTTLS", 454) },
			record{EHLO: true, StartTLS: true, Server: 1, Destination: "unknown"},
		},
		"HELO in the secure phase": {
			evidence.Secure, func(c *client) { c.expect(220); c.cmd("HELO x", 250) },
			record{Server: 1, Destination: "unknown"},
		},
		"plaintext although offered": {
			evidence.Secure, func(c *client) { c.hello(); c.mail("en@et.sink.example"); c.send(body); c.expect(451) },
			record{EHLO: true, Offered: true, Server: 1, Destination: "et"},
		},
		"plaintext to ut of a slot": {
			evidence.Downgrade, func(c *client) { c.hello(); c.mail(leased + "@ut1.sink.example"); c.send(body); c.expect(451) },
			record{EHLO: true, Server: 7, Slot: 1, Destination: "ut"},
		},
		"slot by SNI": {
			evidence.Secure, func(c *client) { c.secured("MX06.et1.sink.example") },
			record{EHLO: true, Offered: true, StartTLS: true, TLS: true, Server: 6, Slot: 1, Destination: "et"},
		},
		"SNI of a slot that does not exist": {
			evidence.Secure, func(c *client) { c.secured("mx06.et2.sink.example") },
			record{EHLO: true, Offered: true, StartTLS: true, TLS: true, Server: 2, Destination: "unknown"},
		},
		"SNI that is no mail host": {
			evidence.Secure, func(c *client) { c.secured("mta-sts.et.sink.example") },
			record{EHLO: true, Offered: true, StartTLS: true, TLS: true, Server: 2, Destination: "unknown"},
		},
		"recipient disagrees with SNI": {
			evidence.Secure, func(c *client) {
				c.secured("mx06.et1.sink.example")
				c.cmd("EHLO x", 250)
				c.cmd("MAIL FROM:<>", 250)
				c.cmd("RCPT TO:<en@et.sink.example>", 250)
			},
			record{
				EHLO: true, Offered: true, StartTLS: true, TLS: true, Server: 6, Destination: "et",
				Anomalies: []string{"recipient en@et.sink.example disagrees with SNI mx06.et1.sink.example"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, c.phase)
			client := f.dial(t, f.listen(t))
			c.play(client)
			client.cmd("QUIT", 221)
			r := f.director.next(t)
			got := record{r.EHLO, r.StartTLSOffered, r.StartTLS, r.TLS != nil, r.Server, r.Slot, r.Destination, r.Anomalies}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// The keys of the default certificates match no TLSA record, whoever gets them.
func TestTLSAOfTheDefaultCertificate(t *testing.T) {
	for sni, want := range map[string]string{
		"": "unknown", "elsewhere.example": "unknown", host(scenario.MX04): "mismatch", host(scenario.MX06): "mismatch", host(scenario.UT): "none",
	} {
		t.Run(sni, func(t *testing.T) {
			f := newFixture(t, evidence.Secure)
			f.director.always = &scenario.Certificate{Owner: scenario.OwnerDefault, Kind: scenario.CA}
			c := f.dial(t, f.listen(t))
			c.secured(sni)
			c.cmd("QUIT", 221)
			if got := f.director.next(t).TLS; got.TLSA != want || got.Certificate != "ca-default" {
				t.Errorf("certificate %s, TLSA %s, want ca-default, %s", got.Certificate, got.TLSA, want)
			}
		})
	}
}
