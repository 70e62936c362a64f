package policyinfer_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
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
	Not        []string                    `json:"not"` // findings that it is a near miss of
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
			got.Not = slices.DeleteFunc(slices.Clone(want.Not), func(id string) bool { return slices.Contains(findingIDs(v), id) })
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
			got.Findings = append(got.Findings, findingIDs(v)...)
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

func findingIDs(v policyinfer.Verdict) (out []string) {
	for _, f := range v.Findings {
		out = append(out, f.ID)
	}
	return out
}

// Each finding has a case that gives it and one that just does not; and each
// names connections of the history.
func TestEveryFindingHasCases(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "cases", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	engine := policyinfer.New()
	given, missed := make(map[string]bool), make(map[string]bool)
	for _, file := range files {
		h, want, _ := readCase(t, strings.TrimSuffix(file, ".jsonl"))
		for _, id := range want.Findings {
			given[id] = true
		}
		for _, id := range want.Not {
			missed[id] = true
		}
		for _, f := range engine.Infer(h, policyinfer.Options{}).Findings {
			if len(f.Connections) == 0 || f.Text == "" || !slices.Contains(policyinfer.FindingIDs(), f.ID) {
				t.Errorf("%s: finding %+v: want a listed id, a text and connections", file, f)
			}
			for _, id := range f.Connections {
				if !slices.ContainsFunc(h.Connections, func(c evidence.Connection) bool { return c.ID == id }) {
					t.Errorf("%s: finding %s names connection %s, which is not there", file, f.ID, id)
				}
			}
		}
	}
	for _, id := range policyinfer.FindingIDs() {
		if !given[id] || !missed[id] {
			t.Errorf("finding %s: a case gives it: %v; a case just misses it: %v", id, given[id], missed[id])
		}
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

// A mail that opts out while our own servers are broken says so, whatever it met:
// nothing is said of other mail.
func TestOptOutDuringAFault(t *testing.T) {
	h, _, _ := readCase(t, "testdata/cases/142-sink-broken-repaired")
	for i := range h.Connections {
		if h.Connections[i].ID == "4" {
			h.Connections[i].Transactions[0].RequireTLS = true
		}
	}
	v := policyinfer.New().Infer(h, policyinfer.Options{})
	var ids []string
	for _, f := range v.Findings {
		ids = append(ids, f.ID)
	}
	if v.Policy != policyinfer.Undetermined || v.Conclusive || v.Sender.DANE != policyinfer.Unknown || !slices.Equal(ids, []string{policyinfer.FindingRequireTLS, policyinfer.FindingBroken}) {
		t.Errorf("%s, %+v, %v", v.Policy, v.Sender, ids)
	}
}
