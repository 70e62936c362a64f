package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// TestSignatureOfStandardWebhooks is the example of the specification's own
// libraries.
func TestSignatureOfStandardWebhooks(t *testing.T) {
	key, err := Key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
}

// nothing is a state that keeps nothing.
type nothing struct{}

func (nothing) Load(string) ([]byte, error)                { return nil, nil }
func (nothing) Save(context.Context, string, []byte) error { return nil }

// TestStateFits: a value in the history's file has less than 1 MiB.
func TestStateFits(t *testing.T) {
	long := "https://ci.example.com/" + strings.Repeat("x", maxURL-23)
	s, err := New(Options{
		State: nothing{}, Hosts: []string{"ci.example.com"}, Service: "sink.example", Now: time.Now, Rand: strings.NewReader(strings.Repeat("r", 64)),
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, fmt.Errorf("no network") },
	})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := newSecret(s.o.Rand)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.o.Limits.Registered {
		s.registered[fmt.Sprintf("%06d", i)] = registration{long, secret, time.Now()}
	}
	text := strings.Repeat("<", 5*maxText) // six octets each in JSON
	body, err := s.body(Event{Test: "000000", State: "acked", Sender: text, Link: long[:maxLink], Verdict: &Verdict{Policy: "dane", Summary: text, Grade: "good"}}, true)
	if err != nil {
		// It is refused, rather than too long.
		body = make([]byte, maxBody)
	}
	for i := range s.o.Limits.Pending {
		s.queue.Pending = append(s.queue.Pending, item{ID: "msg_000000000000000000000000", Test: fmt.Sprintf("%06d", i), URL: long, Secret: secret, Body: body, LastError: cut(text, maxReason)})
	}
	for i := range maxLog {
		d := s.queue.Pending[i%len(s.queue.Pending)].delivery()
		s.queue.Ended = append(s.queue.Ended, d)
	}
	for name, v := range map[string]any{"registered": s.registered, "queue": s.queue} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) >= 1<<20 {
			t.Errorf("%s: %d octets", name, len(b))
		}
	}
}
