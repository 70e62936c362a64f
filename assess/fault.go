package assess

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
)

// Fault is what is wrong with our own part of every test. Zero: nothing.
type Fault struct {
	// Unverifiable says why our own zone or policy cannot be verified:
	// unprotected verdicts are suspended. Broken says which of our own servers is
	// not what it has to be: no test gets a verdict.
	Unverifiable, Broken string
	// Each may have begun at any time since the last check began that still
	// passed; zero if no such check is known.
	UnverifiableSince, BrokenSince time.Time
}

// RecordState notes a change of the MX order of a slot, which may have begun
// some time ago.
func (a *Assessor) RecordState(slot int, s evidence.State) {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.states[slot]
	n := len(list)
	if n == 0 || !list[n-1].Time.After(s.Time) {
		a.addState(slot, a.fault.in(s))
		return
	}
	// A fault came or went since then: it was not there before, and it is this
	// order that it found.
	last, was := list[n-1], Fault{}
	for _, earlier := range slices.Backward(list) {
		if !earlier.Time.After(s.Time) {
			was = faultIn(earlier)
			break
		}
	}
	a.addState(slot, was.in(s))
	last.MX = s.MX
	a.addState(slot, last)
}

// faultIn returns the fault of a state.
func faultIn(s evidence.State) Fault {
	return Fault{Unverifiable: s.Unverifiable, UnverifiableSince: s.UnverifiableSince, Broken: s.Broken, BrokenSince: s.BrokenSince}
}

// in returns s with the fault in it.
func (f Fault) in(s evidence.State) evidence.State {
	s.Unverifiable, s.UnverifiableSince = f.Unverifiable, f.UnverifiableSince
	s.Broken, s.BrokenSince = f.Broken, f.BrokenSince
	return s
}

// maxStates bounds the states kept of a slot: more than a day of rotations.
const maxStates = 1000

func (a *Assessor) addState(slot int, s evidence.State) {
	list := append(a.states[slot], s)
	a.states[slot] = list[max(0, len(list)-maxStates):]
	a.o.Store.Submit(history.Batch{States: []history.StateRecord{{Slot: slot, State: s}}})
}

// SetFault notes what our own check found. Verdicts that rest on what was seen
// since the fault may have begun, and of which no report can have been mailed
// yet, are taken back.
func (a *Assessor) SetFault(f Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if (f.Unverifiable == "") == (a.fault.Unverifiable == "") && (f.Broken == "") == (a.fault.Broken == "") {
		// It lasts, whatever it looks like now: errors tell ports and times, too.
		a.fault.Unverifiable, a.fault.Broken = f.Unverifiable, f.Broken
		return
	}
	now := a.o.Now()
	doubtful := a.doubtful(f, now)
	// What lasts began when it was first found.
	if a.fault.Unverifiable != "" {
		f.UnverifiableSince = a.fault.UnverifiableSince
	}
	if a.fault.Broken != "" {
		f.BrokenSince = a.fault.BrokenSince
	}
	f.UnverifiableSince = a.since(f.Unverifiable, f.UnverifiableSince, now)
	f.BrokenSince = a.since(f.Broken, f.BrokenSince, now)
	a.fault = f
	for slot := range a.o.Slots {
		s := evidence.State{Time: now}
		if list := a.states[slot]; len(list) > 0 {
			s.MX = list[len(list)-1].MX
		}
		a.addState(slot, f.in(s))
	}
	for _, t := range a.tests {
		if !t.rec.Concluded.IsZero() && !doubtful.IsZero() && !t.rec.Concluded.Before(doubtful) {
			a.takeBack(t, now)
		}
		a.touch(t, now)
	}
}

// since completes when a fault may have begun.
func (a *Assessor) since(why string, since, now time.Time) time.Time {
	longAgo := now.Add(-a.o.Timing.Forget - a.o.Timing.Close) // before all that a test of now can rest on
	switch {
	case why == "":
		return time.Time{}
	case since.Before(longAgo):
		return longAgo
	}
	return earlier(since, now)
}

// doubtful is from when on verdicts may rest on a fault that was not there when
// the last check passed; zero if there is none. A report waits for a check that
// began after its verdict, so that none of those was mailed. What was before this
// process, without a check that passed, cannot be known.
func (a *Assessor) doubtful(f Fault, now time.Time) (from time.Time) {
	for _, one := range []struct {
		is, was string
		since   time.Time
	}{{f.Unverifiable, a.fault.Unverifiable, f.UnverifiableSince}, {f.Broken, a.fault.Broken, f.BrokenSince}} {
		if one.is == "" || one.was != "" {
			continue
		}
		since := one.since
		if since.IsZero() {
			since = a.started
		}
		if since = earlier(since, now); from.IsZero() || since.Before(from) {
			from = since
		}
	}
	return from
}

// takeBack lets a test have no verdict instead of one that does not follow from
// what was seen without a fault. It never gets another verdict that way: its mail
// was accepted. What else was said of it, and of its provider, has to follow, too.
func (a *Assessor) takeBack(t *test, now time.Time) {
	var was policyinfer.Verdict
	if json.Unmarshal(t.rec.Verdict, &was) != nil {
		return
	}
	v := a.engine.Infer(a.evidenceLocked(t), policyinfer.Options{})
	policy := was.Policy != policyinfer.Undetermined && v.Policy != was.Policy
	parts := !suffered(was) && suffered(v)
	provider := false
	if t.rec.Provider != nil {
		p := a.provider(t)
		provider = p == nil || p.Policy != t.rec.Provider.Policy
	}
	if !policy && !parts && !provider {
		return
	}
	if policy || parts {
		if v.Policy != was.Policy && v.Policy != policyinfer.Undetermined {
			v.Policy, v.Conclusive, v.Candidates = policyinfer.Undetermined, false, append(v.Candidates, was.Candidates...)
		}
		t.verdict = &v
		t.rec.Verdict, t.rec.Engine = verdictJSON(&v), policyinfer.EngineVersion
	}
	if provider {
		t.rec.Provider = nil
	}
	t.rec.Concluded = now
	if policy || provider {
		a.o.Logger.Warn("verdict taken back: it may rest on a fault of the sink", "test", t.rec.Test.ID, "provider", provider)
	}
	a.o.Store.Submit(history.Batch{Tests: []history.TestRecord{t.rec}})
}

// suffered reports whether a verdict tells of a fault of ours.
func suffered(v policyinfer.Verdict) bool {
	return slices.ContainsFunc(v.Findings, func(f policyinfer.Finding) bool {
		return f.ID == policyinfer.FindingBroken || f.ID == policyinfer.FindingUnverifiable
	})
}
