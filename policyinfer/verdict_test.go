package policyinfer_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/policyinfer"
)

// A stored verdict is read in the form of its time, and comes back as it was.
func TestHostVerdictJSON(t *testing.T) {
	whole := policyinfer.HostVerdict{
		Policy: policyinfer.DANE, Candidates: []policyinfer.Name{policyinfer.DANE}, Conclusive: true, Sender: policyinfer.Sender{DANE: "yes"},
	}
	b, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		in   string
		want policyinfer.HostVerdict
	}{
		"whole":      {string(b), whole},
		"bare name":  {`"may"`, policyinfer.HostVerdict{Policy: policyinfer.May}},
		"additional": {`{"policy":"may","later":1}`, policyinfer.HostVerdict{Policy: policyinfer.May}},
	} {
		t.Run(name, func(t *testing.T) {
			var got policyinfer.HostVerdict
			if err := json.Unmarshal([]byte(c.in), &got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	var bad policyinfer.HostVerdict
	if json.Unmarshal([]byte(`7`), &bad) == nil {
		t.Error("a number was read")
	}
}
