package mxrotator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libdns/libdns"

	"github.com/tlsink/tlsink/scenario"
)

// Provider is what the rotator needs of a libdns provider. If GetRecords can say
// which names it is not sure of, its error has the method Unconfirmed() []string,
// and the records of other names count.
type Provider interface {
	libdns.RecordGetter
	libdns.RecordSetter
}

// Options are the settings of a Rotator.
type Options struct {
	Zone     string // required
	Slots    int    // at least 1
	Provider Provider

	Interval time.Duration // between turns of a slot; default 5 min
	TTL      time.Duration // of the MX records; default 60 s, at most Interval
	MinGap   time.Duration // between a change of a slot and a triggered one; default and minimum TTL
	Timeout  time.Duration // of one call of the provider; default 30 s

	// Need returns what running tests need from the turn that begins, by slot;
	// nil: nothing. It must not block.
	Need func() map[int]Need

	// OnState is called, by one goroutine at a time, whenever what a slot
	// publishes changes, with the preference of each host label; never with an
	// order that was not read back. From the time on from which the order is not
	// known, every preference is 0: no host is preferred, and no silence means
	// anything. It must not call the rotator.
	OnState func(slot int, at time.Time, preferences map[string]int)

	Seed   uint64           // of the schedule
	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // default: discard
}

// Rotator changes the MX orders of a sink. Its methods are safe for concurrent use.
type Rotator struct {
	opts Options
	wake chan struct{}

	turning sync.Mutex // held over a whole turn

	mu    sync.Mutex
	slots []slot
}

// slot is what the rotator knows of one.
type slot struct {
	current   map[string]int // read back last; nil: not known
	read      time.Time      // when current was
	changed   time.Time      // last confirmed change
	announced bool           // OnState was called

	turn      uint64    // the number of the next one
	next      time.Time // when it comes
	along     bool      // it comes whenever slot 0 has one
	triggered bool      // one was asked for since the last one
	failures  int       // since the last one that succeeded
	tried     time.Time // when it was set last
}

// New returns a rotator; nothing happens before Run or Rotate.
func New(o Options) (*Rotator, error) {
	o.Zone = scenario.Canonical(o.Zone)
	setDefault(&o.Interval, 5*time.Minute)
	setDefault(&o.TTL, min(time.Minute, o.Interval))
	setDefault(&o.MinGap, o.TTL)
	setDefault(&o.Timeout, 30*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Need == nil {
		o.Need = func() map[int]Need { return nil }
	}
	if o.OnState == nil {
		o.OnState = func(int, time.Time, map[string]int) {}
	}
	switch {
	case o.Zone == "":
		return nil, errors.New("MX rotation: zone is empty; give the DNS zone of the sink")
	case o.Slots < 1:
		return nil, fmt.Errorf("MX rotation: slots %d: want at least 1", o.Slots)
	case o.Provider == nil:
		return nil, errors.New("MX rotation: no provider")
	case o.TTL < 0 || o.TTL > o.Interval:
		return nil, fmt.Errorf("MX rotation: TTL %s: want at most the interval %s, or resolvers miss turns", o.TTL, o.Interval)
	case o.MinGap < o.TTL:
		return nil, fmt.Errorf("MX rotation: gap %s: want at least the TTL %s", o.MinGap, o.TTL)
	}
	return &Rotator{opts: o, wake: make(chan struct{}, 1), slots: make([]slot, o.Slots)}, nil
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d == 0 {
		*d = v
	}
}

// Current returns the preferences of a slot that were read back last; nil if it
// is not known what is published.
func (r *Rotator) Current(slot int) map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slot < 0 || slot >= len(r.slots) {
		return nil
	}
	return maps.Clone(r.slots[slot].current)
}

// NextTurn returns when the order of a slot may change next; ok is false while it
// rests. What a test turns out to need may make it earlier.
func (r *Rotator) NextTurn(slot int) (at time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slot < 0 || slot >= len(r.slots) {
		return time.Time{}, false
	}
	at, ok = r.slots[slot].due(r.opts.MinGap)
	if !ok {
		return time.Time{}, false
	}
	if now := r.opts.Now(); at.Before(now) {
		at = now
	}
	return at, true
}

// Trigger asks for an early turn of these slots because what their tests need has
// changed. It comes at once, or MinGap after the last change. Trigger does not
// block.
func (r *Rotator) Trigger(slots ...int) {
	r.mu.Lock()
	for _, n := range slots {
		if n >= 0 && n < len(r.slots) {
			r.slots[n].triggered = true
		}
	}
	r.mu.Unlock()
	r.kick()
}

// kick makes Run look at the schedule again.
func (r *Rotator) kick() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run turns all slots at once, then slot 0 every Interval and the others as their
// tests need it, until ctx ends; then it returns nil. Failures are logged and the
// turn is tried again, with back-off.
func (r *Rotator) Run(ctx context.Context) error {
	r.mu.Lock()
	for n := range r.slots {
		r.slots[n].next, r.slots[n].along = r.opts.Now(), false
	}
	r.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-timer.C:
		}
		due, next := r.due()
		if len(due) > 0 {
			if err := r.rotate(ctx, due); err != nil && ctx.Err() == nil {
				failures, again := r.failed(due)
				r.opts.Logger.ErrorContext(ctx, "MX rotation failed", "err", err, "failures", failures, "retry_in", again)
			}
			_, next = r.due()
		}
		timer.Reset(max(0, next.Sub(r.opts.Now())))
	}
}

// due returns the slots whose turn it is, and when the next one comes.
func (r *Rotator) due() (slots []int, next time.Time) {
	now := r.opts.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	next = now.Add(r.opts.Interval)
	for n := range r.slots {
		at, ok := r.slots[n].due(r.opts.MinGap)
		switch {
		case ok && !at.After(now), len(slots) > 0 && slots[0] == 0 && r.slots[n].along:
			slots = append(slots, n)
		}
		if ok && at.Before(next) {
			next = at
		}
	}
	return slots, next
}

// due returns when the next turn of s comes, if it has one of its own.
func (s *slot) due(gap time.Duration) (at time.Time, ok bool) {
	at, ok = s.next, !s.along
	if !s.triggered || s.failures > 0 {
		return at, ok
	}
	if early := s.changed.Add(gap); !ok || early.Before(at) {
		return early, true
	}
	return at, ok
}

// failed returns what the log says of a turn of these slots.
func (r *Rotator) failed(slots []int) (failures int, again time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range slots {
		failures = max(failures, r.slots[n].failures)
	}
	return failures, r.backOff(failures)
}

// backOff grows from a sixtieth of the interval (5 s) to the interval.
func (r *Rotator) backOff(failures int) time.Duration {
	d := r.opts.Interval / 60
	for range min(failures-1, 10) {
		d *= 2
	}
	return min(d, r.opts.Interval)
}

// Rotate makes one turn of every slot, and repairs what somebody else has made of
// one. If it fails, the next call tries the same turn again. What counts is what
// the provider reads back, whatever SetRecords said.
func (r *Rotator) Rotate(ctx context.Context) error {
	all := make([]int, r.opts.Slots)
	for n := range all {
		all[n] = n
	}
	err := r.rotate(ctx, all)
	r.kick()
	return err
}

// rotate makes a turn of some slots.
func (r *Rotator) rotate(ctx context.Context, slots []int) error {
	r.turning.Lock()
	defer r.turning.Unlock()
	t := r.begin(slots)
	t.run(ctx)
	r.end(t)
	if len(t.failed) == 0 {
		return nil
	}
	errs := make([]error, 0, len(t.failed))
	for _, n := range slices.Sorted(maps.Keys(t.failed)) {
		errs = append(errs, fmt.Errorf("slot %d: %w", n, t.failed[n]))
	}
	return fmt.Errorf("rotate MX of zone %q: %w", r.opts.Zone, errors.Join(errs...))
}
