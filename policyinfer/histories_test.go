package policyinfer_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

// truth says what a recorded sender was by configuration. A part is a value or
// a list of acceptable ones; "?" among the policies means that the history
// cannot show more.
type truth struct {
	Policy []string
	Sender map[string]any
}

func readTruth(t *testing.T) map[string]truth {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "histories", "truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]truth)
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func readHistory(t testing.TB, name string) evidence.History {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "histories", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := evidence.ReadHistory(f)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// The histories were recorded from unmodified Postfix, Exim and chasquid.
func TestRecordedHistories(t *testing.T) {
	engine := policyinfer.New()
	for name, want := range readTruth(t) {
		t.Run(name, func(t *testing.T) {
			v := engine.Infer(readHistory(t, name), policyinfer.Options{})
			b, _ := json.Marshal(v)
			open := slices.Contains(want.Policy, "?")
			switch {
			case v.Policy == policyinfer.Undetermined:
				if !open {
					t.Errorf("undetermined, but the history shows %v:\n%s", want.Policy, b)
				}
				if !slices.ContainsFunc(v.Candidates, func(n policyinfer.Name) bool { return slices.Contains(want.Policy, string(n)) }) {
					t.Errorf("the true name %v is not among the candidates:\n%s", want.Policy, b)
				}
			case !slices.Contains(want.Policy, string(v.Policy)) || !v.Conclusive:
				t.Errorf("policy %s (conclusive %v), want %v:\n%s", v.Policy, v.Conclusive, want.Policy, b)
			}
			checkParts(t, v, want.Sender)
		})
	}
}

func checkParts(t *testing.T, v policyinfer.Verdict, want map[string]any) {
	t.Helper()
	b, _ := json.Marshal(v.Sender)
	var got map[string]string
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for part, w := range want {
		acceptable := []string{"unknown"}
		switch w := w.(type) {
		case string:
			acceptable = append(acceptable, w)
		case []any:
			for _, s := range w {
				acceptable = append(acceptable, s.(string))
			}
		}
		if !slices.Contains(acceptable, got[part]) {
			t.Errorf("part %s is %q, want one of %s", part, got[part], strings.Join(acceptable, ", "))
		}
	}
}
