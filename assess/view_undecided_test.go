package assess

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
)

// TestViewUntilTheVerdictIsStored: pages that look while a verdict is on its way
// to the disk still see what it rests on, also what carried no mail.
func TestViewUntilTheVerdictIsStored(t *testing.T) {
	t.Parallel()
	a, one := large(t, 6)
	stored, err := a.o.Store.Begin(t.Context(), history.Batch{Tests: []history.TestRecord{one.rec}})
	if err != nil {
		t.Fatal(err)
	}
	if err := stored(t.Context()); err != nil {
		t.Fatal(err)
	}
	ids := func() (out []evidence.ConnID) {
		v, err := a.View(one.rec.Test.ID)
		if err != nil || v.Record.State != history.StateRunning {
			t.Fatalf("state %s (%v)", v.Record.State, err)
		}
		for _, c := range v.History.Connections {
			out = append(out, c.ID)
		}
		return out
	}
	before := ids()
	a.mu.Lock()
	one.rec.State = history.StateConcluded
	a.mu.Unlock()
	if after := ids(); len(before) != 6 || cmp.Diff(before, after) != "" {
		t.Errorf("connections %v, before %v", after, before)
	}
}
