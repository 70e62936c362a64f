package policyinfer_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

// caseVerdict is what a case demands. Parts, candidates and hosts that are not
// named may be anything; findings are complete.
type caseVerdict struct {
	Policy     policyinfer.Name            `json:"policy"`
	Conclusive bool                        `json:"conclusive"`
	Candidates []policyinfer.Name          `json:"candidates"`
	Sender     map[string]string           `json:"sender"`
	Hosts      map[string]policyinfer.Name `json:"hosts"`
	Findings   []string                    `json:"findings"`
}

// The cases are the specification: a history, the verdict that it must give,
// and a line that says why.
func TestCases(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "cases", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	engine := policyinfer.New()
	for _, file := range files {
		base := strings.TrimSuffix(file, ".jsonl")
		t.Run(filepath.Base(base), func(t *testing.T) {
			h, want, why := readCase(t, base)
			v := engine.Infer(h, policyinfer.Options{})
			got := caseVerdict{Policy: v.Policy, Conclusive: v.Conclusive, Sender: map[string]string{}, Findings: []string{}}
			if want.Candidates != nil {
				got.Candidates = v.Candidates
			}
			for host, of := range v.Hosts {
				if want.Hosts != nil {
					if got.Hosts == nil {
						got.Hosts = make(map[string]policyinfer.Name)
					}
					got.Hosts[host] = of.Policy
				}
			}
			for _, f := range v.Findings {
				got.Findings = append(got.Findings, f.ID)
			}
			parts := senderParts(t, v)
			for part := range want.Sender {
				got.Sender[part] = parts[part]
			}
			if want.Sender == nil {
				got.Sender = nil
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s\n(-want +got)\n%s\ncandidates %v, reasons %v", why, d, v.Candidates, v.Reasons)
			}
		})
	}
}

func readCase(t *testing.T, base string) (evidence.History, caseVerdict, string) {
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
	b, err := os.ReadFile(base + ".verdict")
	if err != nil {
		t.Fatal(err)
	}
	var want caseVerdict
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	why, err := os.ReadFile(base + ".readme")
	if err != nil {
		t.Fatal(err)
	}
	return h, want, string(why)
}

func senderParts(t *testing.T, v policyinfer.Verdict) map[string]string {
	t.Helper()
	b, err := json.Marshal(v.Sender)
	if err != nil {
		t.Fatal(err)
	}
	var parts map[string]string
	if err := json.Unmarshal(b, &parts); err != nil {
		t.Fatal(err)
	}
	return parts
}
