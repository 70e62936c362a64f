package zones_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/zones"
)

// rollWorld is a zone below a parent, with resolvers that never stop asking.
type rollWorld struct {
	t         *testing.T
	clk       *clock
	parent    *parentZone
	options   zones.Options
	state     *memoryState
	zone      *zones.Zone
	resolvers []*dnssec.Resolver
	history   history
	seconds   int
	crashes   int
	every     int           // seconds between two questions to the first resolver
	phases    []zones.Phase // that were seen
	bogus     []string
}

const (
	lag   = 30 * time.Second  // of the slowest secondary
	dsTTL = 150 * time.Second // in the parent zone
)

func newRollWorld(t *testing.T) *rollWorld {
	clk := newClock()
	w := &rollWorld{t: t, clk: clk, parent: newParent(t, clk, uint32(dsTTL.Seconds())), state: new(memoryState), every: 5}
	w.options = options()
	w.options.Slots = 1
	w.options.Now, w.options.State = clk.Now, w.state
	w.options.Keys = zones.KeyOptions{ParentDS: w.parent.ask, Propagation: lag, DSTTL: time.Second}
	w.zone = newZone(t, w.options)
	w.parent.set(w.zone.DS(), 0, 1)
	for i := range 3 {
		w.resolvers = append(w.resolvers, newResolver(t, w.parent, func() *zones.Zone { return w.zone }, i%2))
	}
	return w
}

// second lets a second pass: everybody asks, and the zone goes on every 10 s.
func (w *rollWorld) second() {
	w.t.Helper()
	w.clk.Advance(time.Second)
	w.seconds++
	if w.seconds%10 == 0 {
		w.advance()
	}
	w.history.record(w.t, w.zone, w.parent)
	for i, every := range []int{w.every, 17, 43} {
		if w.seconds%every != 0 {
			continue
		}
		q := []struct {
			name  string
			qtype uint16
		}{{"et.", dns.TypeMX}, {"_25._tcp.mx04.et.", dns.TypeTLSA}, {"_25._tcp.ut.", dns.TypeTLSA}, {"", dns.TypeCDS}}[w.seconds%4]
		a, err := w.resolvers[i].Lookup(w.t.Context(), q.name+zoneName, q.qtype)
		if err != nil || a.Status != dnssec.Secure {
			w.bogus = append(w.bogus, w.clk.Now().Format(time.TimeOnly)+" "+q.name+": "+string(a.Status)+" "+a.Why)
		}
	}
}

func (w *rollWorld) advance() {
	w.t.Helper()
	if err := w.zone.Advance(w.t.Context()); errors.Is(err, errCrash) {
		w.crashes++
		w.restart()
	} else if err != nil {
		w.t.Errorf("%v: %v", w.clk.Now(), err)
	}
	if phase := w.zone.Roll().Phase; len(w.phases) == 0 || w.phases[len(w.phases)-1] != phase {
		w.phases = append(w.phases, phase)
	}
}

// until lets time pass until the roll is in a phase, and a little longer.
func (w *rollWorld) until(phase zones.Phase, more int) {
	w.t.Helper()
	for limit := w.seconds + 5000; w.zone.Roll().Phase != phase; w.second() {
		if w.seconds > limit {
			w.t.Fatalf("not in the phase %q:\n%s", phase, w.zone.Roll())
		}
	}
	for range more {
		w.second()
	}
}

// replaceDS makes the parent follow, its second server later.
func (w *rollWorld) replaceDS() {
	w.t.Helper()
	w.parent.set(w.zone.Roll().DS, 0)
	for range int(lag.Seconds()) {
		w.second()
	}
	w.parent.set(w.zone.Roll().DS, 1)
}

// check fails the test if any cache could have been unable to validate.
func (w *rollWorld) check() {
	w.t.Helper()
	for _, s := range w.history.broken(time.Minute+lag, dsTTL) {
		w.t.Error(s)
	}
	for _, s := range w.history.unentitled() {
		w.t.Error(s)
	}
	for _, s := range w.bogus {
		w.t.Error(s)
	}
}

func (w *rollWorld) start(role zones.Role) {
	w.t.Helper()
	if err := w.zone.StartRoll(w.t.Context(), role); err != nil {
		w.t.Fatal(err)
	}
}

func (w *rollWorld) restart() { w.zone = newZone(w.t, w.options) }

// roles returns role and status of every key.
func roles(z *zones.Zone) string {
	var out []string
	for _, k := range z.Keys() {
		out = append(out, string(k.Role)+" "+string(k.Status))
	}
	return strings.Join(out, ", ")
}

// At no moment of a roll is any combination of what caches may hold bogus.
func TestRollsValidate(t *testing.T) {
	for _, c := range []struct {
		name    string
		roll    func(w *rollWorld)
		newKeys int // at the end
		end     string
	}{
		{"CSK", func(w *rollWorld) {
			w.every = 1
			w.complete(zones.CSK, nil)
		}, 1, "csk active"},
		{"CSK, restarted at every step", func(w *rollWorld) { w.complete(zones.CSK, w.restart) }, 1, "csk active"},
		{"ZSK splits the CSK", func(w *rollWorld) { w.complete(zones.ZSK, w.restart) }, 1, "ksk active, zsk active"},
		{"ZSK", func(w *rollWorld) {
			w.complete(zones.ZSK, nil)
			w.complete(zones.ZSK, w.restart)
		}, 1, "ksk active, zsk active"},
		{"KSK", func(w *rollWorld) {
			w.complete(zones.ZSK, nil)
			w.complete("", w.restart)
		}, 2, "zsk active, ksk active"},
		{"CSK replaces both", func(w *rollWorld) {
			w.complete(zones.ZSK, nil)
			w.complete(zones.CSK, w.restart)
		}, 1, "csk active"},
		{"cancelled while published", func(w *rollWorld) {
			w.start("")
			w.until(zones.PhasePublish, 45)
			w.cancel()
			w.until("", 200)
		}, 0, "csk active"},
		{"cancelled in the hand-over", func(w *rollWorld) {
			w.start("")
			w.until(zones.PhaseHandOver, 45)
			w.cancel()
			w.restart()
			w.until("", 200)
		}, 0, "csk active"},
		{"KSK, cancelled in the hand-over", func(w *rollWorld) {
			w.complete(zones.ZSK, nil)
			w.start("")
			w.until(zones.PhaseHandOver, 45)
			w.cancel()
			w.until("", 200)
		}, 1, "ksk active, zsk active"},
		{"CSK for both, cancelled in the hand-over", func(w *rollWorld) {
			w.complete(zones.ZSK, nil)
			w.start(zones.CSK)
			w.until(zones.PhaseHandOver, 45)
			w.cancel()
			w.until("", 200)
		}, 1, "ksk active, zsk active"},
		{"cancelled although the parent follows", func(w *rollWorld) {
			w.start("")
			w.until(zones.PhaseHandOver, 45)
			followed := w.zone.Roll().DS
			w.cancel()
			w.parent.set(followed, 0, 1)
			for range 400 {
				w.second()
			}
			w.replaceDS()
			w.until("", 200)
		}, 0, "csk active"},
		{"the parent follows at once", func(w *rollWorld) {
			w.start("")
			w.until(zones.PhaseHandOver, 0)
			w.parent.set(w.zone.Roll().DS, 0, 1)
			w.until("", 200)
		}, 1, "csk active"},
		{"the parent goes back", func(w *rollWorld) {
			w.start("")
			w.until(zones.PhaseHandOver, 45)
			old := w.zone.Roll().OldDS
			w.replaceDS()
			w.until(zones.PhaseRetire, 100)
			w.parent.set(old, 0)
			for w.zone.Roll().Phase == zones.PhaseRetire {
				w.clk.Advance(time.Second)
				if err := w.zone.Advance(t.Context()); err != nil && !strings.Contains(err.Error(), "1 of 2 servers") {
					t.Error(err)
				}
			}
			w.until(zones.PhaseHandOver, 500)
			w.replaceDS()
			w.until("", 200)
		}, 1, "csk active"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newRollWorld(t)
			before := make(map[uint16]bool)
			for _, k := range w.zone.Keys() {
				before[k.Tag] = true
			}
			c.roll(w)
			w.check()
			fresh := 0
			for _, k := range w.zone.Keys() {
				if !before[k.Tag] {
					fresh++
				}
			}
			if got := roles(w.zone); got != c.end || fresh != c.newKeys {
				t.Errorf("keys %s, %d new, want %s, %d new; phases %v", got, fresh, c.end, c.newKeys, w.phases)
			}
		})
	}
}

func (w *rollWorld) cancel() {
	w.t.Helper()
	if err := w.zone.CancelRoll(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// complete takes a roll from beginning to end. In each phase it calls
// disturb, if there is one.
func (w *rollWorld) complete(role zones.Role, disturb func()) {
	w.t.Helper()
	if disturb == nil {
		disturb = func() {}
	}
	w.phases = nil
	w.start(role)
	disturb()
	for range 50 {
		w.second()
	}
	disturb()
	if role != zones.ZSK {
		w.until(zones.PhaseHandOver, 500) // the operator is in no hurry
		disturb()
		w.replaceDS()
	}
	w.until(zones.PhaseRetire, 1)
	disturb()
	w.until("", 1+int(dsTTL.Seconds()))
}

// The check above can fail: with waits that are too short for what the world
// is like, or a parent that follows too early, it does.
func TestRollCheckCanFail(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(w *rollWorld)
		roll func(w *rollWorld)
		want string
	}{
		{"secondaries slower than said", func(w *rollWorld) { w.options.Keys.Propagation = time.Nanosecond }, nil, "MX of"},
		{"DS cached longer than said", func(w *rollWorld) { w.parent.lie = time.Second }, nil, "DS0 of"},
		{"parent follows before it is told", func(*rollWorld) {}, func(w *rollWorld) {
			w.start("")
			next := zones.Published(w.zone)
			w.parent.set(next, 0, 1)
			w.until(zones.PhaseRetire, 0)
		}, "DS0 of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newRollWorld(t)
			c.edit(w)
			w.restart()
			if c.roll == nil {
				c.roll = func(w *rollWorld) { w.complete(zones.CSK, nil) }
			}
			w.history.record(t, w.zone, w.parent)
			c.roll(w)
			broken := w.history.broken(time.Minute+lag, dsTTL)
			if !strings.Contains(strings.Join(broken, "\n"), c.want) {
				t.Errorf("not found: %q in %q", c.want, broken)
			}
		})
	}
}

// What would be wrong to do is refused, and says why.
func TestRollRefusals(t *testing.T) {
	w := newRollWorld(t)
	ctx := t.Context()
	wrong := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) || want == nil && err == nil {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	wrong("cancel without a roll", w.zone.CancelRoll(ctx), zones.ErrNoRoll)
	wrong("confirm without a roll", w.zone.ConfirmDS(ctx), zones.ErrNoRoll)
	if err := w.zone.StartRoll(ctx, zones.KSK); err == nil || !strings.Contains(err.Error(), "CSK") {
		t.Errorf("KSK rolled where there is none: %v", err)
	}
	if err := w.zone.StartRoll(ctx, "x"); err == nil {
		t.Error("role x was taken")
	}
	w.start("")
	wrong("second roll", w.zone.StartRoll(ctx, ""), zones.ErrRolling)
	wrong("confirmed too early", w.zone.ConfirmDS(ctx), zones.ErrWrongPhase)
	w.until(zones.PhaseHandOver, 0)
	if err := w.zone.ConfirmDS(ctx); err == nil || !strings.Contains(err.Error(), "2 of 2 servers of the parent have the old DS record") {
		t.Errorf("confirmed against what the parent says: %v", err)
	}
	w.parent.fail = errors.New("no route")
	if err := w.zone.Advance(ctx); !errors.Is(err, w.parent.fail) || !strings.Contains(w.zone.Roll().String(), "in the way: ask the parent") {
		t.Errorf("failure of the parent: %v\n%s", err, w.zone.Roll())
	}
	if err := w.zone.ConfirmDS(ctx); err != nil {
		t.Errorf("not confirmed although the parent can't be asked: %v", err)
	}
	wrong("cancelled too late", w.zone.CancelRoll(ctx), zones.ErrWrongPhase)
	w.clk.Advance(time.Hour)
	if err := w.zone.Advance(ctx); err != nil || w.zone.Roll().Phase != "" {
		t.Errorf("confirmed roll: %v\n%s", err, w.zone.Roll())
	}
}

// A roll waits for the slowest name server, whatever the time.
func TestRollWaitsForNameServers(t *testing.T) {
	w := newRollWorld(t)
	behind := errors.New("ns2 has an older serial")
	var asked uint32
	w.options.Keys.Synced = func(_ context.Context, serial uint32) error {
		asked = serial
		return behind
	}
	w.restart()
	w.start("")
	serial := w.zone.Serial()
	for range 10 {
		w.clk.Advance(time.Hour)
		if err := w.zone.Advance(t.Context()); !errors.Is(err, behind) {
			t.Errorf("advance: %v", err)
		}
	}
	if s := w.zone.Roll(); s.Phase != zones.PhasePublish || s.Waited != 0 || asked != serial {
		t.Errorf("asked for serial %d, want %d:\n%s", asked, serial, s)
	}
	behind = nil
	for range 2 {
		if err := w.zone.Advance(t.Context()); err != nil || w.zone.Roll().Phase != zones.PhasePublish {
			t.Errorf("%v\n%s", err, w.zone.Roll())
		}
		w.clk.Advance(time.Minute)
	}
	if err := w.zone.Advance(t.Context()); err != nil || w.zone.Roll().Phase != zones.PhaseHandOver {
		t.Errorf("%v\n%s", err, w.zone.Roll())
	}
}
