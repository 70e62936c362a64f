package assess

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// What an administrator tries by hand on his mail server while the test runs,
// with a tool that says the server's own EHLO name (posttls-finger does), is no
// refusal of the mail server, also where it names the slot of the test.
func TestByHandInALeasedSlot(t *testing.T) {
	t.Parallel()
	policies := []policyinfer.Name{policyinfer.None, policyinfer.May, policyinfer.Encrypt, policyinfer.Verify, policyinfer.DANE, policyinfer.MTASTS, policyinfer.DANEMTASTS}
	for i, policy := range policies {
		for _, tries := range []int{1, 3} {
			for _, perTry := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s, %d hosts, tried %d times", policy, perTry, tries), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { byHand(t, uint64(11+i), policy, perTry, tries) })
				})
			}
		}
	}
}

func byHand(t *testing.T, seed uint64, policy policyinfer.Name, perTry, tries int) {
	w := newWorld(t, seed)
	defer w.stop()
	s := w.sender("user@sender.example", policy)
	s.lease(1, token, "LEASED")
	s.sni, s.perTry = seed%2 == 1, perTry
	s.attempt()
	w.wait(5 * time.Minute)
	for range 12 {
		s.attempt()
		w.wait(time.Minute)
		for range tries {
			w.stray(s.ip, s.helo, scenario.Names(zone, s.slot).Host(w.mx[0]), nil)
			w.wait(20 * time.Second)
		}
		w.wait(4 * time.Minute)
		if len(w.tests(s.from)) == 0 {
			continue
		}
		if v := w.test(s.from); v.Verdict.Conclusive && v.Verdict.Policy != policy {
			t.Fatalf("verdict %s", v.Verdict.Policy)
		}
	}
}

// One sender with a test in each of two slots leaves after MAIL: the names that
// it used tell which test that is about.
func TestMailWithoutRecipientNamesItsSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 12)
		defer w.stop()
		one, two := w.sender("user@sender.example", policyinfer.May), w.sender("user@sender.example", policyinfer.May)
		one.lease(1, token, "FIRST2")
		two.lease(2, otherToken, "SECND2")
		two.messageID = "<another@sender.example>"
		one.attempt()
		two.attempt()
		w.wait(5 * time.Minute)
		count := func(id string) int {
			v, err := w.a.View(id)
			if err != nil {
				t.Fatal(err)
			}
			return len(v.History.Connections)
		}
		first, second := count("FIRST2"), count("SECND2")
		w.stray(one.ip, one.helo, "mx05.et2."+zone, func(c *evidence.Connection) { c.MailFrom = &one.from })
		if a, b := count("FIRST2"), count("SECND2"); a != first || b != second+1 {
			t.Errorf("%d and %d connections, %d and %d before", a, b, first, second)
		}
	})
}
