package assess

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/policyinfer"
)

// A list of tests shows the verdict of running ones without inferring it again.
func TestStandingIsThatOfTheLastAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.May)
		s.attempt()
		w.wait(time.Minute)
		id := w.tests(s.from)[0].Test.ID
		v, ok := w.a.Standing(id)
		if now, err := w.a.View(id); err != nil || !ok || v.Policy != now.Verdict.Policy || v.Attempts != now.Verdict.Attempts {
			t.Errorf("standing %v %q of %d attempts, view %q of %d, %v", ok, v.Policy, v.Attempts, now.Verdict.Policy, now.Verdict.Attempts, err)
		}
		for !s.concluded() {
			s.attempt()
			w.wait(10 * time.Minute)
		}
		if _, ok := w.a.Standing(id); ok {
			t.Error("a test that has its verdict still has a standing one")
		}
	})
}

// A test that is deleted while it runs does not come back: not by what is going
// on, and not by a restart. Its sender begins anew.
func TestDroppedTestDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s := w.sender("user@sender.example", policyinfer.May)
		s.attempt()
		synctest.Wait()
		id := w.tests(s.from)[0].Test.ID
		w.a.Drop(id)
		if _, err := w.store.DeleteTest(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.wait(time.Hour)
		if n := len(w.tests(s.from)); n != 0 || w.a.Running() != 0 {
			t.Errorf("%d tests stored, %d run after the deletion", n, w.a.Running())
		}
		w.stop()
		w.start()
		defer w.stop()
		s.attempt()
		synctest.Wait()
		if list := w.tests(s.from); len(list) != 1 || list[0].Test.ID == id {
			t.Errorf("tests after the next attempt: %v", list)
		}
	})
}
