package main

import (
	"context"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"testing"
)

// Not parallel: its senders have to come within seconds.
func TestDemo(t *testing.T) {
	out, stderr, status := runCLI(t, "", "demo", "--timeout", "5m")
	if status != 0 {
		t.Fatalf("status %d\n%s%s", status, out, stderr)
	}
	for _, p := range demoPolicies() {
		line := regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(p.label) + ` +[●○·]( [●○·]){6} +\d+  ` + regexp.QuoteMeta(string(p.want)) + ` +after +\d+ s$`)
		if n := len(line.FindAllString(out, -1)); n != 1 {
			t.Errorf("%s: %d lines match %v, want 1", p.label, n, line)
		}
	}
	for _, want := range []string{
		"  sender            1 2 3 4 5 6 7   attempts  verdict",
		"Subject: tlsink: outbound mail of sender107.example: dane (protected)",
		"  | Evidence\n",
		"All 9 verdicts are the policies that were simulated; 9 reports were delivered",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q", want)
		}
	}
	if strings.ContainsRune(out, '\x1b') {
		t.Error("control sequences without a terminal")
	}
	if stderr != "" {
		t.Errorf("stderr: %s", stderr)
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestDemoNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, stderr, status := runCLI(t, "", "demo", "--timeout", "1ms")
	if status != 1 || !strings.Contains(stderr, "gave up; missing: the service itself") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
	d, err := newDemo(t.Context(), demoConfig(t.TempDir()), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	err = d.run(over, io.Discard, false)
	if err == nil {
		t.Fatal("no error although nothing happened")
	}
	for _, p := range demoPolicies() {
		if !strings.Contains(err.Error(), p.label+": no mail") {
			t.Errorf("error does not name %s: %v", p.label, err)
		}
	}
}
