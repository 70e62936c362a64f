package assess

import (
	"cmp"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/scenario"
)

// queries are those that belong to the test: of its own addresses, or any if no
// other test of its slot ran at the same time. Of the others nobody knows whose
// they are: they are around, for people to look at.
func (a *Assessor) queries(t *test) (own, around []evidence.Query) {
	for _, q := range a.o.Queries(t.adopts(a.o.Timing.DateSkew)) {
		target, ok := scenario.Find(a.o.Zone, q.Name)
		if !ok || target.Slot != t.rec.Test.Slot || target.Role == scenario.RoleApex || target.Role == scenario.RoleNS || target.Role == scenario.RoleService {
			continue
		}
		if !t.beside || slices.Contains(t.rec.Test.SenderIPs, q.Client) {
			own = append(own, q)
		} else {
			around = append(around, q)
		}
	}
	return own, around
}

// noteBeside notes, of t that is being opened and of those that it runs beside,
// that they are not alone. One that ended a moment ago counts: its sender may
// still ask, and so may have asked whoever asks for both.
func (a *Assessor) noteBeside(t *test) {
	for _, o := range a.tests {
		if o != t && o.rec.Test.Slot == t.rec.Test.Slot && t.rec.Opened.Before(a.ranUntil(o)) {
			o.beside, t.beside = true, true
		}
	}
}

// ranUntil is when nothing more is to be expected from the sender of a test.
func (a *Assessor) ranUntil(t *test) time.Time {
	end := t.rec.Concluded
	if last := t.rec.LastSeen; !end.IsZero() && last.After(end) {
		end = last
	}
	if end.IsZero() {
		return a.o.Now().Add(a.o.Timing.Close)
	}
	return end.Add(a.o.Timing.Margin)
}

// replayBeside does for tests from the store what noteBeside did when they were
// opened.
func (a *Assessor) replayBeside() {
	tests := make([]*test, 0, len(a.tests))
	for _, t := range a.tests {
		tests = append(tests, t)
	}
	slices.SortFunc(tests, func(x, y *test) int {
		return cmp.Or(x.rec.Test.Slot-y.rec.Test.Slot, x.rec.Opened.Compare(y.rec.Opened))
	})
	var longest *test // of those before, in the same slot
	for _, t := range tests {
		if longest != nil && longest.rec.Test.Slot == t.rec.Test.Slot && t.rec.Opened.Before(a.ranUntil(longest)) {
			longest.beside, t.beside = true, true
		}
		if longest == nil || longest.rec.Test.Slot != t.rec.Test.Slot || a.ranUntil(t).After(a.ranUntil(longest)) {
			longest = t
		}
	}
}

// Fetched notes a fetch of the MTA-STS policy, and gives it to a test like a
// query.
func (a *Assessor) Fetched(f evidence.PolicyFetch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	target, ok := scenario.Find(a.o.Zone, f.Host)
	if !ok || target.Role != scenario.RolePolicy {
		return
	}
	a.o.Used(target.Slot)
	var owner *test
	for _, t := range a.runningTests() {
		if t.rec.Test.Slot != target.Slot {
			continue
		}
		if slices.Contains(t.rec.Test.SenderIPs, f.Client) {
			owner = t
			break
		}
		if !t.beside {
			owner = t
		}
	}
	if owner != nil {
		a.o.Store.Submit(history.Batch{Fetches: []history.TestFetch{{TestID: owner.rec.Test.ID, Fetch: f}}})
		a.o.Changed(owner.rec.Test.ID)
	}
}
