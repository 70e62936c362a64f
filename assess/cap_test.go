package assess

import (
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// A face that is missing counts as met only in attempts that inference can use.
func TestMet(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	refusal := func(attempt int) evidence.Connection {
		start := at.Add(time.Duration(attempt) * time.Minute)
		return evidence.Connection{Start: start, End: start, Server: 5, TLS: &evidence.TLS{Certificate: "ca"}}
	}
	mail := func(attempt int) evidence.Connection {
		start := at.Add(time.Duration(attempt)*time.Minute + time.Second)
		return evidence.Connection{Start: start, End: start, Server: 7, Data: true}
	}
	plain := func(attempt int) evidence.Connection {
		start := at.Add(time.Duration(attempt) * time.Minute)
		return evidence.Connection{Start: start, End: start, Phase: evidence.Downgrade, Helo: []string{"mta.example"}}
	}
	from := func(client string, c evidence.Connection) evidence.Connection {
		c.Client = client
		return c
	}
	mx05 := policyinfer.Missing{Face: 5, Certificate: scenario.CA}
	for _, c := range []struct {
		name  string
		conns []evidence.Connection
		m     policyinfer.Missing
		want  bool
	}{
		{"refused three times, alone", []evidence.Connection{refusal(1), refusal(2), refusal(3), mail(4)}, mx05, false},
		{"refused three times beside mail", []evidence.Connection{refusal(1), mail(1), refusal(2), mail(2), refusal(3), mail(3)}, mx05, true},
		{"refused twice beside mail", []evidence.Connection{refusal(1), mail(1), refusal(2), mail(2)}, mx05, false},
		{"refused twice in one attempt", []evidence.Connection{refusal(1), refusal(1), mail(1)}, mx05, false},
		{"refused by two hosts", []evidence.Connection{refusal(1), mail(1), from("192.0.2.2:1", refusal(2)), mail(2), refusal(3), mail(3)}, mx05, false},
		{"another face", []evidence.Connection{refusal(1), mail(1), refusal(2), mail(2)}, policyinfer.Missing{Face: 4, Certificate: scenario.SelfSigned}, false},
		{"no STARTTLS, twice", []evidence.Connection{plain(1), plain(2)}, policyinfer.Missing{Face: 1}, true},
		{"no STARTTLS, once", []evidence.Connection{plain(1), mail(2)}, policyinfer.Missing{Face: 1}, false},
	} {
		if got := met(attemptsOf(evidence.History{Connections: c.conns}, 10*time.Second), c.m); got != c.want {
			t.Errorf("%s: met %v, want %v", c.name, got, c.want)
		}
	}
}
