package policyinfer_test

import (
	"cmp"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

// Histories that are made to take long: none takes more than in proportion to
// its size, give or take a logarithm. What looks at each three of their
// connections takes minutes here.
func TestLargeHistories(t *testing.T) {
	t.Parallel()
	const n = 10_000
	engine := policyinfer.New()
	for _, tt := range []struct {
		name string
		h    evidence.History
		want policyinfer.Name // Undetermined if empty
	}{
		{name: "refusals of one host at once", h: handshakes(n, func(_ int, c *evidence.Connection) {
			c.Client, c.TLS.Stage, c.TLS.Complete, c.TLS.Alert, c.Ending = "192.0.2.1:25", evidence.StageCertificate, false, new("bad certificate"), evidence.EndingAlert
		})},
		{name: "hosts that differ", h: handshakes(n, func(i int, c *evidence.Connection) {
			if i%2 == 0 {
				c.Transactions = mails(1)
			}
		})},
		{name: "everything in one attempt", h: longHistory(n, 0)},
		{name: "everything in a hundred attempts", h: inAttempts(100, longHistory(n, 0))},
		{name: "hosts without a TLS version in common", h: handshakes(n, func(_ int, c *evidence.Connection) {
			c.TLS.Stage, c.TLS.Complete, c.TLS.Alert = evidence.StageBeforeCertificate, false, new("protocol version")
		})},
		{name: "plaintext of one that checks certificates", h: handshakes(n, func(i int, c *evidence.Connection) {
			c.Client, c.Start = "192.0.2.1:25", c.Start.Add(time.Duration(min(i, 10))*10*time.Minute)
			switch {
			case i >= n/2:
				c.TLS, c.StartTLS = nil, false
				c.Transactions = mails(1)
				c.Transactions[0].TLS = false
			case i%2 == 1 || i >= 10: // before that, mx04 is refused
				*c.TLS.SNI, c.TLS.Certificate = "mx06.et.sink.example", "ca"
				c.Transactions = mails(1)
			}
		}), want: policyinfer.May},
		{name: "mails on one connection", h: handshakes(1, func(_ int, c *evidence.Connection) { c.Transactions = mails(n) })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := engine.Infer(tt.h, policyinfer.Options{})
			if want := cmp.Or(tt.want, policyinfer.Undetermined); v.Policy != want {
				t.Errorf("verdict %s of %v, findings %v", v.Policy, v.Candidates, v.Findings)
			}
		})
	}
}

// handshakes has n finished handshakes at mx04 and mx05 in turn, each of a host
// of its own, as changed by do.
func handshakes(n int, do func(int, *evidence.Connection)) evidence.History {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	h := evidence.History{Test: evidence.Test{ID: "large", Zone: "sink.example", Started: start}}
	for i := range n {
		sni := fmt.Sprintf("mx0%d.et.sink.example", 4+i%2)
		c := evidence.Connection{
			ID: evidence.ConnID(strconv.Itoa(i)), Start: start.Add(time.Duration(i) * 100 * time.Microsecond), Client: fmt.Sprintf("[2001:db8::%x]:25", i),
			StartTLSOffered: true, EHLO: true, Helo: []string{"mta.example"}, StartTLS: true, Destination: "et", Ending: evidence.EndingQuit,
			TLS: &evidence.TLS{SNI: &sni, Stage: evidence.StageFinished, Complete: true, Certificate: []string{"self-signed", "ca"}[i%2]},
		}
		do(i, &c)
		c.End = c.Start.Add(time.Millisecond)
		h.Connections = append(h.Connections, c)
	}
	return h
}

// inAttempts spreads the connections of h over n attempts.
func inAttempts(n int, h evidence.History) evidence.History {
	for i := range h.Connections {
		c := &h.Connections[i]
		c.Start = h.Test.Started.Add(time.Duration(i*n/len(h.Connections)) * time.Minute)
		c.End = c.Start
	}
	return h
}

func mails(n int) []evidence.Transaction {
	out := make([]evidence.Transaction, n)
	for i := range out {
		out[i] = evidence.Transaction{
			MailFrom: "user@sender.example", RcptTo: []string{"en@et.sink.example"}, Data: true, TLS: true, MessageID: strconv.Itoa(i),
			Addressed: []string{"en@et.sink.example", "en@ut.sink.example"},
		}
	}
	return out
}
