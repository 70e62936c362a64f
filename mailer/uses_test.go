package mailer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/mailer"
)

// Operators see who has got how many reports, until a day is over.
func TestUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, delivered())
		b.opt.Limits = mailer.Limits{Address: 2, Domain: 4, Network: 100}
		for i, to := range []string{"a@x.example", "A@X.example", "b@x.example"} {
			b.enqueue(history.QueueItem{ID: string(rune('1' + i)), To: to, Network: "192.0.2.1/32"})
		}
		m, err := mailer.New(b.opt)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(m.Uses()); n != 0 {
			t.Errorf("%d uses before anything was sent", n)
		}
		go func() { _ = m.Run(t.Context()) }()
		m.Kick()
		time.Sleep(time.Minute)
		var got []mailer.Use
		for _, u := range m.Uses() {
			u.Until = time.Time{}
			got = append(got, u)
		}
		want := []mailer.Use{
			{What: "address", Who: "a@x.example", Count: 2, Limit: 2},
			{What: "domain", Who: "x.example", Count: 3, Limit: 4},
			{What: "address", Who: "b@x.example", Count: 1, Limit: 2},
			{What: "network", Who: "192.0.2.1/32", Count: 3, Limit: 100},
			{What: "total", Count: 3, Limit: 5000},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		time.Sleep(24 * time.Hour)
		if n := len(m.Uses()); n != 0 {
			t.Errorf("%d uses after a day", n)
		}
	})
}
