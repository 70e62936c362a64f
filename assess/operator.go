package assess

import (
	"slices"

	"github.com/tlsink/tlsink/policyinfer"
)

// Standing returns the verdict on a running test as of its last attempt. It
// infers nothing, so that lists of many tests may ask; [Assessor.View] says what
// is so now. ok is false if the test does not run, or no attempt is over yet.
func (a *Assessor) Standing(id string) (v policyinfer.Verdict, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tests[id]
	if t == nil || !t.running() || t.verdict == nil {
		return policyinfer.Verdict{}, false
	}
	return *t.verdict, true
}

// Drop forgets a test, also a running one, before it is deleted from the store.
// Mail of it that is arriving at this moment may store it again.
func (a *Assessor) Drop(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.tests[id]; t != nil {
		a.leave(id, t)
	}
}

// leave takes a test out of memory as if it had never been: its clients and its
// open connections have no test then.
func (a *Assessor) leave(id string, t *test) {
	a.drop(id)
	if t.rec.Open() {
		a.over(t)
	}
	for _, c := range t.clients {
		c.tests = slices.DeleteFunc(c.tests, func(o *test) bool { return o == t })
	}
	for _, conn := range a.conns {
		if conn.test == t {
			conn.test = nil
		}
	}
}
