package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/policyinfer"
)

const histories = "../../policyinfer/testdata/histories"

func runCLI(t *testing.T, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, err bytes.Buffer
	status = run(&cli.Env{Ctx: t.Context(), Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &err}, args)
	return out.String(), err.String(), status
}

func TestInferPrintsVerdictFirst(t *testing.T) {
	out, _, status := runCLI(t, "", "infer", histories+"/postfix-dane.jsonl")
	if status != 0 || !strings.HasPrefix(out, "postfix-dane: dane\n") {
		t.Errorf("status %d, output:\n%s", status, out)
	}
	if !strings.Contains(out, "to mx04, whose certificate is self-signed, but matches its TLSA record") {
		t.Errorf("the evidence for it is missing:\n%s", out)
	}
}

func TestInferJSONOfAFolder(t *testing.T) {
	out, _, status := runCLI(t, "", "infer", "--json", "--explain", histories)
	if status != 0 {
		t.Fatal("status", status)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 20 {
		t.Errorf("%d verdicts, want 20", len(lines))
	}
	for _, l := range lines {
		var v policyinfer.Verdict
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Fatal(err)
		}
		if len(v.Eliminated) == 0 {
			t.Errorf("no explanation in %.80s", l)
		}
		for _, x := range v.Eliminated {
			if len(x.Connections) == 0 {
				t.Errorf("%s eliminated by no connection", x.Policy)
			}
		}
	}
}

func TestInferErrorsSayWhere(t *testing.T) {
	for name, c := range map[string]struct {
		stdin string
		args  []string
		want  string
		exit  int
	}{
		"missing file": {"", []string{"infer", "nowhere.jsonl"}, "nowhere.jsonl", 1},
		"bad line":     {"{}\n", []string{"infer", "-"}, "history -: line 1:", 1},
		"bad field": {
			`{"type":"test","zone":"z.example"}` + "\n" + `{"type":"connection","id":"7","start":"2026-01-01T00:00:00Z","client":"192.0.2.1:1","ending":"gone"}`,
			[]string{"infer", "-"},
			`history -: line 2: connection "7": ending: "gone" is unknown; want quit,`, 1,
		},
		"no argument":  {"", []string{"infer"}, "hint: tlsink --help", 2},
		"unknown flag": {"", []string{"infer", "--wat", "-"}, "unknown flag", 2},
	} {
		_, stderr, status := runCLI(t, c.stdin, c.args...)
		if status != c.exit || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: status %d, stderr %q", name, status, stderr)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	if out, _, status := runCLI(t, "", "--help"); status != 0 || !strings.Contains(out, "infer") {
		t.Errorf("help: status %d\n%s", status, out)
	}
	if out, _, status := runCLI(t, "", "version"); status != 0 || !strings.HasPrefix(out, "tlsink ") {
		t.Errorf("version: status %d\n%s", status, out)
	}
}
