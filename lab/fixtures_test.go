//go:build linux

package lab_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// With fixturesVar set, histories of senders about which everything was right
// replace those of policyinfer, and the truth beside them is written from the
// table of setups.
const (
	fixturesVar = "TLSINK_LAB_FIXTURES"
	fixtures    = "../policyinfer/testdata/lab"
)

func firstFixture(kind string) string { return kind }

func againFixture(kind string) string { return kind + "-again" }

func (l *lab) keepFixture(t *testing.T, s *sender, history string) {
	t.Helper()
	if os.Getenv(fixturesVar) == "" || l.fixture == nil || t.Failed() {
		return
	}
	b, err := os.ReadFile(history)
	if err == nil {
		err = os.WriteFile(filepath.Join(fixtures, l.fixture(s.kind)+".jsonl"), b, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// truth is how policyinfer's tests of recorded histories read it.
type truth struct {
	Policy []string       `json:"policy"`
	Sender map[string]any `json:"sender,omitempty"`
	Hosts  []string       `json:"hosts,omitempty"`
}

func (s setup) truth() truth {
	out := truth{Policy: []string{s.policy}, Hosts: s.hosts}
	if s.candidates != nil {
		out.Policy = append(out.Policy, "?") // the history cannot show more
	}
	// Of a pool's history a part may show one host alone.
	for _, h := range s.hosts {
		if !slices.Contains(out.Policy, h) {
			out.Policy = append(out.Policy, h)
		}
	}
	for name, p := range s.parts() {
		if len(s.hosts) > 0 {
			break
		}
		if out.Sender == nil {
			out.Sender = make(map[string]any)
		}
		if out.Sender[name] = p.values; len(p.values) == 1 {
			out.Sender[name] = p.values[0]
		}
	}
	return out
}

// The truth beside the fixtures is that of the table.
func TestFixtures(t *testing.T) {
	want := make(map[string]truth)
	for _, s := range slices.Concat(postfixSetups(), poolSetups(), eximSetups(), chasquidSetups()) {
		want[firstFixture(s.kind)] = s.truth()
		if s.kind == "dane" {
			want[againFixture("dane")] = s.truth()
		}
	}
	want[againFixture("chasquid")] = chasquidAgain().truth()
	text, err := json.MarshalIndent(want, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	file := filepath.Join(fixtures, "truth.json")
	if os.Getenv(fixturesVar) != "" {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, text) {
		t.Errorf("%s differs from the setups: run the lab with %s=1", file, fixturesVar)
	}
	for name := range want {
		if os.Getenv(fixturesVar) != "" {
			break // they are being made
		}
		if _, err := os.Stat(filepath.Join(fixtures, name+".jsonl")); err != nil {
			t.Error(err)
		}
	}
}
