package policyinfer

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// Plaintext of one mail and TLS of the next are a sender that uses TLS when it
// is offered, or one that was told meanwhile to use it always.
func TestTwoMailsAreNotAddedUp(t *testing.T) {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	n := scenario.Names(simZone, 0)
	to := []string{"en@" + n.ET, "en@" + n.UT}
	conn := func(id string, after time.Duration, messageID, rcpt string, tls bool) evidence.Connection {
		c := evidence.Connection{
			ID: evidence.ConnID(id), Start: start.Add(after), End: start.Add(after + time.Second), Client: "192.0.2.10:1", EHLO: true, Helo: []string{"mta"},
			StartTLSOffered: tls, Ending: evidence.EndingQuit, Addressed: to,
			Transactions: []evidence.Transaction{{RcptTo: []string{rcpt}, Addressed: to, MessageID: messageID, Data: true, TLS: tls}},
		}
		if tls {
			c.StartTLS, c.TLS = true, &evidence.TLS{Stage: evidence.StageFinished, ClientVersions: []string{"1.3"}, Complete: true, Certificate: string(scenario.SelfSigned)}
		}
		return c
	}
	for name, c := range map[string]struct {
		conns []evidence.Connection
		want  Verdict
	}{
		"one mail": {[]evidence.Connection{
			conn("1", 0, "<1>", to[0], false), conn("2", 20*time.Minute, "<1>", to[0], true), conn("3", 40*time.Minute, "<1>", to[0], true),
		}, Verdict{Policy: May, Candidates: []Name{May}}},
		"sent again": {[]evidence.Connection{
			conn("1", 0, "<1>", to[0], false), conn("2", 20*time.Minute, "<2>", to[0], true), conn("3", 40*time.Minute, "<2>", to[0], true),
		}, Verdict{Policy: Undetermined, Candidates: []Name{May, Encrypt}}},
		"sent again after the copy for ut": {[]evidence.Connection{
			conn("0", 0, "<1>", to[1], false), conn("1", time.Minute, "<1>", to[0], false),
			conn("2", 20*time.Minute, "<2>", to[0], true), conn("3", 40*time.Minute, "<2>", to[0], true),
		}, Verdict{Policy: Undetermined, Candidates: []Name{May, Encrypt}}},
		"seen plaintext and TLS again": {[]evidence.Connection{
			conn("1", 0, "<1>", to[0], false), conn("2", 20*time.Minute, "<2>", to[0], true),
			conn("3", 40*time.Minute, "<2>", to[0], false), conn("4", 60*time.Minute, "<2>", to[0], true),
		}, Verdict{Policy: May, Candidates: []Name{May}}},
	} {
		t.Run(name, func(t *testing.T) {
			v := New().Infer(evidence.History{Test: evidence.Test{Zone: simZone}, Connections: c.conns}, Options{})
			if diff := cmp.Diff(c.want, Verdict{Policy: v.Policy, Candidates: v.Candidates}); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}
