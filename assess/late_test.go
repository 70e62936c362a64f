package assess

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// What a test left at an address that no mail of it came from is not adopted by
// an older mail that is handed over there when the test is long over.
func TestOldMailAfterTheTestOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		late := w.sender("late@other.example", policyinfer.May)
		late.ip = "192.0.2.20"
		one := w.sender("one@sender.example", policyinfer.DANE)
		one.to = one.to[:1] // et only: nothing is handed over without STARTTLS
		one.attempt()
		one.ip = late.ip
		one.attempt()
		one.ip = "192.0.2.10"
		one.until(20, 5*time.Minute)
		w.wait(30 * time.Minute)
		if r := w.tests(one.from); len(r) != 1 || r[0].Acked.IsZero() {
			t.Fatalf("tests %+v, want one that is over", r)
		}
		late.attempt()
		if v := w.test(late.from); countWithout(v.History) > 0 || v.History.Test.LeftOut == 0 {
			t.Errorf("%d connections of another adopted, %d left out", countWithout(v.History), v.History.Test.LeftOut)
		}
	})
}

// A sender that never sends the same mail twice makes a test remember so many of
// them, and no more.
func TestManyMailsOfOneSender(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.May)
		for range maxListed + 5 {
			s.mail()
			s.connect(scenario.ET, scenario.MX04)
		}
		r := w.tests(s.from)
		if len(r) != 1 || len(r[0].MessageIDs) != maxListed {
			t.Fatalf("%d tests, want one of %d mails", len(r), maxListed)
		}
		if n := len(w.a.tests[r[0].Test.ID].copies); n != maxListed {
			t.Errorf("%d copies are remembered, want %d", n, maxListed)
		}
	})
}

// Whoever got a copy of a mail knows its sender and Message-ID. The result is
// for those who sent it, and holds nothing of others.
func TestNothingForWhoKnowsAMessageID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		s := w.sender("user@sender.example", policyinfer.DANE)
		s.until(20, 5*time.Minute)
		w.wait(time.Minute)
		for ip, want := range map[string]bool{s.ip: true, "198.51.100.7": false} {
			before := len(w.test(s.from).History.Connections)
			again := w.sender(s.from, policyinfer.None)
			again.ip, again.forged = ip, ip != s.ip
			again.connect(scenario.ET, scenario.MX04)
			if !strings.Contains(again.text, "this test has ended") || strings.Contains(again.text, "https://") != want {
				t.Errorf("from %s: %q; want a link: %v", ip, again.text, want)
			}
			if got := len(w.test(s.from).History.Connections) > before; got != want {
				t.Errorf("from %s: in the history: %v, want %v", ip, got, want)
			}
		}
	})
}
