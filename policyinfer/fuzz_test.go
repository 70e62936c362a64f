package policyinfer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

// Whatever is in a file: an error, or a verdict that agrees with itself.
func FuzzInfer(f *testing.F) {
	for _, dir := range []string{"cases", "shrunk"} {
		files, err := filepath.Glob(filepath.Join("testdata", dir, "*.jsonl"))
		if err != nil || len(files) == 0 {
			f.Fatalf("%d histories in %s, %v", len(files), dir, err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	engine := policyinfer.New()
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := evidence.ReadHistory(bytes.NewReader(in))
		if err != nil {
			h = readAnything(in)
			engine.Infer(h, policyinfer.Options{Explain: true}) // must come back
			return
		}
		v := engine.Infer(h, policyinfer.Options{Explain: true})
		if problem := unsupported(v, h); problem != "" {
			t.Fatal(problem)
		}
		// In which order records came is no evidence.
		slices.Reverse(h.Connections)
		slices.Reverse(h.States)
		if again := engine.Infer(h, policyinfer.Options{}); atOneTime(h) == "" && (again.Policy != v.Policy || !slices.Equal(again.Candidates, v.Candidates)) {
			t.Fatalf("%s %v, the other way round %s %v", v.Policy, v.Candidates, again.Policy, again.Candidates)
		}
	})
}

// readAnything takes what JSON gives, without any check.
func readAnything(in []byte) (h evidence.History) {
	for line := range bytes.Lines(in) {
		var c evidence.Connection
		var s evidence.State
		if json.Unmarshal(line, &h.Test) == nil && json.Unmarshal(line, &c) == nil {
			h.Connections = append(h.Connections, c)
		}
		if json.Unmarshal(line, &s) == nil {
			h.States = append(h.States, s)
		}
	}
	return h
}

// unsupported says what v says without reason.
func unsupported(v policyinfer.Verdict, h evidence.History) string {
	known := make(map[evidence.ConnID]bool)
	for _, c := range h.Connections {
		known[c.ID] = true
	}
	for _, r := range v.Reasons {
		for _, id := range r.Connections {
			if !known[id] {
				return fmt.Sprintf("reason %q cites %q, which is not there", r.Text, id)
			}
		}
	}
	delivered := slices.ContainsFunc(h.Connections, func(c evidence.Connection) bool {
		return slices.ContainsFunc(c.Transactions, func(tx evidence.Transaction) bool { return tx.Data })
	})
	named := v.Policy != policyinfer.Undetermined && v.Policy != policyinfer.Mixed
	switch {
	case v.Conclusive != named:
		return fmt.Sprintf("%s, conclusive %v", v.Policy, v.Conclusive)
	case named && !slices.Equal(v.Candidates, []policyinfer.Name{v.Policy}):
		return fmt.Sprintf("%s, but the candidates are %v", v.Policy, v.Candidates)
	case named && (!delivered || len(v.Reasons) == 0):
		return fmt.Sprintf("%s, for %d reasons, though no mail was handed over: %v", v.Policy, len(v.Reasons), delivered)
	case v.Policy == policyinfer.Mixed && len(v.Hosts) < 2:
		return fmt.Sprintf("mixed, of %d hosts", len(v.Hosts))
	}
	return ""
}

// atOneTime names two records of one kind at the same time, whose order cannot
// be told; "" if there are none.
func atOneTime(h evidence.History) string {
	seen := make(map[string]bool)
	for _, c := range h.Connections {
		key := "connections at " + c.Start.String()
		if seen[key] {
			return key
		}
		seen[key] = true
	}
	for _, s := range h.States {
		key := "states at " + s.Time.String()
		if seen[key] {
			return key
		}
		seen[key] = true
	}
	return ""
}
