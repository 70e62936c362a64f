package mxrotator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tlsink/tlsink/scenario"
)

// slowChange is how long a change may take without its time being recorded as
// one of unknown order.
const slowChange = time.Second

// turn is one turn of some slots.
type turn struct {
	r      *Rotator
	slots  []int
	want   map[int]Order
	needy  map[int]bool  // a test needs something of it
	found  map[int]bool  // whatever is found is right, for now
	unread bool          // the last reading failed
	failed map[int]error // what did not become what it should be
}

// begin decides what the slots shall become.
func (r *Rotator) begin(slots []int) *turn {
	r.mu.Lock()
	for _, n := range slots {
		r.slots[n].triggered = false // before the need is asked for: another one may come
	}
	r.mu.Unlock()
	needs := r.opts.Need()
	t := &turn{r: r, slots: slots, want: make(map[int]Order), needy: make(map[int]bool), found: make(map[int]bool), failed: make(map[int]error)}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range slots {
		t.want[n] = NextOf(n, r.opts.Seed, r.slots[n].turn, needs[n])
		t.needy[n] = len(needs[n].lists()) > 0
		// Just after a restart it may not be known yet what a running test needs: its
		// order must not be taken away.
		t.found[n] = n > 0 && !r.slots[n].announced && !t.needy[n]
	}
	return t
}

// end plans the next turns. A slot that rests has none of its own: it is looked
// at whenever slot 0 turns.
func (r *Rotator) end(t *turn) {
	now := r.opts.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range t.slots {
		s := &r.slots[n]
		s.along = false
		switch {
		case t.failed[n] != nil:
			s.failures++
			s.next = now.Add(r.backOff(s.failures))
			continue
		case t.found[n]:
			s.next = now.Add(r.opts.MinGap)
		case n == 0 || t.needy[n]:
			s.next = now.Add(r.opts.Interval)
		default:
			s.along = true
		}
		s.turn++
		s.failures = 0
	}
}

// run publishes what the slots shall become. Changes go out in one call; slots
// that failed repeatedly get one each, so that they do not fail for the others.
// What is read back shows whether the slots that need no change are as they were.
func (t *turn) run(ctx context.Context) {
	together, alone, look := t.split()
	if look || len(together) > 0 {
		t.publish(ctx, together)
	}
	if again := t.differing(together, alone); len(again) > 0 {
		t.publish(ctx, again)
	}
	for i, n := range alone {
		began := t.r.opts.Now()
		t.publish(ctx, []int{n})
		if t.failed[n] != nil && t.r.opts.Now().Sub(began) >= t.r.opts.Timeout {
			for _, later := range alone[i+1:] { // their turn comes first the next time
				t.failed[later] = errors.New("not tried: the provider does not answer")
			}
			return
		}
	}
}

// split says which slots are set in one call and which alone, the one first that
// waits longest; look: some shall be read back at least.
func (t *turn) split() (together, alone []int, look bool) {
	r := t.r
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range t.slots {
		s := &r.slots[n]
		differs := !maps.Equal(s.current, t.want[n].Preferences())
		switch {
		case s.failures > 1 && len(t.slots) > 1 && differs:
			alone = append(alone, n)
		case n == 0, s.announced && differs:
			together = append(together, n)
		case s.current == nil:
			look = true // a restart: it may be what it shall become
		}
	}
	slices.SortStableFunc(alone, func(a, b int) int { return r.slots[a].tried.Compare(r.slots[b].tried) })
	return together, alone, look
}

// right reports whether an order is what the slot shall have.
func (t *turn) right(n int, order map[string]int) bool {
	return t.found[n] && order != nil || maps.Equal(order, t.want[n].Preferences())
}

// differing returns the slots that were not set, and have turned out to be not
// what they shall be.
func (t *turn) differing(set ...[]int) (out []int) {
	if t.unread {
		return nil
	}
	done := slices.Concat(set...)
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	for _, n := range t.slots {
		if !slices.Contains(done, n) && !t.right(n, t.r.slots[n].current) {
			out = append(out, n)
		}
	}
	return out
}

// reading is what was read back.
type reading struct {
	orders map[int]map[string]int // of each slot that is in order
	wrong  map[int]error          // why another one is not
	err    error                  // nothing could be read
	setErr error
}

// publish sets the orders of some slots, none to read only, and judges all slots
// by what is read back. If that takes long, it is said at once that nobody knows
// the orders: what happens meanwhile may be judged before the provider has answered.
func (t *turn) publish(ctx context.Context, set []int) {
	r := t.r
	began := r.opts.Now()
	r.mu.Lock()
	for _, n := range set {
		r.slots[n].tried = began
	}
	r.mu.Unlock()
	done := make(chan reading, 1)
	go func() {
		var setErr error
		if len(set) > 0 {
			setErr = r.set(ctx, set, t.want)
		}
		got := r.readBack(ctx)
		got.setErr = setErr
		done <- got
	}()
	timer := time.NewTimer(slowChange)
	defer timer.Stop()
	var got reading
	select {
	case got = <-done:
	case <-timer.C:
		for _, n := range set {
			r.observe(n, began, nil)
		}
		got = <-done
	}
	t.judge(ctx, set, began, got)
}

// judge takes what was read back.
func (t *turn) judge(ctx context.Context, set []int, began time.Time, got reading) {
	r := t.r
	t.unread = got.err != nil
	for n := range r.opts.Slots {
		mine := slices.Contains(set, n)
		switch {
		case mine:
			r.observe(n, began, got.orders[n])
		case got.err == nil:
			r.discover(n, got.orders[n], slices.Contains(t.slots, n))
		}
		if !slices.Contains(t.slots, n) {
			continue
		}
		delete(t.failed, n)
		switch {
		case t.right(n, got.orders[n]):
		case got.err != nil || got.wrong[n] != nil:
			t.fail(n, mine, got, errors.Join(got.err, got.wrong[n]))
		case mine:
			t.fail(n, mine, got, fmt.Errorf("the provider reads back %v instead of %v", got.orders[n], t.want[n].Preferences()))
		}
	}
	if got.setErr != nil && !slices.ContainsFunc(set, func(n int) bool { return t.failed[n] != nil }) {
		r.opts.Logger.WarnContext(ctx, "MX provider failed but the change is there", "err", got.setErr)
	}
}

// fail notes why a slot is not what it shall be. One whose order is known and
// right does not fail because it could not be read again.
func (t *turn) fail(n int, mine bool, got reading, err error) {
	if !mine && got.err != nil && t.right(n, t.r.Current(n)) {
		return
	}
	if mine {
		err = errors.Join(got.setErr, err)
	}
	t.failed[n] = err
}

// unknown are the preferences of a time when the order is not known.
func unknown() map[string]int {
	out := make(map[string]int, hosts)
	for _, h := range scenario.MXHosts() {
		out[string(h)] = 0
	}
	return out
}

// observe records what a slot publishes after a change that began at a time; nil
// if that is not known. While a slow provider is at work, nobody knows either.
func (r *Rotator) observe(n int, began time.Time, got map[string]int) {
	now := r.opts.Now()
	r.mu.Lock()
	s := &r.slots[n]
	before, announced := s.current, s.announced
	s.current, s.announced, s.read = got, true, now
	if got != nil && !maps.Equal(before, got) {
		s.changed = now
	}
	r.mu.Unlock()

	if announced && maps.Equal(before, got) {
		return
	}
	// What an earlier process announced may have ended just now, too.
	if (got == nil || now.Sub(began) > slowChange) && (before != nil || !announced) {
		r.opts.OnState(n, began, unknown())
	}
	if got != nil {
		r.opts.OnState(n, now, maps.Clone(got))
	}
}

// discover records what a slot publishes that was not changed here. If it is not
// what it was, somebody else has changed it since it was read last. A slot that
// is not in this turn gets one of its own, at once.
func (r *Rotator) discover(n int, got map[string]int, inTurn bool) {
	r.mu.Lock()
	s := &r.slots[n]
	since, first := s.read, !s.announced
	if first {
		since = r.opts.Now()
	}
	if !inTurn && !maps.Equal(s.current, got) && s.failures == 0 {
		s.next, s.along = r.opts.Now(), false
	}
	r.mu.Unlock()
	r.observe(n, since, got)
	if first { // it was not changed now, so that a test's need has not to wait
		r.mu.Lock()
		s.changed = time.Time{}
		r.mu.Unlock()
	}
}
