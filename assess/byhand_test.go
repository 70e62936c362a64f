package assess

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// What an administrator tries by hand on his mail server while the test runs,
// with a tool that says the server's own EHLO name (posttls-finger does), is no
// refusal of the mail server, also where it names the slot of the test.
func TestByHandInALeasedSlot(t *testing.T) {
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
