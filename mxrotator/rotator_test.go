package mxrotator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
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

const zone = "sink.example"

// behaviour says how a fake provider misbehaves.
type behaviour struct {
	setErr, getErr error
	lies           bool // SetRecords does nothing and says nothing
	partial        bool // SetRecords loses the last record
	setsThenFails  bool
	slow           time.Duration
	render         func(libdns.MX) libdns.Record
}

// provider is a fake DNS provider.
type provider struct {
	mu      sync.Mutex
	now     behaviour
	records []libdns.Record
	calls   [][]libdns.Record
}

func (p *provider) become(b behaviour) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = b
}

func (b behaviour) wait(ctx context.Context) error {
	if b.slow == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(b.slow)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *provider) SetRecords(ctx context.Context, z string, records []libdns.Record) ([]libdns.Record, error) {
	p.mu.Lock()
	p.calls = append(p.calls, records)
	b := p.now
	p.mu.Unlock()
	if err := b.wait(ctx); err != nil {
		return nil, err
	}
	if z != zone+"." {
		return nil, fmt.Errorf("zone %q", z)
	}
	if b.setErr != nil && !b.setsThenFails {
		return nil, b.setErr
	}
	if b.lies {
		return records, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.records == nil {
		p.records = []libdns.Record{libdns.TXT{Name: "et", Text: "other"}, libdns.MX{Name: "@", Preference: 10, Target: "mx.sink.example."}}
	}
	p.records = slices.DeleteFunc(p.records, func(have libdns.Record) bool {
		return have.RR().Type == "MX" && slices.ContainsFunc(records, func(r libdns.Record) bool { return strings.HasPrefix(have.RR().Name+".", r.RR().Name+".") })
	})
	for _, r := range records {
		if b.render != nil {
			r = b.render(r.(libdns.MX))
		}
		p.records = append(p.records, r)
	}
	if b.partial {
		p.records = p.records[:len(p.records)-1]
	}
	return records, b.setErr
}

func (p *provider) GetRecords(ctx context.Context, _ string) ([]libdns.Record, error) {
	p.mu.Lock()
	b := p.now
	p.mu.Unlock()
	if err := b.wait(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.records, b.getErr
}

// state is one call of OnState, in seconds since the start.
type state struct {
	At    float64
	Known bool
	First string
}

// bench is a rotator under test in a synctest bubble.
type bench struct {
	*mxrotator.Rotator
	provider *provider
	mu       sync.Mutex // for tests that look at states while Run goes on
	states   []state
	orders   []map[string]int
	logs     bytes.Buffer
	others   []other // the states of slots other than 0
	need     map[int]mxrotator.Need
}

// other is one call of OnState for a slot other than 0.
type other struct {
	Slot  int
	At    float64
	Order string // most preferred first; empty if it is not known
}

// listed names the hosts of an order, most preferred first.
func listed(m map[string]int) string {
	var hosts []string
	for h, p := range m {
		if p > 0 {
			hosts = append(hosts, h)
		}
	}
	slices.SortFunc(hosts, func(a, b string) int { return m[a] - m[b] })
	return strings.Join(hosts, " ")
}

func newBench(t *testing.T, p *provider, change ...func(*mxrotator.Options)) *bench {
	t.Helper()
	b := &bench{provider: p}
	start := time.Now()
	o := mxrotator.Options{
		Zone: "Sink.Example.", Slots: 1, Provider: p, Seed: 5,
		Need:   func() map[int]mxrotator.Need { return b.need },
		Logger: slog.New(slog.NewTextHandler(&b.logs, nil)),
		OnState: func(slot int, at time.Time, m map[string]int) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if slot > 0 {
				b.others = append(b.others, other{slot, at.Sub(start).Seconds(), listed(m)})
				return
			}
			b.states = append(b.states, state{at.Sub(start).Seconds(), first(m) != "", first(m)})
			b.orders = append(b.orders, m)
		},
	}
	for _, c := range change {
		c(&o)
	}
	r, err := mxrotator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	b.Rotator = r
	return b
}

// known reports whether the order is, by the last state.
func (b *bench) known() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.states[len(b.states)-1].Known
}

// first returns the most preferred host; "" if there is none.
func first(m map[string]int) string {
	best, unique := "", false
	for h, p := range m {
		switch {
		case best == "" || p < m[best]:
			best, unique = h, true
		case p == m[best]:
			unique = false
		}
	}
	if !unique {
		return ""
	}
	return best
}

// run starts Run; the bubble waits for it at the end of the test.
func (b *bench) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func times(states []state) []float64 {
	var out []float64
	for _, s := range states {
		out = append(out, s.At)
	}
	return out
}

func TestRotateWritesTheWholeRRsetInOneCall(t *testing.T) {
	p := &provider{}
	b := newBench(t, p)
	if err := b.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(p.calls) != 1 {
		t.Fatalf("%d calls of SetRecords, want 1", len(p.calls))
	}
	byOwner := map[string][]string{}
	for _, r := range p.calls[0] {
		mx := r.(libdns.MX)
		if mx.TTL != time.Minute {
			t.Errorf("TTL %s, want 1m", mx.TTL)
		}
		byOwner[mx.Name] = append(byOwner[mx.Name], fmt.Sprintf("%d %s", mx.Preference, mx.Target))
	}
	for owner, slot := range map[string]string{"et": "et"} {
		var want []string
		for h, pref := range b.Current(0) {
			want = append(want, fmt.Sprintf("%d %s.%s.%s.", pref, h, slot, zone))
		}
		if d := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(byOwner[owner]))); d != "" {
			t.Errorf("MX of %s (-want +got):\n%s", owner, d)
		}
	}
	if len(b.orders) != 1 || !maps.Equal(b.orders[0], b.Current(0)) {
		t.Errorf("states %v, current %v", b.orders, b.Current(0))
	}
}

// Providers render names in many ways.
func TestReadBackUnderstandsProviders(t *testing.T) {
	for name, render := range map[string]func(libdns.MX) libdns.Record{
		"generic record": func(m libdns.MX) libdns.Record { return m.RR() },
		"absolute owner": func(m libdns.MX) libdns.Record { m.Name += "." + zone + "."; return m },
		"no final dot":   func(m libdns.MX) libdns.Record { m.Target = strings.TrimSuffix(m.Target, "."); return m },
		"relative target": func(m libdns.MX) libdns.Record {
			m.Target = strings.TrimSuffix(m.Target, "."+zone+".")
			return m
		},
		"upper case": func(m libdns.MX) libdns.Record { m.Target = strings.ToUpper(m.Target); return m },
	} {
		if err := newBench(t, &provider{now: behaviour{render: render}}).Rotate(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadBackRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		render func(libdns.MX) libdns.Record
		want   string
	}{
		"foreign target": {func(m libdns.MX) libdns.Record { m.Target = "mx03.et.other.example."; return m }, "not of that slot"},
		"other slot":     {func(m libdns.MX) libdns.Record { m.Target = strings.Replace(m.Target, ".et.", ".et1.", 1); return m }, "not of that slot"},
		"same host":      {func(m libdns.MX) libdns.Record { m.Target = "mx03." + m.Name + "." + zone; return m }, "two MX records"},
		"preference":     {func(m libdns.MX) libdns.Record { m.Preference = 0; return m }, "instead of"},
		"junk":           {func(m libdns.MX) libdns.Record { return libdns.RR{Name: m.Name, Type: "MX", Data: "x"} }, `MX record "x"`},
	} {
		b := newBench(t, &provider{now: behaviour{render: c.render}})
		err := b.Rotate(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		if len(b.states) != 1 || (name != "preference" && b.states[0].Known) {
			t.Errorf("%s: states %v of an order that was never there", name, b.states)
		}
	}
}

func TestRunRotatesEveryInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &provider{})
		b.run(t)
		pass(16 * time.Minute)
		if d := cmp.Diff([]float64{0, 300, 600, 900}, times(b.states)); d != "" {
			t.Errorf("changes (-want +got):\n%s", d)
		}
		led := map[string]bool{}
		for _, s := range b.states {
			led[s.First] = true
		}
		if len(led) != 4 {
			t.Errorf("in four turns only %v led", led)
		}
	})
}

func TestTriggerComesEarlyButNotTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &provider{})
		b.run(t)
		pass(100 * time.Second)
		b.Trigger(0) // 100 s after a change: at once
		pass(time.Second)
		b.Trigger(0) // 1 s after a change: when the TTL has passed
		b.Trigger(0)
		pass(400 * time.Second)
		if d := cmp.Diff([]float64{0, 100, 160, 460}, times(b.states)); d != "" {
			t.Errorf("changes (-want +got):\n%s", d)
		}
	})
}

// What tests need is asked again for each turn, also after one that failed.
func TestNeedIsAskedForEachTurn(t *testing.T) {
	for seed := range uint64(20) {
		p := &provider{now: behaviour{setErr: errors.New("no")}}
		b := newBench(t, p, func(o *mxrotator.Options) { o.Seed = seed })
		if err := b.Rotate(t.Context()); err == nil {
			t.Fatal("no error")
		}
		p.become(behaviour{})
		b.need = map[int]mxrotator.Need{0: choices([]scenario.Host{mx05})}
		if err := b.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if f := b.states[len(b.states)-1].First; f != "mx05" {
			t.Errorf("seed %d: %s leads, want mx05", seed, f)
		}
	}
}

func TestTriggerDuringATurnIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &provider{})
		b.run(t)
		pass(290 * time.Second)
		b.provider.become(behaviour{slow: 5 * time.Second})
		pass(12 * time.Second) // in the middle of the turn of 300 s
		b.Trigger(0)
		pass(9 * time.Second)
		b.provider.become(behaviour{})
		pass(100 * time.Second)
		if d := cmp.Diff([]float64{0, 300, 310, 370}, times(b.states)); d != "" {
			t.Errorf("changes (-want +got):\n%s", d)
		}
		if b.states[1].Known {
			t.Error("while a slow provider was at work, the order was claimed to be known")
		}
	})
}

func TestFailingProviderIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{now: behaviour{setErr: errors.New("quota exceeded")}}
		b := newBench(t, p)
		b.run(t)
		pass(76 * time.Second) // 0, 5, 15, 35, 75
		if len(p.calls) != 5 || len(b.states) != 1 || b.states[0].Known {
			t.Fatalf("%d calls, states %v", len(p.calls), b.states)
		}
		for _, c := range p.calls[1:] {
			if d := cmp.Diff(p.calls[0], c); d != "" {
				t.Fatalf("a turn that failed was not tried again but skipped:\n%s", d)
			}
		}
		if !strings.Contains(b.logs.String(), "quota exceeded") {
			t.Errorf("log without the reason: %s", b.logs.String())
		}
		b.Trigger(0) // must not defeat the back-off
		pass(time.Second)
		if len(p.calls) != 5 {
			t.Error("a trigger defeated the back-off")
		}
		p.become(behaviour{})
		pass(3 * time.Minute)
		if d := cmp.Diff([]float64{0, 155}, times(b.states)); d != "" {
			t.Errorf("changes (-want +got):\n%s", d)
		}
	})
}

// What is recorded is what is published, whatever the provider says.
func TestStateIsTheTruth(t *testing.T) {
	for _, c := range []struct {
		name   string
		change behaviour
		want   []bool // Known of the states after the first
		ok     bool
	}{
		{"it lies", behaviour{lies: true}, nil, false},
		{"it fails and changes nothing", behaviour{setErr: errors.New("no")}, nil, false},
		{"it fails after the change", behaviour{setErr: errors.New("timeout"), setsThenFails: true}, []bool{true}, true},
		{"it loses a record", behaviour{partial: true}, []bool{false}, false},
		{"it cannot be read", behaviour{getErr: errors.New("no")}, []bool{false}, false},
		{"it hangs", behaviour{slow: time.Hour}, []bool{false}, false},
		{"it is slow", behaviour{slow: 10 * time.Second}, []bool{false, true}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &provider{}
				b := newBench(t, p)
				if err := b.Rotate(t.Context()); err != nil {
					t.Fatal(err)
				}
				before := b.Current(0)
				p.become(c.change)
				if err := b.Rotate(t.Context()); (err == nil) != c.ok {
					t.Fatalf("Rotate: %v", err)
				}
				var known []bool
				for _, s := range b.states[1:] {
					known = append(known, s.Known)
				}
				if d := cmp.Diff(c.want, known); d != "" {
					t.Errorf("states %v (-want +got):\n%s", b.states, d)
				}
				switch {
				case len(c.want) == 0 && !maps.Equal(before, b.Current(0)):
					t.Errorf("current order %v, published %v", b.Current(0), before)
				case len(c.want) > 0 && (b.Current(0) != nil) != c.want[len(c.want)-1]:
					t.Errorf("current order %v", b.Current(0))
				}

				p.become(behaviour{})
				if err := b.Rotate(t.Context()); err != nil {
					t.Fatalf("after the provider recovered: %v", err)
				}
				if last := b.orders[len(b.orders)-1]; !maps.Equal(last, b.Current(0)) || last == nil {
					t.Errorf("last state %v, current %v", last, b.Current(0))
				}
			})
		})
	}
}

// Somebody else wrote the zone: what is there is recorded, although the turn
// failed.
func TestForeignOrderIsRecorded(t *testing.T) {
	p := &provider{}
	b := newBench(t, p)
	if err := b.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.become(behaviour{lies: true})
	p.records = nil
	want := map[string]int{"mx03": 1, "mx04": 2, "mx05": 3, "mx06": 4}
	for h, pref := range want {
		p.records = append(p.records, libdns.MX{Name: "et", Preference: uint16(pref), Target: h + ".et." + zone + "."})
	}
	if err := b.Rotate(t.Context()); err == nil {
		t.Error("no error")
	}
	if d := cmp.Diff(want, b.orders[len(b.orders)-1]); d != "" {
		t.Errorf("last state (-want +got):\n%s", d)
	}
}

func TestOptions(t *testing.T) {
	for want, change := range map[string]func(*mxrotator.Options){
		"zone is empty":    func(o *mxrotator.Options) { o.Zone = "." },
		"slots 0":          func(o *mxrotator.Options) { o.Slots = 0 },
		"no provider":      func(o *mxrotator.Options) { o.Provider = nil },
		"TTL 10m0s":        func(o *mxrotator.Options) { o.TTL = 10 * time.Minute },
		"gap 1s":           func(o *mxrotator.Options) { o.MinGap = time.Second },
		"the interval 30s": func(o *mxrotator.Options) { o.Interval, o.TTL = 30*time.Second, time.Minute },
	} {
		o := mxrotator.Options{Zone: zone, Slots: 1, Provider: &provider{}}
		change(&o)
		if _, err := mxrotator.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
