package live

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/tlsink/tlsink/report"
)

// A topic is one test that somebody looks at. Its fields belong to the mutex of
// the hub, but for the last ones.
//
//	idle ──touch, Status──▶ scheduled ──pace, timer──▶ loading ──▶ idle
//	  └── nobody looks for Interval ──▶ dropped
type topic struct {
	capability, id string
	watchers       int // who wait for changes
	callers        int // who are inside Status or Watch

	dirty   bool // something may have changed since the begin of the last load
	void    bool // what was loaded may be shown to nobody any more
	loading bool
	timer   *time.Timer // of the next load, or of dropping
	due     time.Time   // when that load may begin; zero: none is scheduled
	dropped bool

	began, ended time.Time // the last load
	loads        int       // how many have ended
	result       *loaded   // of the last one without an error; nil if there is none
	err          error     // of the last one
	changed      chan struct{}

	mu    sync.Mutex // held while a status is put into words, never with that of the hub
	faces map[report.Language]face
}

// loaded is a snapshot.
type loaded struct {
	number   int
	snapshot Snapshot
	found    bool
}

// A face is what snapshot number n looks like in one language. It is made once
// for all who read it.
type face struct {
	number int
	status *Status
}

// in puts r into words. A status that has not changed is that of the snapshot
// before; of a snapshot that has been replaced already it is the newer one.
func (t *topic) in(r *loaded, l report.Language) *Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, ok := t.faces[l]
	if ok && f.number >= r.number {
		return f.status
	}
	status := Of(r.snapshot, l)
	if ok && alike(f.status, status) {
		status = f.status
	}
	if t.faces == nil {
		t.faces = make(map[report.Language]face)
	}
	t.faces[l] = face{r.number, status}
	return status
}

// alike reports whether two statuses differ in nothing but the time they were
// made.
func alike(a, b *Status) bool {
	x, y := *a, *b
	x.Now, y.Now = time.Time{}, time.Time{}
	return reflect.DeepEqual(x, y)
}

// current returns a status that is fresh enough, after a load if need be.
func (h *Hub) current(ctx context.Context, t *topic, l report.Language) (*Status, bool, error) {
	h.mu.Lock()
	before := t.loads
	for !h.closed && !h.fresh(t) && (t.loads == before || t.void) {
		if !t.loading {
			h.schedule(t, time.Time{}) //nolint:contextcheck // a load is for all who ask, and outlives this one
		}
		changed := t.changed
		h.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		h.mu.Lock()
	}
	r, err, closed := t.result, t.err, h.closed
	h.mu.Unlock()
	switch {
	case closed:
		return nil, false, ErrClosed
	case err != nil:
		return nil, false, err
	case !r.found:
		return nil, false, nil
	}
	status := *t.in(r, l)
	status.Now = r.snapshot.Now.UTC()
	return &status, true, nil
}

// fresh reports whether the last load is recent enough, or nothing has changed
// since: of a test that is watched, that would have been told.
func (h *Hub) fresh(t *topic) bool {
	if t.result == nil || t.err != nil || t.void {
		return false
	}
	return t.watchers > 0 && t.result.found && !t.dirty || h.o.Now().Sub(t.began) <= h.o.Interval
}

// latest returns what a watcher is to be shown now, and what tells of the next.
func (h *Hub) latest(t *topic, l report.Language) (*Status, <-chan struct{}, error) {
	h.mu.Lock()
	r, changed, closed := t.result, t.changed, h.closed
	h.mu.Unlock()
	switch {
	case closed:
		return nil, nil, ErrClosed
	case !r.found:
		return nil, nil, ErrGone
	}
	return t.in(r, l), changed, nil
}

// join finds or begins the topic of a capability, and keeps it until leave.
func (h *Hub) join(capability string) (*topic, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	t := h.topics[capability]
	if t == nil {
		t = &topic{capability: capability, changed: make(chan struct{})}
		h.topics[capability] = t
	}
	t.callers++
	return t, nil
}

func (h *Hub) leave(t *topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.callers--
	h.linger(t)
}

// linger drops a topic that nobody looks at, but not before Interval has passed
// since its last load: whoever asks again and again causes no more loads.
func (h *Hub) linger(t *topic) {
	if t.watchers > 0 || t.callers > 0 || t.loading || t.dropped {
		return
	}
	stop(t)
	rest := t.ended.Add(h.o.Interval).Sub(h.o.Now())
	if t.loads == 0 || t.err == nil && !t.result.found || rest <= 0 {
		h.drop(t)
		return
	}
	t.timer = time.AfterFunc(rest, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if t.watchers == 0 && t.callers == 0 && !t.loading {
			h.drop(t)
		}
	})
}

// drop forgets a topic and wakes who still waits for it.
func (h *Hub) drop(t *topic) {
	if t.dropped {
		return
	}
	t.dropped = true
	stop(t)
	delete(h.topics, t.capability)
	if h.byTest[t.id] == t {
		delete(h.byTest, t.id)
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

func stop(t *topic) {
	if t.timer != nil {
		t.timer.Stop()
	}
	t.timer, t.due = nil, time.Time{}
}

func (h *Hub) touch(t *topic) {
	t.dirty = true
	if t.watchers > 0 || t.callers > 0 {
		h.schedule(t, time.Time{})
	}
}

// schedule lets a load begin at the given time, but no sooner than the pace
// allows. An earlier one that is scheduled already stays.
func (h *Hub) schedule(t *topic, at time.Time) {
	if t.loading || t.dropped || h.closed {
		return // what is dirty is loaded once the load has ended
	}
	now := h.o.Now()
	if t.loads > 0 {
		pace := max(h.o.Interval, share*t.ended.Sub(t.began))
		if next := t.began.Add(pace); at.Before(next) {
			at = next
		}
	}
	if at.Before(now) {
		at = now
	}
	if !t.due.IsZero() && !at.Before(t.due) {
		return
	}
	stop(t)
	t.due = at
	t.timer = time.AfterFunc(at.Sub(now), func() { h.load(t) })
}

// load is one load, from the timer of its topic.
func (h *Hub) load(t *topic) {
	h.mu.Lock()
	if t.loading || t.dropped || h.closed {
		h.mu.Unlock()
		return
	}
	t.loading, t.timer, t.due = true, nil, time.Time{}
	h.running.Add(1)
	h.mu.Unlock()
	defer h.running.Done()

	select {
	case h.loads <- struct{}{}:
		defer func() { <-h.loads }()
	case <-h.ctx.Done():
		h.finish(t, nil, ErrClosed)
		return
	}
	h.mu.Lock()
	t.dirty, t.void, t.began = false, false, h.o.Now()
	number := t.loads + 1
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(h.ctx, loadTimeout)
	snapshot, found, err := h.o.Load(ctx, t.capability)
	cancel()
	if err != nil && h.ctx.Err() == nil {
		h.o.Logger.Warn("status of a test could not be loaded", "error", err)
	}
	h.finish(t, &loaded{number, snapshot, found}, err)
}

// finish takes over what was loaded, and wakes all who wait for it.
func (h *Hub) finish(t *topic, now *loaded, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.loading, t.ended, t.err = false, h.o.Now(), err
	t.loads++
	if err == nil {
		t.result = now
		if id := now.snapshot.ID; now.found && !t.dropped && id != "" && t.id != id {
			delete(h.byTest, t.id)
			t.id, h.byTest[id] = id, t
		}
	}
	close(t.changed)
	t.changed = make(chan struct{})
	if t.watchers == 0 && t.callers == 0 {
		h.linger(t)
		return
	}
	h.again(t)
}

// again schedules the next load of a topic that somebody looks at.
func (h *Hub) again(t *topic) {
	switch {
	case t.dirty:
		h.schedule(t, time.Time{})
	case t.watchers == 0 || t.result == nil:
	case t.err != nil:
		h.schedule(t, t.began.Add(min(h.o.Refresh, 10*h.o.Interval)))
	case t.result.found && !stateOf(t.result.snapshot).Over():
		at := t.began.Add(h.o.Refresh)
		if next := nextChange(t.result.snapshot); next.After(h.o.Now()) && next.Before(at) {
			at = next
		}
		h.schedule(t, at)
	}
}

// nextChange is when a test changes with nothing but time.
func nextChange(s Snapshot) time.Time {
	var next time.Time
	times := []time.Time{s.PhaseEnds, s.NextTurn}
	if s.Booking != nil {
		times = append(times, s.Booking.Expires)
	}
	for _, at := range times {
		if at.After(s.Now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}
