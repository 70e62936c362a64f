package assess

import (
	"testing"
	"time"

	"github.com/tlsink/tlsink/policyinfer"
)

// Mails in quick succession of a test with very many connections share a
// verdict; none is older than a second for each thousand of them, and none ends
// a test.
func TestMailsInQuickSuccession(t *testing.T) {
	for _, c := range []struct {
		name        string
		connections int
		after       time.Duration
		fresh       bool
	}{
		{"few", quick - 2, time.Millisecond, true},
		{"many, at once", 3 * quick, time.Second, false},
		{"many, later", 3 * quick, 3 * time.Second, true},
		{"many, at its end", 3 * quick, 9 * time.Hour, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, x := large(t, c.connections)
			opened := a.o.Now()
			now := opened.Add(c.after)
			a.mu.Lock()
			x.rec.Opened, x.inferred, x.verdict = opened, now.Add(-min(c.after, 3*time.Second)), &policyinfer.Verdict{Policy: "known"}
			if c.after > time.Hour {
				x.inferred = now.Add(-time.Second)
			}
			a.o.Now = func() time.Time { return now }
			a.mu.Unlock()
			v := a.verdictFor(x)
			if fresh := v.Policy != "known"; fresh != c.fresh || fresh != x.inferred.Equal(now) {
				t.Errorf("inferred anew: %v, want %v", fresh, c.fresh)
			}
		})
	}
}

// A connection that is put again stays one, also after some were given away.
func TestPut(t *testing.T) {
	a, x := large(t, 50)
	n := len(x.own)
	again := x.own[3]
	again.RcptTo = nil
	a.put(x, again)
	if len(x.own) != n || x.own[3].RcptTo != nil {
		t.Errorf("%d connections, %d before", len(x.own), n)
	}
	last := x.own[n-1]
	x.keep(x.own[n-1:])
	a.put(x, last)
	a.put(x, again)
	if len(x.own) != 2 || x.own[0].ID != last.ID || x.own[1].ID != again.ID {
		t.Errorf("%d connections are left", len(x.own))
	}
}
