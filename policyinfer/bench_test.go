package policyinfer_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

// A history as it is recorded from one sender.
func BenchmarkInferRecorded(b *testing.B) {
	engine := policyinfer.New()
	for _, name := range []string{"postfix-dane", "chasquid-default"} {
		h := readHistory(b, name)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				engine.Infer(h, policyinfer.Options{})
			}
		})
	}
}

// A history as long as a test may become.
func BenchmarkInferLong(b *testing.B) {
	engine := policyinfer.New()
	h := longHistory(10_000, time.Minute)
	for b.Loop() {
		engine.Infer(h, policyinfer.Options{})
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		policyinfer.New()
	}
}

// longHistory has n connections, every gap one: refusals and deliveries at all
// hosts, from many addresses, as contradictory as can be.
func longHistory(n int, gap time.Duration) evidence.History {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	h := evidence.History{Test: evidence.Test{ID: "long", Zone: "sink.example", Started: start}}
	for i := range n {
		at := start.Add(time.Duration(i) * gap)
		sni := fmt.Sprintf("mx0%d.et.sink.example", 3+i%4)
		from := "user@sender.example"
		c := evidence.Connection{
			ID: evidence.ConnID(strconv.Itoa(i)), Start: at, End: at.Add(time.Millisecond), Client: fmt.Sprintf("[2001:db8::%x]:25", i%5000),
			StartTLSOffered: true, EHLO: true, Helo: []string{"mta.example"}, StartTLS: true, Destination: "et", Ending: evidence.EndingQuit,
			TLS: &evidence.TLS{SNI: &sni, Stage: evidence.StageFinished, Certificate: []string{"self-signed", "ca"}[i%4/2]},
		}
		switch i % 7 {
		case 0, 1:
			c.MailFrom = &from
			c.Transactions = []evidence.Transaction{{
				MailFrom: from, RcptTo: []string{"en@et.sink.example"}, Data: true, TLS: true, MessageID: strconv.Itoa(i % 1000),
				Addressed: []string{"en@et.sink.example", "en@ut.sink.example"},
			}}
		case 2:
			c.Attribution = evidence.ByAddress
		}
		h.Connections = append(h.Connections, c)
		h.States = append(h.States, evidence.State{Time: at, MX: map[string]int{"mx03": 10 + i%2, "mx04": 20, "mx05": 30, "mx06": 40}})
		if i%3 == 0 {
			h.States[i].Unverifiable = "signature expired"
		}
	}
	return h
}
