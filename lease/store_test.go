package lease_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/lease"
)

// What cannot be understood is an error that says what to do, never a fresh
// start: slots that somebody uses would be given away.
func TestDamagedValue(t *testing.T) {
	const good = `{"id":"ABCDEF","capability":"c","token":"en4k7w2q9mxa","language":"en","state":"waiting","slot":1,"leased":"2026-11-22T08:00:00Z","expires":"2026-11-22T08:30:00Z"}`
	value := func(leases string) string { return `{"schema":1,"zone":"sink.example","leases":[` + leases + `]}` }
	with := func(from, to string) string { return value(strings.Replace(good, from, to, 1)) }
	for _, c := range []struct{ name, value, want string }{
		{"good", value(good), ""},
		{"empty", value(""), ""},
		{"later fields", with(`"slot":1`, `"slot":1,"color":"red"`), ""},
		{"no JSON", "\x00\x01", "damaged"},
		{"cut off", value(good)[:80], "damaged"},
		{"of a later tlsink", `{"schema":2}`, "schema 2, this tlsink knows 1"},
		{"null", value("null"), "lease 0 is null"},
		{"twice on a slot", value(good + "," + strings.NewReplacer("ABCDEF", "GHJKLM", `"c"`, `"d"`, "4k7w", "2222").Replace(good)), "slot 1 is leased twice"},
		{"same id", value(good + "," + strings.NewReplacer(`"c"`, `"d"`, "4k7w", "2222", `"slot":1`, `"slot":2`).Replace(good)), "id is there twice"},
		{"unknown state", with("waiting", "sleeping"), `"sleeping"`},
		{"no state", with("waiting", ""), "unknown state"},
		{"queued with a slot", with("waiting", "queued"), "slot 1, but state"},
		{"running without one", with(`"waiting","slot":1`, `"running"`), "slot 0, but state"},
		{"negative slot", with(`"slot":1`, `"slot":-1`), "slot -1"},
		{"waits for ever", with("expires", "expired"), "waits for ever"},
		{"rests for ever", with("waiting", "ended"), "over for ever"},
		{"token of another language", with("en4k", "de4k"), "token"},
		{"no token", with("en4k", ""), "token"},
		{"no id", with("ABCDEF", ""), "no id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOptions(&memory{value: []byte(c.value)})
			_, err := lease.New(t.Context(), o)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("error %v", err)
			case c.want != "" && err == nil:
				t.Error("no error")
			case c.want != "" && (!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "restore a backup") || !strings.Contains(err.Error(), lease.Key)):
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for name, change := range map[string]func(*lease.Options){
		"no zone":          func(o *lease.Options) { o.Zone = "" },
		"no slots":         func(o *lease.Options) { o.Slots = 0 },
		"no store":         func(o *lease.Options) { o.Store = nil },
		"no clock":         func(o *lease.Options) { o.Now = nil },
		"queue too long":   func(o *lease.Options) { o.Limits.Queue = 1001 },
		"no randomness":    func(o *lease.Options) { o.Rand = nil },
		"nowhere to write": func(o *lease.Options) { o.Logger = nil },
	} {
		o := newOptions(&memory{})
		change(&o)
		if _, err := lease.New(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// With fewer slots, or in another zone, leases that have no place any more end.
// A slot that comes back has not lost its rest.
func TestOtherSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		one, two := w.begin(1), w.begin(2)
		w.Used(two.Slot)
		w.stop()
		w.o.Slots = 2
		w.start()
		w.want(one, lease.Waiting)
		w.want(two, "forgotten")
		for _, slot := range []int{2, 3} { // and then as many as before
			w.stop()
			w.o.Slots = slot
			w.start()
			w.wait(5 * time.Minute)
		}
		w.want(one, lease.Waiting)
		if s := w.Slots()[1]; s.State != lease.Resting || s.Test != two.ID {
			t.Errorf("the slot that came back: %+v", s)
		}
		w.stop()
		w.o.Zone = "other.example"
		w.start()
		w.want(one, "forgotten")
		w.stop()
	})
}

// A lease that is not on disk is none.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		w.store.setFail(true)
		if _, err := w.Start(t.Context(), client(1), "en"); err == nil {
			t.Fatal("no error")
		}
		for _, s := range w.Slots() {
			if s.State != lease.Free {
				t.Errorf("slot %+v", s)
			}
		}
		w.store.setFail(false)
		l := w.begin(1)
		w.store.setFail(true)
		w.Claim(l.Slot, l.Token) // mail goes on; it is written once that is possible
		w.wait(time.Hour)
		w.store.setFail(false)
		w.wait(time.Minute)
		w.crash()
		w.want(l, lease.Running)
	})
}

// The tests themselves tell what a crash made us forget.
func TestCrashLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var known tests
		w := newWorld(t, func(o *lease.Options) { o.Test = known.find })
		defer func() { w.stop() }()
		l, gone := w.begin(1), w.begin(2)
		before := w.store.value
		w.Claim(l.Slot, l.Token)
		w.Claim(gone.Slot, gone.Token)
		known.set(l.ID, false)
		w.stop()
		w.store.value = before // the claims are lost
		w.start()
		w.want(l, lease.Running)
		w.want(gone, lease.Waiting)
		w.Claim(gone.Slot, gone.Token)
		known.set(l.ID, true) // and nobody told Ended
		w.wait(2 * time.Minute)
		w.want(l, lease.Ended)
		w.want(gone, lease.Running)
		w.wait(10 * time.Minute) // its test was deleted
		w.want(gone, lease.Ended)
	})
}

// A crash after a claim was stored, and before anything of its test was: the mail
// got no answer, so its sender comes again, and claims the lease again.
func TestCrashThatLosesATest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var known tests
		w := newWorld(t, func(o *lease.Options) { o.Test = known.find })
		defer func() { w.stop() }()
		l := w.begin(1)
		w.wait(29 * time.Minute)
		w.Claim(l.Slot, l.Token)
		w.wait(time.Second) // it is on disk
		w.crash()
		w.want(l, lease.Waiting)
		w.wait(29 * time.Minute)
		w.want(l, lease.Waiting)
		if !w.Leased(l.Slot, l.Token) {
			t.Error("the mail that comes again is refused")
		}
		if id, _, ok := w.Claim(l.Slot, l.Token); !ok || id != l.ID {
			t.Errorf("claimed %q, %v", id, ok)
		}
		known.set(l.ID, false)
		w.crash()
		w.want(l, lease.Running)
	})
}

// If the mail never comes again, the slot rests: its sender has used it.
func TestRestAfterATestThatACrashLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var known tests
		w := newWorld(t, func(o *lease.Options) { o.Test, o.Slots = known.find, 2 })
		defer func() { w.stop() }()
		l := w.begin(1)
		w.Claim(l.Slot, l.Token)
		w.wait(time.Second)
		w.crash()
		w.wait(30 * time.Minute)
		w.want(l, lease.Expired)
		next := w.begin(2)
		for range 60 { // somebody looks at the place
			w.wait(time.Minute)
			w.Ticket(next.Capability)
		}
		w.want(next, lease.Queued)
	})
}

// The id of a test that exists is not given a second time: that test would be
// taken for the lease's.
func TestIDOfAnotherTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var known tests
		w := newWorld(t, func(o *lease.Options) { o.Test = known.find })
		defer func() { w.stop() }()
		same := func() { w.stop(); w.o.Rand = randReader{rand.New(rand.NewPCG(3, 4))}; w.store.value = nil; w.start() }
		same()
		l := w.begin(1)
		known.set(l.ID, true)
		same()
		if l, err := w.Start(t.Context(), client(1), "en"); err == nil {
			t.Errorf("started %s", l.ID)
		}
		if l := w.begin(1); l.State != lease.Waiting {
			t.Errorf("the next one is %s", l.State)
		}
	})
}

// What is stored holds no address of a client.
func TestClientsAreNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		w.begin(7)
		if s := string(w.store.value); strings.Contains(s, "198.18") || strings.Contains(s, "network") {
			t.Errorf("stored: %s", s)
		}
	})
}

// The longest queue fits into one value of the history.
func TestTheLongestQueueFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *lease.Options) { o.Limits.PerNetwork, o.Slots = 10_000, 17 })
		defer func() { w.stop() }()
		var all []lease.Ticket
		for len(all) < 1016 {
			all = append(all, w.begin(1))
		}
		w.wait(3 * time.Minute) // all lose their places, and others come
		for range 1000 {
			w.begin(1)
		}
		if n := len(w.store.value); n > 800<<10 {
			t.Errorf("%d octets", n)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"schema":1,"zone":"sink.example","leases":[{"id":"ABCDEF","capability":"c","token":"en4k7w2q9mxa","language":"en","state":"ended","slot":2,"over":"2026-11-22T08:00:00Z","until":"2026-11-23T08:00:00Z"}],"freed":["2026-11-22T08:00:00Z"]}`))
	f.Add([]byte(`{"schema":1,"leases":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := lease.New(t.Context(), newOptions(&memory{value: b}))
		if err != nil {
			return
		}
		for _, s := range m.Slots() {
			if s.Slot < 1 || s.Slot > 2 {
				t.Errorf("slot %+v", s)
			}
		}
		m.Ticket("c")
		m.Leased(2, "en4k7w2q9mxa")
		m.Used(1)
		if _, err := json.Marshal(m.Slots()); err != nil {
			t.Error(err)
		}
	})
}
