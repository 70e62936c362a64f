package assess

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/policyinfer"
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
