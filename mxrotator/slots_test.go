package mxrotator_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"

	"github.com/tlsink/tlsink/mxrotator"
	"github.com/tlsink/tlsink/scenario"
)

const resting = "mx04 mx05 mx06 mx03"

// withSlots gives the bench a number of slots, the others of which rest.
func withSlots(n int) func(*mxrotator.Options) {
	return func(o *mxrotator.Options) {
		o.Slots = n
		p := o.Provider.(*provider)
		p.records = append(p.records, libdns.MX{Name: "@", Preference: 10, Target: "mx.sink.example."})
		for slot := 1; slot < n; slot++ {
			for i, h := range scenario.Resting() {
				et := fmt.Sprintf("et%d", slot)
				p.records = append(p.records, libdns.MX{Name: et, Preference: uint16(10 * (i + 1)), Target: string(h) + "." + et + ".sink.example."})
			}
		}
	}
}

// setNames lists, for each call of SetRecords, the names that it set.
func (p *provider) setNames() (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		var names []string
		for i, r := range c {
			if i%4 == 0 {
				names = append(names, r.RR().Name)
			}
		}
		out = append(out, strings.Join(names, " "))
	}
	return out
}

// needs of tests, which the rotator asks for while the test changes them.
type needs struct {
	mu sync.Mutex
	of map[int]mxrotator.Need
}

func (n *needs) set(slot int, hosts ...scenario.Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of == nil {
		n.of = make(map[int]mxrotator.Need)
	}
	n.of[slot] = choices(hosts)
}

func (n *needs) current() map[int]mxrotator.Need {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.of)
}

// Slots that nobody uses cost no change of DNS, and their order is known.
func TestSlotsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &provider{}, withSlots(9))
		b.run(t)
		pass(61 * time.Minute)
		for i, names := range b.provider.setNames() {
			if names != "et" {
				t.Errorf("change %d sets %s", i, names)
			}
		}
		if len(b.states) != 13 {
			t.Errorf("slot 0 had %d orders in an hour, want 13", len(b.states))
		}
		var want []other
		for slot := 1; slot < 9; slot++ {
			want = append(want, other{slot, 0, resting})
			if got := listed(b.Current(slot)); got != resting {
				t.Errorf("slot %d has the order %q", slot, got)
			}
			if at, ok := b.NextTurn(slot); ok || !at.IsZero() {
				t.Errorf("slot %d rests, but has a turn at %v", slot, at)
			}
		}
		if d := cmp.Diff(want, b.others); d != "" {
			t.Errorf("states of the others (-want +got):\n%s", d)
		}
		if _, ok := b.NextTurn(0); !ok || b.Current(9) != nil || b.Current(-1) != nil {
			t.Error("slot 0 has no next turn, or slots that are not there have an order")
		}
	})
}

// A slot follows its own test, on its own schedule, and rests again after it.
// Slots that change together are one change.
func TestSlotFollowsItsTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n needs
		b := newBench(t, &provider{}, withSlots(4), func(o *mxrotator.Options) { o.Need = n.current })
		b.run(t)
		pass(100 * time.Second)
		n.set(1, scenario.Resting()...) // a fresh test: nothing to change
		b.Trigger(1)
		pass(10 * time.Second)
		n.set(1, mx06)
		n.set(3, mx05, mx04)
		b.Trigger(1, 3) // at 110 s
		pass(time.Second)
		n.set(3, mx03)
		b.Trigger(3) // at 111 s: MinGap after the last change
		if at, ok := b.NextTurn(3); !ok || time.Until(at) != 59*time.Second {
			t.Errorf("next turn of slot 3 in %v, %v; want 59 s", time.Until(at), ok)
		}
		pass(39 * time.Minute)
		n.set(1)
		n.set(3)
		pass(20 * time.Minute)
		b.mu.Lock()
		defer b.mu.Unlock()
		if d := cmp.Diff([]other{
			{1, 0, resting},
			{2, 0, resting},
			{3, 0, resting},
			{1, 110, "mx06 mx04 mx05 mx03"},
			{3, 110, "mx05 mx04 mx06 mx03"},
			{3, 170, "mx03 mx04 mx05 mx06"},
			{1, 2510, resting},
			{3, 2570, resting},
		}, b.others); d != "" {
			t.Errorf("states (-want +got):\n%s", d)
		}
		together := 0
		for _, names := range b.provider.setNames() {
			if names == "et1 et3" {
				together++
			}
		}
		if together != 1 {
			t.Errorf("changes: %q", b.provider.setNames())
		}
		for i, s := range b.states {
			if s.At != float64(300*i) {
				t.Errorf("slot 0 has turns at %v", times(b.states))
				break
			}
		}
	})
}

// choosy refuses whatever contains a name.
type choosy struct {
	*provider
	refuses string
	slow    time.Duration
}

func (c *choosy) SetRecords(ctx context.Context, z string, records []libdns.Record) ([]libdns.Record, error) {
	for _, r := range records {
		if r.RR().Name == c.refuses {
			if err := (behaviour{slow: c.slow}).wait(ctx); err != nil {
				return nil, err
			}
			return nil, errors.New("not this one")
		}
	}
	return c.provider.SetRecords(ctx, z, records)
}

// A slot whose records the provider does not take does not keep the others from
// turning, and its own order stays what it is.
func TestOneSlotThatFailsStopsNoOther(t *testing.T) {
	for name, slow := range map[string]time.Duration{"refused": 0, "never answered": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n needs
				c := &choosy{provider: &provider{}, refuses: "et2", slow: slow}
				b := newBench(t, c.provider, withSlots(4), func(o *mxrotator.Options) { o.Need, o.Provider = n.current, c })
				b.run(t)
				pass(295 * time.Second)
				n.set(2, mx06)
				n.set(1, mx05)
				b.Trigger(1, 2) // at once, and fails for both
				pass(3 * time.Minute)
				if got := listed(b.Current(1)); got != "mx05 mx04 mx06 mx03" {
					t.Errorf("slot 1 has the order %q", got)
				}
				if got := listed(b.Current(2)); got != resting {
					t.Errorf("slot 2 has the order %q", got)
				}
				pass(31*time.Minute - 475*time.Second)
				b.mu.Lock()
				states := len(b.states)
				b.mu.Unlock()
				if states < 6 {
					t.Errorf("slot 0 turned %d times in half an hour", states)
				}
				if !strings.Contains(b.logs.String(), "slot 2: ") || strings.Contains(b.logs.String(), "slot 3: ") {
					t.Errorf("log: %s", b.logs.String())
				}
				n.set(2)
				pass(6 * time.Minute)
				if at, ok := b.NextTurn(2); ok {
					t.Errorf("slot 2 rests and has a turn at %v", at)
				}
			})
		})
	}
}

// What somebody else has made of a slot is recorded as unknown since it was read
// last, and repaired.
func TestForeignOrderOfASlotIsRepaired(t *testing.T) {
	for name, c := range map[string]struct {
		change func(libdns.MX) (libdns.MX, bool)
		want   []other
	}{
		"another order": {
			func(m libdns.MX) (libdns.MX, bool) { m.Preference = 50 - m.Preference; return m, true },
			[]other{{1, 0, resting}, {2, 0, resting}, {2, 300, ""}, {2, 600, "mx03 mx06 mx05 mx04"}, {2, 600, resting}},
		},
		"a record less": {
			func(m libdns.MX) (libdns.MX, bool) { return m, m.Preference > 10 },
			[]other{{1, 0, resting}, {2, 0, resting}, {2, 300, ""}, {2, 600, resting}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, &provider{}, withSlots(3))
				b.run(t)
				pass(400 * time.Second)
				b.provider.mu.Lock()
				var records []libdns.Record
				for _, r := range b.provider.records {
					if mx, ok := r.(libdns.MX); ok && mx.Name == "et2" {
						if mx, ok = c.change(mx); !ok {
							continue
						}
						r = mx
					}
					records = append(records, r)
				}
				b.provider.records = records
				b.provider.mu.Unlock()
				pass(201 * time.Second)
				if d := cmp.Diff(c.want, b.others); d != "" {
					t.Errorf("states (-want +got):\n%s", d)
				}
				if b.logs.Len() > 0 {
					t.Errorf("log: %s", b.logs.String())
				}
			})
		})
	}
}

// unsure is a provider that is not sure of a name.
type unsure struct {
	*provider
	mu    sync.Mutex
	names []string
}

func (u *unsure) become(names ...string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.names = names
}

type unsureError struct{ names []string }

func (e unsureError) Error() string         { return "one name server is behind" }
func (e unsureError) Unconfirmed() []string { return e.names }

func (u *unsure) GetRecords(ctx context.Context, z string) ([]libdns.Record, error) {
	recs, err := u.provider.GetRecords(ctx, z)
	u.mu.Lock()
	defer u.mu.Unlock()
	if err == nil && len(u.names) > 0 {
		return recs, fmt.Errorf("not sure: %w", unsureError{u.names})
	}
	return recs, err
}

// A name that not all name servers serve makes the order of its slot unknown, and
// no other one.
func TestUnknownIsUnknownBySlot(t *testing.T) {
	var n needs
	n.set(1, mx06)
	u := &unsure{provider: &provider{}}
	b := newBench(t, u.provider, withSlots(3), func(o *mxrotator.Options) { o.Provider, o.Need = u, n.current })
	if err := b.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.set(1, mx05)
	u.become("et1.sink.example.")
	if err := b.Rotate(t.Context()); err == nil || !strings.Contains(err.Error(), "slot 1: ") || strings.Contains(err.Error(), "slot 0") {
		t.Errorf("error %v", err)
	}
	if b.Current(1) != nil || b.Current(0) == nil || listed(b.Current(2)) != resting {
		t.Errorf("orders %v, %v, %v", b.Current(0), b.Current(1), b.Current(2))
	}
	u.become()
	if err := b.Rotate(t.Context()); err != nil || listed(b.Current(1)) != "mx05 mx04 mx06 mx03" {
		t.Errorf("%v, order %v", err, b.Current(1))
	}
}

// After a restart a test that is under way keeps its order, also if it is known
// only later what it needs, and nothing is changed that is there already.
func TestSlotInNeedAfterARestart(t *testing.T) {
	for _, c := range []struct {
		name  string
		known time.Duration   // when the need is known, after the restart; negative: never
		zone  []scenario.Host // what the zone has then
		want  []other
	}{
		{"at once", 0, []scenario.Host{mx06, mx04, mx05, mx03}, []other{{1, 0, "mx06 mx04 mx05 mx03"}}},
		{"later", 3 * time.Second, []scenario.Host{mx06, mx04, mx05, mx03}, []other{{1, 0, "mx06 mx04 mx05 mx03"}}},
		{"the zone began afresh", 3 * time.Second, scenario.Resting(), []other{{1, 0, resting}, {1, 3, "mx06 mx04 mx05 mx03"}}},
		{"the test is over", -1, []scenario.Host{mx06, mx04, mx05, mx03}, []other{{1, 0, "mx06 mx04 mx05 mx03"}, {1, 60, resting}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n needs
				p := &provider{}
				b := newBench(t, p, withSlots(2), func(o *mxrotator.Options) { o.Need = n.current })
				p.records = p.records[:1]
				for i, h := range c.zone {
					p.records = append(p.records, libdns.MX{Name: "et1", Preference: uint16(10 * (i + 1)), Target: string(h) + ".et1.sink.example."})
				}
				if c.known == 0 {
					n.set(1, mx06)
				}
				b.run(t)
				pass(max(c.known, 0))
				if c.known > 0 {
					n.set(1, mx06)
					b.Trigger(1)
				}
				pass(4 * time.Minute)
				if d := cmp.Diff(c.want, b.others); d != "" {
					t.Errorf("states (-want +got):\n%s", d)
				}
				if got, want := len(p.setNames()), len(c.want); got != want { // and one of slot 0
					t.Errorf("changes %q, want %d", p.setNames(), want)
				}
			})
		})
	}
}
