package policyinfer_test

import (
	"slices"
	"testing"

	"github.com/tlsink/tlsink/policyinfer"
)

// Of all findings these alone say that a change may explain what contradicts
// itself: a test whose mail was sent again then ends, and no provider is named.
func TestContradicted(t *testing.T) {
	want := []string{
		policyinfer.FindingChanged, policyinfer.FindingChangedOrMixed,
		policyinfer.FindingContradictory, policyinfer.FindingAmbiguous,
	}
	var none policyinfer.Verdict
	if none.Contradicted() {
		t.Error("without findings")
	}
	for _, id := range policyinfer.FindingIDs() {
		v := policyinfer.Verdict{Findings: []policyinfer.Finding{{ID: policyinfer.FindingOptedOut}, {ID: id}}}
		if got := v.Contradicted(); got != slices.Contains(want, id) {
			t.Errorf("%s: contradicted %v", id, got)
		}
	}
}
