package mailer_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/deliver"
	"github.com/tlsink/tlsink/mailer"
)

type attempter func(deliver.Envelope) deliver.Result

func (f attempter) Attempt(_ context.Context, env deliver.Envelope) deliver.Result { return f(env) }

func TestDirect(t *testing.T) {
	for name, c := range map[string]struct {
		result deliver.Result
		want   mailer.Outcome
	}{
		"delivered": {deliver.Result{Delivered: true, Code: 250, Text: "ok"}, mailer.Outcome{Delivered: true, Code: 250, Text: "ok"}},
		"put off":   {deliver.Result{Temporary: true, Code: 451, Text: "later"}, mailer.Outcome{Code: 451, Text: "later"}},
		"refused": {
			deliver.Result{Code: 550, Text: "no such user", Tries: []deliver.Try{{MX: "mx1.x", Outcome: deliver.Rejected}}},
			mailer.Outcome{Permanent: true, Code: 550, Text: "no such user"},
		},
		"not by policy": {
			deliver.Result{Temporary: true, Code: 450, Text: "x", Tries: []deliver.Try{{MX: "mx1.x", Outcome: deliver.Skipped, Err: errors.New("no address")}}},
			mailer.Outcome{Code: 450, Text: "x", Detail: "could not be delivered (mx1.x: not contacted: no address)"},
		},
		"one host insecure, the other put it off": {
			deliver.Result{Temporary: true, Code: 451, Text: "later", Tries: []deliver.Try{{MX: "mx1.x", Outcome: deliver.MissingTLS}, {MX: "mx2.x", Mail: true, Outcome: deliver.Rejected}}},
			mailer.Outcome{Code: 451, Text: "later"},
		},
		"policy": {
			deliver.Result{Temporary: true, Code: 451, Text: "4.7.5 no host", Tries: []deliver.Try{
				{MX: "mx1.x", Outcome: deliver.MissingTLS},
				{MX: "mx2.x", Outcome: deliver.Refused, Err: errors.New("no TLSA record\r\nmatches")},
				{MX: "mx3.x", Outcome: deliver.FailedTLS, Err: errors.New("alert")},
				{MX: "mx4.x", Outcome: deliver.Unreachable},
			}},
			mailer.Outcome{Code: 451, Text: "4.7.5 no host", Detail: "could not be delivered because of the DANE or MTA-STS policy of the domain (mx1.x offers no STARTTLS; mx2.x: no TLSA record  matches; mx3.x: TLS failed: alert)"},
		},
	} {
		var env deliver.Envelope
		d := mailer.NewDirect(attempter(func(e deliver.Envelope) deliver.Result {
			env = e
			return c.result
		}))
		got := d.Send(t.Context(), "", "a@sender.example", []byte("x"))
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		if diff := cmp.Diff(deliver.Envelope{To: []string{"a@sender.example"}, Message: []byte("x")}, env); diff != "" {
			t.Errorf("%s: envelope: (-want +got)\n%s", name, diff)
		}
	}
}
