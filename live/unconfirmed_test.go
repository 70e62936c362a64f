package live_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

// A verdict that may still be taken back ends nothing: programs exit, streams
// end and webhooks are called by it.
func TestUnconfirmedIsNotOver(t *testing.T) {
	for _, state := range []string{report.StateAcked, report.StateClosed, report.StateConcluded} {
		in := report.Input{Service: "sink.example", State: state, Test: evidence.Test{ID: "T", Started: time.Unix(0, 0)}, Verdict: policyinfer.Verdict{Policy: policyinfer.DANE, Conclusive: true}}
		s := live.Snapshot{ID: "T", Zone: "sink.example", Now: time.Unix(60, 0), Input: &in, Unconfirmed: true}
		if st := live.Of(s, report.English); st.State.Over() || st.State != live.Concluded || !strings.Contains(st.Text, "taken back") {
			t.Errorf("%s: state %s: %s", state, st.State, st.Text)
		}
		s.Unconfirmed = false
		if st := live.Of(s, report.English); string(st.State) != state || strings.Contains(st.Text, "taken back") {
			t.Errorf("%s, confirmed: state %s: %s", state, st.State, st.Text)
		}
	}
}
