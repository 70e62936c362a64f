package policyinfer_test

import (
	"encoding/json"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

// truth says what a recorded sender was by configuration. A part is a value or
// a list of acceptable ones; "?" among the policies means that the history
// cannot show more. Hosts are those of a sender whose hosts differ, in the order
// of their addresses.
type truth struct {
	Policy []string
	Sender map[string]any
	Hosts  []string
}

// readTruth reads what is known of all recorded histories, each by the name
// that readHistory takes. A history without truth, and the reverse, is an error.
func readTruth(t *testing.T) map[string]truth {
	t.Helper()
	out := make(map[string]truth)
	for _, dir := range []string{"histories", "lab"} {
		b, err := os.ReadFile(filepath.Join("testdata", dir, "truth.json"))
		if err != nil {
			t.Fatal(err)
		}
		known := make(map[string]truth)
		if err := json.Unmarshal(b, &known); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join("testdata", dir, "*.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != len(known) {
			t.Errorf("%s: %d histories, %d truths", dir, len(files), len(known))
		}
		for name, k := range known {
			out[path.Join(dir, name)] = k
		}
	}
	return out
}

// readHistory reads a history of testdata, as dir/name, or of its histories.
func readHistory(t testing.TB, name string) evidence.History {
	t.Helper()
	if !strings.Contains(name, "/") {
		name = path.Join("histories", name)
	}
	f, err := os.Open(filepath.Join("testdata", filepath.FromSlash(name)+".jsonl"))
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
			case !slices.Contains(want.Policy, string(v.Policy)) || v.Conclusive == (v.Policy == policyinfer.Mixed):
				t.Errorf("policy %s (conclusive %v), want %v:\n%s", v.Policy, v.Conclusive, want.Policy, b)
			}
			checkHosts(t, v, want.Hosts)
			checkParts(t, v, want.Sender)
		})
	}
}

// checkHosts: the verdict about each host of a mixed sender is the true one, or
// leaves it possible.
func checkHosts(t *testing.T, v policyinfer.Verdict, want []string) {
	t.Helper()
	if v.Policy != policyinfer.Mixed {
		return
	}
	if len(v.Hosts) != len(want) {
		t.Errorf("verdicts of hosts: %v, want %v", v.Hosts, want)
		return
	}
	for i, addr := range slices.Sorted(maps.Keys(v.Hosts)) {
		h := v.Hosts[addr]
		if h.Policy != policyinfer.Name(want[i]) && (h.Policy != policyinfer.Undetermined || !slices.Contains(h.Candidates, policyinfer.Name(want[i]))) {
			t.Errorf("host %s: %v, want %s", addr, h, want[i])
		}
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

// Real histories, too: a fault of ours anywhere in them takes the verdict away
// or leaves it.
func TestFaultsOfOursInRecordedHistories(t *testing.T) {
	engine := policyinfer.New()
	for name := range readTruth(t) {
		t.Run(name, func(t *testing.T) {
			h := readHistory(t, name)
			want := engine.Infer(h, policyinfer.Options{}).Policy
			for i := range min(len(h.Connections), 20) {
				since := h.Connections[i*len(h.Connections)/min(len(h.Connections), 20)].Start
				with := h
				with.States = append(slices.Clone(h.States),
					evidence.State{Time: since.Add(time.Minute), Broken: "mx05", BrokenSince: since}, evidence.State{Time: since.Add(5 * time.Minute)})
				if got := engine.Infer(with, policyinfer.Options{}).Policy; got != want && got != policyinfer.Undetermined {
					t.Errorf("a fault at %v makes %s of %s", since, got, want)
				}
			}
		})
	}
}
