package policyinfer

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// Spans and Read show what inference reads: the same attempts, and each delivery
// and refusal in them.
func TestReaderShowsWhatInferenceReads(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		h, err := evidence.ReadHistory(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		reader, spans := NewReader(&h), Spans(&h)
		as := attempts(&h, timingOf(h.Test.Timing))
		if len(spans) != len(as) {
			t.Errorf("%s: %d spans, %d attempts", file, len(spans), len(as))
			continue
		}
		for i, a := range as {
			if !spans[i].Start.Equal(a.start) || !spans[i].End.Equal(a.end) || len(spans[i].Connections) != len(a.conns) {
				t.Errorf("%s: span %d is %v to %v with %d, the attempt %v to %v with %d connections",
					file, i, spans[i].Start, spans[i].End, len(spans[i].Connections), a.start, a.end, len(a.conns))
			}
			for c, events := range a.byConnection() {
				var want []Seen
				for _, e := range events {
					if e.outcome != contacted {
						want = append(want, Seen{e.face, e.sni, e.delivered(), e.outcome == deliveredTLS || e.outcome == refusedTLS, e.grade == gradeExplicit})
					}
				}
				got := reader.Read(c)
				if len(got) != len(want) {
					t.Fatalf("%s: connection %s shows %v, want %v", file, c.ID, got, want)
				}
				for j := range got {
					if got[j] != want[j] {
						t.Errorf("%s: connection %s shows %+v, want %+v", file, c.ID, got[j], want[j])
					}
				}
			}
		}
	}
}

func TestReaderKnowsFaults(t *testing.T) {
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	h := evidence.History{Test: evidence.Test{Zone: "sink.example"}, States: []evidence.State{
		{Time: start, Unverifiable: "no DS record"},
		{Time: start.Add(time.Minute)},
		{Time: start.Add(time.Hour), Broken: "ut has a policy", BrokenSince: start.Add(50 * time.Minute)},
	}}
	r := NewReader(&h)
	for at, want := range map[time.Duration]bool{
		-time.Second: false, 30 * time.Second: true, 2 * time.Minute: true, // resolvers remember
		10 * time.Minute: false, 55 * time.Minute: true, 5 * time.Hour: true,
	} {
		c := evidence.Connection{Start: start.Add(at), End: start.Add(at)}
		if got := r.Faulty(&c); got != want {
			t.Errorf("after %v: faulty %t, want %t", at, got, want)
		}
	}
	open := evidence.Connection{Start: start.Add(30 * time.Second)} // no end yet
	if !r.Faulty(&open) {
		t.Error("an open connection is not faulty")
	}
}

func TestReaderSNI(t *testing.T) {
	h := evidence.History{Test: evidence.Test{Zone: "sink.example", Slot: 3}}
	r := NewReader(&h)
	name := func(s string) *evidence.TLS { return &evidence.TLS{SNI: &s, Stage: evidence.StageFinished} }
	for _, tt := range []struct {
		name string
		tls  *evidence.TLS
		want scenario.Ternary
	}{
		{"of its slot", name("mx04.et3.sink.example"), scenario.Yes},
		{"of another slot", name("mx04.et.sink.example"), scenario.Unknown},
		{"of somebody else", name("mail.example.org"), scenario.Unknown},
		{"none", &evidence.TLS{Stage: evidence.StageFinished}, scenario.No},
		{"no TLS", nil, scenario.Unknown},
	} {
		if got := r.SNI(&evidence.Connection{TLS: tt.tls}); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
