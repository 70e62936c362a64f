package assess

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
)

// View is a test as it stands now.
type View struct {
	Record  history.TestRecord
	History evidence.History
	Verdict policyinfer.Verdict
	// Around are DNS queries of which nobody knows whether they belong to the
	// test; only while it is in memory.
	Around []evidence.Query
}

// ByCapability returns the test that a link gives access to; ok is false if
// there is none.
func (a *Assessor) ByCapability(capability string) (v View, ok bool, err error) {
	r, err := a.o.Store.ByCapability(capability)
	switch {
	case errors.Is(err, history.ErrNotFound):
		return View{}, false, nil
	case err != nil:
		return View{}, false, err
	}
	v, err = a.View(r.Test.ID)
	return v, err == nil, err
}

// View returns a test: a running one from memory, with the verdict as of now;
// one whose verdict is reached from the store, with that verdict.
func (a *Assessor) View(id string) (View, error) {
	a.mu.Lock()
	t := a.tests[id]
	if t != nil && t.running() {
		h := a.evidenceLocked(t)
		h.Connections = slices.DeleteFunc(h.Connections, silent)
		var around []evidence.Query
		h.Queries, around = a.queries(t)
		r, standing := t.rec, t.verdict
		if t.dirty || a.fault.Broken != "" {
			standing = nil
		}
		a.mu.Unlock()
		if standing != nil { // nothing came since
			return View{Record: r, History: h, Verdict: *standing, Around: around}, nil
		}
		return View{Record: r, History: h, Verdict: a.engine.Infer(h, policyinfer.Options{}), Around: around}, nil
	}
	var around []evidence.Query
	if t != nil {
		_, around = a.queries(t)
	}
	a.mu.Unlock()
	r, err := a.o.Store.Test(id)
	if err != nil {
		return View{}, err
	}
	if t != nil && r.State == history.StateRunning {
		return a.undecided(t, r), nil
	}
	h, err := a.o.Store.History(id)
	if err != nil {
		return View{}, err
	}
	part := &test{rec: r}
	for i, c := range h.Connections {
		by := c.Attribution
		h.Connections[i] = part.itsPart(c)
		h.Connections[i].Attribution = by
	}
	view := View{Record: r, History: h, Around: around}
	if len(r.Verdict) > 0 {
		err = json.Unmarshal(r.Verdict, &view.Verdict)
	} else {
		view.Verdict = a.engine.Infer(h, policyinfer.Options{})
	}
	return view, err
}

// undecided is a test whose verdict was reached in this moment, but is not stored
// yet: with all that the verdict rests on.
func (a *Assessor) undecided(t *test, stored history.TestRecord) View {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := View{Record: stored, History: a.evidenceLocked(t)}
	v.History.Connections = slices.DeleteFunc(v.History.Connections, silent)
	v.History.Queries, v.Around = a.queries(t)
	if t.verdict != nil {
		v.Verdict = *t.verdict
	}
	return v
}

// silent reports whether a connection is open, and has said nothing.
func silent(c evidence.Connection) bool {
	return c.Ending == evidence.EndingOpen && len(c.Helo) == 0
}

// Running returns the number of running tests.
func (a *Assessor) Running() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.runningTests())
}

// Fault says what suspends verdicts; zero if nothing does.
func (a *Assessor) Fault() Fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fault
}

// Forget deletes everything of one mail address, running tests included, and
// returns the number of records. Mail of that sender that is arriving at this
// moment may have to be forgotten again.
func (a *Assessor) Forget(ctx context.Context, address string) (int, error) {
	a.mu.Lock()
	for id, t := range a.tests {
		if t.sentBy(address) {
			a.leave(id, t)
		}
	}
	a.mu.Unlock()
	return a.o.Store.DeletePerson(ctx, address)
}
