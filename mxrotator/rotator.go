package mxrotator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/libdns/libdns"

	"github.com/tlsink/tlsink/scenario"
)

// Provider is what the rotator needs of a libdns provider.
type Provider interface {
	libdns.RecordGetter
	libdns.RecordSetter
}

// Options are the settings of a Rotator.
type Options struct {
	Zone     string // required
	Slots    int    // at least 1; all slots get the same order
	Provider Provider

	Interval time.Duration // between turns; default 5 min
	TTL      time.Duration // of the MX records; default 60 s, at most Interval
	MinGap   time.Duration // between a change and a triggered one; default and minimum TTL
	Timeout  time.Duration // of one call of the provider; default 30 s

	// Need returns what running tests need from the turn that begins; nil:
	// nothing. It must not block.
	Need func() Need

	// OnState is called, by one goroutine at a time, whenever what is published
	// changes, with the preference of each host label; never with an order that
	// was not read back. From the time on from which the order is not known,
	// every preference is 0: no host is preferred, and no silence means
	// anything. It must not call the rotator.
	OnState func(at time.Time, preferences map[string]int)

	Seed   uint64           // of the schedule
	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // default: discard
}

// slowChange is how long a change may take without its time being recorded as
// one of unknown order.
const slowChange = time.Second

// Rotator changes the MX order of et. Its methods are safe for concurrent use.
type Rotator struct {
	opts Options
	wake chan struct{}

	rotating sync.Mutex // held over a whole turn; guards turn
	turn     uint64     // the number of the next one

	mu        sync.Mutex
	triggered bool // a turn was asked for since the last one
	current   map[string]int
	announced bool      // OnState was called
	changed   time.Time // last confirmed change
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
		o.Need = func() Need { return Need{} }
	}
	if o.OnState == nil {
		o.OnState = func(time.Time, map[string]int) {}
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
	return &Rotator{opts: o, wake: make(chan struct{}, 1)}, nil
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d == 0 {
		*d = v
	}
}

// Current returns the preferences that were read back last; nil if it is not
// known what is published.
func (r *Rotator) Current() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.current)
}

// Trigger asks for an early turn because what tests need has changed. It comes
// at once, or MinGap after the last change. Trigger does not block.
func (r *Rotator) Trigger() {
	r.mu.Lock()
	r.triggered = true
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run rotates at once, then every Interval, until ctx ends; then it returns
// nil. Failures are logged and the turn is tried again, with back-off.
func (r *Rotator) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := r.opts.Now()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
			if at, ok := r.early(next); ok && failures == 0 {
				next = at
				timer.Reset(next.Sub(r.opts.Now()))
			}
			continue
		case <-timer.C:
		}
		delay := r.opts.Interval
		if err := r.Rotate(ctx); err == nil {
			failures = 0
		} else if ctx.Err() == nil {
			failures++
			delay = r.backOff(failures)
			r.opts.Logger.ErrorContext(ctx, "MX rotation failed", "err", err, "failures", failures, "retry_in", delay)
		}
		next = r.opts.Now().Add(delay)
		timer.Reset(delay)
	}
}

// early returns when a triggered turn may come, if that is before next.
func (r *Rotator) early(next time.Time) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.changed.Add(r.opts.MinGap)
	return at, r.triggered && at.Before(next)
}

// backOff grows from a sixtieth of the interval (5 s) to the interval.
func (r *Rotator) backOff(failures int) time.Duration {
	d := r.opts.Interval / 60
	for range min(failures-1, 10) {
		d *= 2
	}
	return min(d, r.opts.Interval)
}

// Rotate makes one turn. If it fails, the next call tries the same turn again.
// What counts is what the provider reads back, whatever SetRecords said.
func (r *Rotator) Rotate(ctx context.Context) error {
	r.rotating.Lock()
	defer r.rotating.Unlock()
	r.mu.Lock()
	r.triggered = false
	r.mu.Unlock()
	order := Next(r.opts.Seed, r.turn, r.opts.Need())
	want := order.Preferences()

	began := r.opts.Now()
	got, setErr, err := r.publish(ctx, order, began)
	if err == nil && !maps.Equal(got, want) {
		err = fmt.Errorf("the provider reads back %v instead of %v", got, want)
	}
	if err != nil {
		r.observe(began, got)
		return fmt.Errorf("rotate MX of zone %q: %w", r.opts.Zone, errors.Join(setErr, err))
	}
	if setErr != nil {
		r.opts.Logger.WarnContext(ctx, "MX provider failed but the change is there", "err", setErr)
	}
	r.turn++
	r.observe(began, got)
	return nil
}

// publish writes an order and returns what is read back. If that takes long, it is
// said at once that nobody knows the order: what happens meanwhile may be judged
// before the provider has answered.
func (r *Rotator) publish(ctx context.Context, order Order, began time.Time) (got map[string]int, setErr, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		setErr = r.set(ctx, order)
		got, err = r.readBack(ctx)
	}()
	timer := time.NewTimer(slowChange)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		r.observe(began, nil)
		<-done
	}
	return got, setErr, err
}

// unknown are the preferences of a time when the order is not known.
func unknown() map[string]int {
	out := make(map[string]int, hosts)
	for _, h := range scenario.MXHosts() {
		out[string(h)] = 0
	}
	return out
}

// observe records what is published after a change that began at a time; nil
// if that is not known. While a slow provider is at work, nobody knows either.
func (r *Rotator) observe(began time.Time, got map[string]int) {
	now := r.opts.Now()
	r.mu.Lock()
	before, announced := r.current, r.announced
	r.current, r.announced = got, true
	if got != nil && !maps.Equal(before, got) {
		r.changed = now
	}
	r.mu.Unlock()

	if announced && maps.Equal(before, got) {
		return
	}
	// What an earlier process announced may have ended just now, too.
	if (got == nil || now.Sub(began) > slowChange) && (before != nil || !announced) {
		r.opts.OnState(began, unknown())
	}
	if got != nil {
		r.opts.OnState(now, maps.Clone(got))
	}
}

// set writes the whole MX RRset of every slot in one call: a partial RRset
// would be an order that nobody chose.
func (r *Rotator) set(ctx context.Context, order Order) error {
	var records []libdns.Record
	for slot := range r.opts.Slots {
		names := scenario.Names(r.opts.Zone, slot)
		for i, h := range order {
			records = append(records, libdns.MX{
				Name:       libdns.RelativeName(names.ET, r.opts.Zone),
				TTL:        r.opts.TTL,
				Preference: uint16(10 * (i + 1)),
				Target:     names.Host(h) + ".",
			})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	if _, err := r.opts.Provider.SetRecords(ctx, r.opts.Zone+".", records); err != nil {
		return fmt.Errorf("set records: %w", err)
	}
	return nil
}

// readBack returns the preferences that all slots share. It fails if the
// provider does, or if a slot has not each of the four hosts exactly once.
func (r *Rotator) readBack(ctx context.Context) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	records, err := r.opts.Provider.GetRecords(ctx, r.opts.Zone+".")
	if err != nil {
		return nil, fmt.Errorf("read records back: %w", err)
	}
	slots := make([]map[string]int, r.opts.Slots)
	for i := range slots {
		slots[i] = make(map[string]int, hosts)
	}
	for _, record := range records {
		if err := r.collect(slots, record.RR()); err != nil {
			return nil, err
		}
	}
	for slot, preferences := range slots {
		if len(preferences) != hosts {
			return nil, fmt.Errorf("slot %d has MX records for %d hosts instead of %d", slot, len(preferences), hosts)
		}
		if !maps.Equal(preferences, slots[0]) {
			return nil, fmt.Errorf("slot %d has MX preferences %v, slot 0 has %v", slot, preferences, slots[0])
		}
	}
	return slots[0], nil
}

// collect adds a record to its slot if it is an MX record of one.
func (r *Rotator) collect(slots []map[string]int, rr libdns.RR) error {
	if !strings.EqualFold(rr.Type, "MX") {
		return nil
	}
	owner, ok := scenario.Find(r.opts.Zone, r.absolute(rr.Name))
	if !ok || owner.Role != scenario.RoleET || owner.Slot >= len(slots) {
		return nil
	}
	parsed, err := rr.Parse()
	if err != nil {
		return fmt.Errorf("MX record %q: %w", rr.Data, err)
	}
	mx, ok := parsed.(libdns.MX)
	if !ok {
		return fmt.Errorf("MX record %q: parsed as %T", rr.Data, parsed)
	}
	target, ok := scenario.Find(r.opts.Zone, r.absolute(mx.Target))
	if !ok || target.Role != scenario.RoleMX || target.Slot != owner.Slot {
		return fmt.Errorf("MX record of %s points to %q, which is not of that slot", rr.Name, mx.Target)
	}
	label := string(target.Host)
	if _, dup := slots[owner.Slot][label]; dup {
		return fmt.Errorf("two MX records of %s point to %s", rr.Name, label)
	}
	slots[owner.Slot][label] = int(mx.Preference)
	return nil
}

// absolute returns a name of the zone, which providers give relative or
// absolute, with or without a trailing dot.
func (r *Rotator) absolute(name string) string {
	c := scenario.Canonical(name)
	if strings.HasSuffix(name, ".") || c == r.opts.Zone || strings.HasSuffix(c, "."+r.opts.Zone) {
		return c
	}
	return scenario.Canonical(libdns.AbsoluteName(c, r.opts.Zone))
}
