package policyinfer_test

import (
	"slices"
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

// As long as only time can tell a sender that verifies from lazy MTA-STS, the
// verdict says so: whoever waits for evidence must wait for that, too.
func TestSettlesWhileASenderMayBeLazy(t *testing.T) {
	e, h := policyinfer.New(), readHistory(t, "lab/verify")
	all := h.Connections
	delivered := slices.IndexFunc(all, func(c evidence.Connection) bool { return c.Data })
	if delivered < 0 {
		t.Fatal("nothing was delivered")
	}
	waited, concluded := false, false
	for n := delivered + 1; n <= len(all); n++ {
		h.Connections = all[:n]
		v := e.Infer(h, policyinfer.Options{})
		switch {
		case v.Conclusive:
			concluded = true
		case v.Settles != nil && !slices.ContainsFunc(v.Candidates, func(n policyinfer.Name) bool { return !n.Protected() }):
			waited = true
		}
	}
	if !waited || !concluded {
		t.Errorf("waited for the end of what a lazy sender may do: %v; concluded: %v", waited, concluded)
	}
}
