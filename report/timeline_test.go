package report

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
)

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestEvent(t *testing.T) {
	sent := func(tls bool) []evidence.Transaction { return []evidence.Transaction{{Data: true, TLS: tls}} }
	done, broken := &evidence.TLS{Complete: true}, &evidence.TLS{}
	for _, c := range []struct {
		name string
		of   evidence.Connection
		want event
	}{
		{"sent in plaintext", evidence.Connection{Data: true, Transactions: sent(false)}, plaintext},
		{"sent in TLS", evidence.Connection{Data: true, TLS: done, Transactions: sent(true)}, encrypted},
		{"one of two in plaintext", evidence.Connection{Data: true, TLS: done, Transactions: append(sent(true), sent(false)...)}, plaintext},
		{"old record without transactions", evidence.Connection{Data: true}, plaintext},
		{"left without STARTTLS", evidence.Connection{EHLO: true, Ending: evidence.EndingQuit}, declined},
		{"left after the certificate", evidence.Connection{EHLO: true, StartTLSOffered: true, TLS: broken, Ending: evidence.EndingAlert}, declined},
		{"left though STARTTLS was offered", evidence.Connection{EHLO: true, StartTLSOffered: true, Ending: evidence.EndingQuit}, connected},
		{"HELO only", evidence.Connection{Ending: evidence.EndingQuit}, connected},
		{"reset says nothing", evidence.Connection{EHLO: true, TLS: done, Ending: evidence.EndingReset}, connected},
		{"our own close says nothing", evidence.Connection{EHLO: true, TLS: done, Ending: evidence.EndingServer}, connected},
		{"timeout says nothing", evidence.Connection{EHLO: true, Ending: evidence.EndingTimeout}, connected},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := eventOf(&c.of); got != c.want {
				t.Errorf("%s, want %s", got.Class(), c.want.Class())
			}
		})
	}
}

func TestStrongest(t *testing.T) {
	for _, c := range []struct{ a, b, want event }{
		{nothing, connected, connected},
		{declined, encrypted, both},
		{encrypted, declined, both},
		{both, encrypted, both},
		{connected, encrypted, encrypted},
		{plaintext, both, plaintext},
		{declined, plaintext, plaintext},
	} {
		if got := strongest(c.a, c.b); got != c.want {
			t.Errorf("%s and %s are %s, want %s", c.a.Class(), c.b.Class(), got.Class(), c.want.Class())
		}
	}
}

func TestAttempts(t *testing.T) {
	var h evidence.History
	for _, second := range []int{300, 0, 9, 30, 301} { // not in order
		at := begin.Add(time.Duration(second) * time.Second)
		h.Connections = append(h.Connections, evidence.Connection{Start: at, End: at.Add(2 * time.Second)})
	}
	var got []string
	for _, a := range attempts(h) {
		got = append(got, fmt.Sprintf("%v %d", a.start.Sub(begin), len(a.connections)))
	}
	if diff := cmp.Diff([]string{"0s 2", "30s 1", "5m0s 2"}, got); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

// However dense a history is, the picture stays small and loses no kind of event.
func TestTimelineIsBounded(t *testing.T) {
	var h evidence.History
	for i := range 10_000 {
		at := begin.Add(time.Duration(i) * time.Minute)
		c := evidence.Connection{Start: at, End: at, Server: 6, Client: fmt.Sprintf("192.0.2.%d:25", i%200), EHLO: true, TLS: &evidence.TLS{Complete: true}, Ending: evidence.EndingQuit}
		if i == 5000 {
			c.Server, c.TLS, c.Transactions = 1, nil, []evidence.Transaction{{Data: true}}
		}
		h.Connections = append(h.Connections, c)
	}
	pictures := timelines(Input{History: h})
	if len(pictures) != 1 || len(pictures[0].Rows) != rowsKeep || len(pictures[0].Lanes) != 7 {
		t.Fatalf("got %d pictures: %+v", len(pictures), pictures)
	}
	seen := make(map[event]int)
	for _, row := range pictures[0].Rows {
		for _, e := range row.Cells {
			seen[e]++
		}
	}
	if seen[plaintext] != 1 || seen[declined] != rowsKeep {
		t.Errorf("events are %v", seen)
	}
}

func TestOrderAt(t *testing.T) {
	states := []evidence.State{
		{Time: begin, MX: map[string]int{"mx03": 10, "mx04": 20, "mx05": 30, "mx06": 40}},
		{Time: begin.Add(time.Minute), Phase: evidence.Secure},
		{Time: begin.Add(time.Hour), MX: map[string]int{"mx03": 40, "mx04": 30, "mx05": 20, "mx06": 10}},
	}
	for after, want := range map[time.Duration]string{-time.Second: "", 0: "mx03", 2 * time.Minute: "mx03", 2 * time.Hour: "mx06"} {
		if got := orderAt(states, begin.Add(after)); got != want {
			t.Errorf("after %v: %q, want %q", after, got, want)
		}
	}
}

func TestLength(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0 s", 119 * time.Second: "119 s", 2 * time.Minute: "2 min", 119 * time.Minute: "119 min", 26*time.Hour + 3*time.Minute: "26 h 3 min"} {
		if got := length(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

// A reader sees which connections only an address or a name ties to the test.
func TestTiesAreNoted(t *testing.T) {
	for attribution, want := range map[evidence.Attribution]string{
		evidence.ByMail:    "HELO only",
		evidence.ByAddress: "HELO only; assigned by address only",
		evidence.BySlot:    "HELO only; assigned by a server name that only this test has",
	} {
		c := evidence.Connection{Helo: []string{"mx.sender.example"}, Ending: evidence.EndingQuit, Attribution: attribution}
		if got := notes(&c, "sink.example", English); got != want {
			t.Errorf("%s: %q, want %q", attribution, got, want)
		}
	}
}
