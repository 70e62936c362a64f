package policyinfer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// What was misjudged once is never misjudged again.
func TestShrunkHistories(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "shrunk", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d histories, %v", len(files), err)
	}
	e := New()
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			h, x := simReadKept(t, strings.TrimSuffix(file, ".jsonl"))
			v := e.Infer(h, Options{})
			if wrong := x.wrong(v); wrong != nil {
				t.Errorf("%s: %v\nverdict %s %v, findings %v", x.About, wrong, v.Policy, v.Candidates, v.Findings)
			}
		})
	}
}

func simReadKept(t *testing.T, base string) (evidence.History, simExpect) {
	t.Helper()
	f, err := os.Open(base + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := evidence.ReadHistory(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(base + ".truth.json")
	if err != nil {
		t.Fatal(err)
	}
	var x simExpect
	if err := json.Unmarshal(b, &x); err != nil {
		t.Fatal(err)
	}
	h.Until = x.Until
	return h, x
}

// A model with a mistake is found out, and what shows it is made small: here
// leaving mx04 is taken for leaving mx05.
func TestMistakesAreFoundAndShrunk(t *testing.T) {
	broken := New()
	for o := range broken.masks {
		if o.outcome == refusedTLS && o.face.Host == scenario.MX04 {
			other := o
			other.face = scenario.Named(scenario.MX05, scenario.CA)
			broken.masks[o] = broken.compute(other)
		}
	}
	infer := func(h evidence.History) Verdict { return broken.Infer(h, Options{}) }
	healthy := New()
	for seed := range uint64(1000) {
		r := newSimRun(seed, broken.policies)
		found := false
		r.play(func(h evidence.History, x simExpect) bool {
			wrong := x.wrong(infer(h))
			if found = wrong != nil; !found {
				return true
			}
			small := simShrink(h, x, infer)
			if got := x.wrong(infer(small)); !slices.Equal(got, wrong) {
				t.Errorf("seed %d: what is left shows %v, not %v", seed, got, wrong)
			}
			if len(small.Connections) > 3 || len(small.States) > 0 {
				t.Errorf("seed %d: %d connections and %d states are left of %d and %d", seed, len(small.Connections), len(small.States), len(h.Connections), len(h.States))
			}
			if wrong := x.wrong(healthy.Infer(small, Options{})); wrong != nil {
				t.Errorf("seed %d: the model without the mistake is wrong, too: %v", seed, wrong)
			}
			base := filepath.Join(t.TempDir(), "kept")
			simKeep(t, base, small, x)
			if again, truth := simReadKept(t, base); !slices.Equal(truth.wrong(infer(again)), wrong) {
				t.Errorf("seed %d: read again it shows %v", seed, truth.wrong(infer(again)))
			}
			return false
		})
		if found {
			return
		}
	}
	t.Error("no sender showed the mistake")
}

// The second account of what a sender is agrees with the first.
func TestSimulationAgreesOnNames(t *testing.T) {
	for _, p := range policies() {
		if got, want := p.Name(), simName(p); got != want {
			t.Errorf("%v is named %s, in the simulation %s", p, got, want)
		}
	}
}

func TestDeltaDebuggingLeavesWhatMatters(t *testing.T) {
	all := make([]int, 100)
	for i := range all {
		all[i] = i
	}
	got := simMinimal(all, func(s []int) bool { return slices.Contains(s, 3) && slices.Contains(s, 70) && slices.Contains(s, 99) })
	if !slices.Equal(got, []int{3, 70, 99}) {
		t.Errorf("left: %v", got)
	}
}
