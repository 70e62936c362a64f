package lease_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/lease"
	"github.com/tlsink/tlsink/scenario"
)

func TestLifeOfALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		l := w.begin(1)
		if language, ok := scenario.ParseToken(l.Token); !ok || language != "en" || l.Slot != 1 || l.State != lease.Waiting || len(l.ID) != 6 || len(l.Capability) != 27 {
			t.Fatalf("ticket %+v", l)
		}
		if want := time.Now().Add(30 * time.Minute); !l.Expires.Equal(want) {
			t.Errorf("expires %v, want %v", l.Expires, want)
		}
		if !w.Leased(1, l.Token) || w.Leased(2, l.Token) || w.Leased(0, l.Token) || w.Leased(1, "en2222222222") {
			t.Error("mail is accepted at its slot alone, for its token alone")
		}
		w.wait(20 * time.Minute)
		for range 2 { // also for the second copy of its mail
			if id, capability, ok := w.Claim(1, l.Token); !ok || id != l.ID || capability != l.Capability {
				t.Errorf("claimed %q, %q, %v", id, capability, ok)
			}
		}
		w.want(l, lease.Running)
		w.wait(7 * time.Hour)
		w.want(l, lease.Running)
		w.Ended(l.ID)
		w.want(l, lease.Ended)
		if _, _, ok := w.Claim(1, l.Token); ok || !w.Leased(1, l.Token) {
			t.Error("a test that is over takes mail, and begins no other")
		}
		w.wait(24*time.Hour - time.Second)
		w.want(l, lease.Ended)
		w.wait(time.Second)
		w.want(l, "forgotten")
		if w.Leased(1, l.Token) {
			t.Error("mail is still accepted")
		}
	})
}

func TestNobodyMails(t *testing.T) {
	for _, c := range []struct {
		name    string
		between func(w *world, l lease.Ticket)
		expires time.Duration // after its start
		rests   time.Duration
	}{
		{"never used", func(*world, lease.Ticket) {}, 30 * time.Minute, 10 * time.Minute},
		{"its names were used", func(w *world, l lease.Ticket) { w.Used(l.Slot) }, 50 * time.Minute, 24 * time.Hour},
		{"its names were asked for", func(w *world, l lease.Ticket) { w.Asked(l.Slot) }, 50 * time.Minute, 10 * time.Minute},
		{"those of another one were used", func(w *world, l lease.Ticket) { w.Used(l.Slot + 1); w.Asked(0); w.Used(-1); w.Used(99) }, 30 * time.Minute, 10 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer func() { w.stop() }()
				l := w.begin(1)
				w.wait(20 * time.Minute)
				c.between(w, l)
				w.wait(c.expires - 20*time.Minute - time.Second)
				w.want(l, lease.Waiting)
				w.wait(time.Second)
				w.want(l, lease.Expired)
				if w.Leased(l.Slot, l.Token) {
					t.Error("mail is still accepted")
				}
				w.wait(c.rests - time.Second)
				if s := w.Slots()[0]; s.State != lease.Resting || s.Test != l.ID {
					t.Errorf("slot %+v", s)
				}
				w.wait(time.Second)
				if s := w.Slots()[0]; s.State != lease.Free {
					t.Errorf("slot %+v", s)
				}
			})
		})
	}
}

// Nobody keeps a slot by using its names without ever sending mail, or after
// the test.
// Strangers can name slots and fetch policies. While somebody waits, that keeps a
// slot for no longer than if nobody had; a slot that had a mail rests all the same.
func TestRestWithoutMailEndsForThoseWhoWait(t *testing.T) {
	for _, mailed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(o *lease.Options) { o.Slots = 2 })
			defer func() { w.stop() }()
			first := w.begin(1)
			w.Used(1)
			if mailed {
				w.Claim(1, first.Token)
				w.Ended(first.ID)
			} else if err := w.Cancel(t.Context(), first.Capability); err != nil {
				t.Fatal(err)
			}
			second := w.begin(2)
			if second.State != lease.Queued {
				t.Fatalf("the second one is %s", second.State)
			}
			for range 11 { // somebody looks at the place
				w.wait(time.Minute)
				w.Ticket(second.Capability)
			}
			if got, _ := w.Ticket(second.Capability); (got.State == lease.Waiting) == mailed {
				t.Errorf("mailed %v: after 11 minutes the second one is %s", mailed, got.State)
			}
		})
	}
}

func TestUseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		l, began := w.begin(1), time.Now()
		for w.state(l) == lease.Waiting {
			w.Asked(l.Slot)
			w.wait(time.Minute)
		}
		if got := time.Since(began); got != 2*time.Hour {
			t.Errorf("it waited for %v", got)
		}
		l = w.begin(1)
		w.Claim(l.Slot, l.Token)
		w.Ended(l.ID)
		over := time.Now()
		for w.state(l) == lease.Ended {
			w.Used(l.Slot)
			w.wait(time.Minute)
		}
		if got := time.Since(over); got != 48*time.Hour {
			t.Errorf("it rested for %v", got)
		}
	})
}

// A mail whose recipient was accepted begins the test, also after the time of the
// lease. Once it has expired, none does: whoever was told so was told the truth.
func TestMailAtTheLastMoment(t *testing.T) {
	for _, c := range []struct {
		name     string
		accepted time.Duration // after its start
		comes    time.Duration // after that
		want     bool
	}{
		{"in time", 10 * time.Minute, 0, true},
		{"on its way when its time is over", 30*time.Minute - time.Second, 2 * time.Minute, true},
		{"as late as signs of a sender prolong it", 2*time.Hour - time.Second, 34 * time.Minute, true},
		{"never", 2*time.Hour - time.Second, 35 * time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer func() { w.stop() }()
				l := w.begin(1)
				for end := time.Now().Add(c.accepted); time.Now().Before(end); {
					w.wait(min(time.Until(end), 29*time.Minute))
					w.Asked(l.Slot)
				}
				if !w.Leased(l.Slot, l.Token) {
					t.Fatal("the recipient is refused")
				}
				if err := w.Cancel(t.Context(), l.Capability); !errors.Is(err, lease.ErrBegun) {
					t.Errorf("given up while a mail is on its way: %v", err)
				}
				w.wait(c.comes)
				if expired := w.state(l) == lease.Expired; expired == c.want {
					t.Errorf("expired: %v", expired)
				}
				if _, _, ok := w.Claim(l.Slot, l.Token); ok != c.want || (w.state(l) == lease.Running) != c.want {
					t.Errorf("its test begins: %v, %s; want %v", ok, w.state(l), c.want)
				}
				if w.Leased(l.Slot, l.Token) != c.want {
					t.Errorf("further recipients are accepted: %v", !c.want)
				}
			})
		})
	}
}

// Recipients of a test that waits do not keep its slot for ever.
func TestRecipientsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		l, began := w.begin(1), time.Now()
		for w.state(l) == lease.Waiting {
			w.Leased(l.Slot, l.Token)
			w.wait(time.Minute)
		}
		if got := time.Since(began); got > 2*time.Hour+35*time.Minute {
			t.Errorf("it waited for %v", got)
		}
	})
}

// Given up, a lease takes no mail any more, and begins no test.
func TestGivenUpIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		l := w.begin(1)
		if err := w.Cancel(t.Context(), l.Capability); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := w.Claim(l.Slot, l.Token); ok || w.Leased(l.Slot, l.Token) {
			t.Error("it takes mail")
		}
		w.want(l, lease.Expired)
	})
}

// Whenever the last mail to a test that is over comes, its slot rests after it.
func TestRestAfterMailToATestThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		l := w.begin(1)
		w.Claim(l.Slot, l.Token)
		w.Ended(l.ID)
		last := time.Now()
		for w.state(l) == lease.Ended {
			if w.Leased(l.Slot, l.Token) {
				last = time.Now()
			}
			w.wait(time.Minute)
		}
		if got := time.Since(last); got < 24*time.Hour {
			t.Errorf("it rested for %v after its last mail", got)
		}
	})
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		first, second := w.begin(1), w.begin(2)
		var queue []lease.Ticket
		for i := range 4 {
			l := w.begin(3 + i)
			if l.State != lease.Queued || l.Slot != 0 || l.Position != i+1 {
				t.Fatalf("ticket %+v", l)
			}
			queue = append(queue, l)
		}
		if n := w.Queued(); n != 4 {
			t.Errorf("%d are queued", n)
		}
		look := func(d time.Duration, but ...int) {
			for end := time.Now().Add(d); time.Now().Before(end); w.wait(time.Minute) {
				for i, l := range queue {
					if !slices.Contains(but, i) {
						w.Ticket(l.Capability)
					}
				}
			}
		}
		if err := w.Cancel(t.Context(), first.Capability); err != nil { // rests for ten minutes
			t.Fatal(err)
		}
		got, _ := w.Ticket(queue[0].Capability)
		if want := time.Now().Add(10 * time.Minute); !got.Free.Equal(want) {
			t.Errorf("a slot is expected at %v, want %v", got.Free, want)
		}
		look(11*time.Minute, 1) // the second one went away
		w.want(queue[0], lease.Waiting)
		w.want(queue[1], lease.Expired)
		if got, _ := w.Ticket(queue[2].Capability); got.Position != 1 || !got.Free.IsZero() {
			t.Errorf("ticket %+v", got)
		}
		w.Claim(second.Slot, second.Token)
		look(31*time.Minute, 0, 1)
		w.want(queue[0], lease.Expired)
		look(10*time.Minute, 0, 1)
		w.want(queue[2], lease.Waiting)
		w.want(queue[3], lease.Queued)
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		waiting, running, queued := w.begin(1), w.begin(1), w.begin(2)
		w.Claim(running.Slot, running.Token)
		for _, c := range []struct {
			name, capability string
			want             error
		}{
			{"queued", queued.Capability, nil},
			{"queued, again", queued.Capability, lease.ErrBegun},
			{"waiting", waiting.Capability, nil},
			{"running", running.Capability, lease.ErrBegun},
			{"unknown", "x", lease.ErrUnknown},
			{"empty", "", lease.ErrUnknown},
		} {
			if err := w.Cancel(t.Context(), c.capability); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
		}
		w.want(waiting, lease.Expired)
		w.want(queued, lease.Expired)
		w.want(running, lease.Running)
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *lease.Options) { o.Limits = lease.Limits{Queue: 2, PerNetwork: 2} })
		defer func() { w.stop() }()
		try := func(name, address string, want error) lease.Ticket {
			t.Helper()
			l, err := w.Start(t.Context(), netip.MustParseAddr(address), "de")
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
			return l
		}
		one := try("first", "198.18.0.1", nil)
		try("second", "198.18.0.2", nil)
		try("third of its /24", "198.18.0.3", lease.ErrTooMany)
		try("the same as IPv6", "::ffff:198.18.0.4", lease.ErrTooMany)
		if err := w.Cancel(t.Context(), one.Capability); err != nil {
			t.Error(err)
		}
		try("while its slot rests", "198.18.0.3", lease.ErrTooMany)
		w.wait(10 * time.Minute)
		try("after one was given up", "198.18.0.3", nil)
		try("another network", "2001:db8:1:2::1", nil)
		try("its second", "2001:db8:1:3::1", nil)
		try("third of its /48", "2001:db8:1:4::1", lease.ErrTooMany)
		try("queue full", "2001:db8:2::1", lease.ErrBusy)
		if _, err := w.Start(t.Context(), client(9), "fr"); err == nil {
			t.Error("a test in French was started")
		}
	})
}

// One client uses and gives up one slot after another: others still get theirs.
func TestShareOfANetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *lease.Options) { o.Slots = 9 })
		defer func() { w.stop() }()
		n := 0
		for range 20 {
			l, err := w.Start(t.Context(), client(1), "en")
			if err != nil {
				if !errors.Is(err, lease.ErrTooMany) {
					t.Fatal(err)
				}
				break
			}
			n++
			w.Used(l.Slot)
			if err := w.Cancel(t.Context(), l.Capability); err != nil {
				t.Fatal(err)
			}
		}
		if n != 4 {
			t.Errorf("one network had %d slots, want 4 of 8", n)
		}
		if l := w.begin(2); l.State != lease.Waiting {
			t.Errorf("another network is %s", l.State)
		}
		w.wait(24*time.Hour - time.Second)
		if _, err := w.Start(t.Context(), client(1), "en"); !errors.Is(err, lease.ErrTooMany) {
			t.Errorf("while its slots rest: %v", err)
		}
		w.wait(time.Second)
		if l := w.begin(1); l.State != lease.Waiting {
			t.Errorf("after its slots have rested it is %s", l.State)
		}
	})
}

func TestNothingToLease(t *testing.T) {
	w := newWorld(t, func(o *lease.Options) { o.Slots = 1 })
	defer w.stop()
	if _, err := w.Start(t.Context(), client(1), "en"); !errors.Is(err, lease.ErrBusy) {
		t.Errorf("%v, want ErrBusy", err)
	}
	if len(w.Slots()) != 0 {
		t.Error("there are slots")
	}
}

// A slot goes to whoever comes next as late as possible.
func TestLongestRestedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *lease.Options) { o.Slots = 4 })
		defer func() { w.stop() }()
		var got []int
		for range 6 {
			l := w.begin(1)
			got = append(got, l.Slot)
			if err := w.Cancel(t.Context(), l.Capability); err != nil {
				t.Fatal(err)
			}
			w.wait(11 * time.Minute)
			w.restart()
		}
		if d := cmp.Diff([]int{1, 2, 3, 1, 2, 3}, got); d != "" {
			t.Errorf("slots (-want +got):\n%s", d)
		}
	})
}

func TestChangesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waited []time.Duration
		w := newWorld(t, func(o *lease.Options) {
			o.Slots, o.Wait, o.Rest = 2, time.Minute, time.Minute
			o.Waited = func(d time.Duration) { waited = append(waited, d) }
		})
		defer func() { w.stop() }()
		told := func(what string, l lease.Ticket) {
			t.Helper()
			n := 0
			for len(w.changed) > 0 {
				if <-w.changed == l.ID {
					n++
				}
			}
			if n == 0 {
				t.Errorf("not told: %s", what)
			}
		}
		a, b := w.begin(1), w.begin(2)
		told("it got a slot", a)
		w.wait(time.Minute)
		told("it expired", a)
		w.Ticket(b.Capability)
		w.wait(time.Minute)
		told("it got a slot at last", b)
		b, _ = w.Ticket(b.Capability)
		w.Claim(b.Slot, b.Token)
		told("it runs", b)
		w.Ended(b.ID)
		told("it ended", b)
		if d := cmp.Diff([]time.Duration{0, 2 * time.Minute}, waited); d != "" {
			t.Errorf("waits (-want +got):\n%s", d)
		}
	})
}
