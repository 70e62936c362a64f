package assess

import (
	"slices"

	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/scenario"
)

// Wanted returns the hosts that tests of any slot still need to be met as the
// most preferred one: running ones for evidence, concluded ones so that their
// mail is handed over soon. Every sender likes mx06.
func (a *Assessor) Wanted() []scenario.Host {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []scenario.Host
	for _, t := range a.tests {
		if t.rec.State == history.StateConcluded && t.lacksAck(scenario.ET) {
			out = []scenario.Host{scenario.MX06}
			break
		}
	}
	for _, t := range a.runningTests() {
		if t.verdict == nil {
			continue
		}
		for _, m := range t.verdict.Missing {
			if m.Face < 3 || m.Face > 6 {
				continue
			}
			if h := scenario.MXHosts()[m.Face-3]; !slices.Contains(out, h) {
				out = append(out, h)
			}
		}
	}
	return out
}

// SecureStart reports whether a client under test has entered its secure phase
// since the last call.
func (a *Assessor) SecureStart() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	started := a.secured
	a.secured = false
	return started
}
