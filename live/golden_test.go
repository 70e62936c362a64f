package live_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

// update writes golden files instead of comparing them.
var update = flag.Bool("update", false, "write the golden files")

const histories = "../policyinfer/testdata/histories"

// engine is immutable.
var engine = policyinfer.New()

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func readHistory(t testing.TB, file string) evidence.History {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	h, err := evidence.ReadHistory(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// snapshotOf is a test with that evidence, at the end of it.
func snapshotOf(h evidence.History, state string) live.Snapshot {
	now := h.Test.Started
	for i := range h.Connections {
		if end := h.Connections[i].End; end.After(now) {
			now = end
		}
	}
	in := &report.Input{
		Service: h.Test.Zone, Test: h.Test, History: h, Verdict: engine.Infer(h, policyinfer.Options{}),
		State: state, Generated: now, Engine: policyinfer.EngineVersion,
	}
	s := live.Snapshot{ID: h.Test.ID, Zone: h.Test.Zone, Now: now.Add(30 * time.Second), Input: in, Phase: evidence.Secure}
	if state == report.StateRunning && len(h.Connections) > 0 {
		s.Phase = h.Connections[len(h.Connections)-1].Phase
		s.Order, s.NextTurn = []string{"mx04", "mx05", "mx06", "mx03"}, now.Add(5*time.Minute)
	}
	return s
}

// recorded lists the histories of real senders.
func recorded(t testing.TB) (files []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(histories, "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded histories: %v", err)
	}
	return files
}

// What the page says about real senders, while they are tested and after that.
func TestRecordedSenders(t *testing.T) {
	for _, file := range recorded(t) {
		name := strings.TrimSuffix(filepath.Base(file), ".jsonl")
		t.Run(name, func(t *testing.T) {
			h := readHistory(t, file)
			var b strings.Builder
			part := h
			part.Connections = h.Connections[:len(h.Connections)/2]
			written(&b, "WHILE IT RUNS", snapshotOf(part, report.StateRunning))
			written(&b, "AT THE END", snapshotOf(h, report.StateAcked))
			golden(t, name+".txt", b.String())
		})
	}
}

// written shows a status in both languages, each text once.
func written(b *strings.Builder, title string, s live.Snapshot) {
	en, de := live.Of(s, report.English), live.Of(s, report.German)
	both := func(what, a, b2 string) {
		if a != "" || b2 != "" {
			fmt.Fprintf(b, "%s\n  en: %s\n  de: %s\n", what, a, b2)
		}
	}
	fmt.Fprintf(b, "=== %s: %s\n", title, en.State)
	both("text", en.Text, de.Text)
	if en.Phase != nil {
		both("phase "+en.Phase.Name, en.Phase.Text, de.Phase.Text)
	}
	if en.Next != nil {
		fmt.Fprintf(b, "next %s to %s\n", en.Next.From.Format(time.TimeOnly), en.Next.To.Format(time.TimeOnly))
		both("", en.Next.Text, de.Next.Text)
	}
	for i := range en.Missing {
		both("missing", en.Missing[i], de.Missing[i])
	}
	for i := range en.Finding {
		both("finding", en.Finding[i], de.Finding[i])
	}
	if en.Verdict != nil {
		both(fmt.Sprintf("verdict %s (%s, %s, protected %t)", en.Verdict.Policy, en.Verdict.Level, en.Verdict.Grade, en.Verdict.Protected), en.Verdict.Summary, de.Verdict.Summary)
	}
	for i, server := range en.Servers {
		both(fmt.Sprintf("server %d (%s/%s): %d %q", server.Number, server.Name, de.Servers[i].Name, server.Connections, server.Outcome), server.Text, de.Servers[i].Text)
	}
	var order []string
	rows := make(map[string][]string)
	for i, c := range en.Connections {
		key := fmt.Sprintf("  en: %s\n  de: %s\n", c.Text, de.Connections[i].Text)
		if rows[key] == nil {
			order = append(order, key)
		}
		rows[key] = append(rows[key], fmt.Sprintf("%d:%d:%s", c.Number, c.Server, c.Outcome))
	}
	for _, key := range order {
		fmt.Fprintf(b, "rows %s\n%s", strings.Join(rows[key], " "), key)
	}
	if n := len(en.Connections); n > 0 {
		c, d := en.Connections[n-1], de.Connections[n-1]
		fmt.Fprintf(b, "last: client %s, name %s, SNI %q, TLS %q, by %q\n", c.Client, c.Name, c.SNI, c.TLS, c.By)
		both("details", strings.Join(c.Details, " | "), strings.Join(d.Details, " | "))
	}
}
