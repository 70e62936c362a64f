package lease

import (
	"net/netip"
	"slices"
	"time"
)

// entry is one lease. What has a JSON name is kept over restarts.
type entry struct {
	ID         string    `json:"id"`
	Capability string    `json:"capability"`
	Token      string    `json:"token"`
	Language   string    `json:"language"`
	State      State     `json:"state"`
	Slot       int       `json:"slot,omitempty"` // also while it rests
	Created    time.Time `json:"created,omitzero"`
	Leased     time.Time `json:"leased,omitzero"`
	Expires    time.Time `json:"expires,omitzero"` // while waiting
	Claimed    time.Time `json:"claimed,omitzero"`
	Over       time.Time `json:"over,omitzero"`
	Used       time.Time `json:"used,omitzero"`  // last use of its slot; zero: never
	Until      time.Time `json:"until,omitzero"` // once over: forgotten then, its slot is free

	network netip.Prefix // of the client; not known after a restart
	seen    time.Time    // while queued: last looked at
	named   time.Time    // while waiting: when its token was last accepted as a recipient; no session outlives a restart
}

// book is everything that is known of leases. The caller holds the lock.
type book struct {
	list   []*entry // in the order of their creation: so is the queue
	slots  []*entry // who has a slot; 0 is nobody's
	freed  []time.Time
	byCap  map[[32]byte]*entry
	byName map[string]*entry // token
	byID   map[string]*entry
}

func newBook(slots int) book {
	return book{
		slots: make([]*entry, slots), freed: make([]time.Time, slots),
		byCap: make(map[[32]byte]*entry), byName: make(map[string]*entry), byID: make(map[string]*entry),
	}
}

func (b *book) add(e *entry) {
	b.list = append(b.list, e)
	b.byCap[hash(e.Capability)], b.byName[e.Token], b.byID[e.ID] = e, e, e
	if e.Slot > 0 {
		b.slots[e.Slot] = e
	}
}

// remove forgets an entry. Its slot is free at the given time.
func (b *book) remove(e *entry, now time.Time) {
	b.list = slices.DeleteFunc(b.list, func(o *entry) bool { return o == e })
	delete(b.byCap, hash(e.Capability))
	delete(b.byName, e.Token)
	delete(b.byID, e.ID)
	if e.Slot > 0 && b.slots[e.Slot] == e {
		b.slots[e.Slot], b.freed[e.Slot] = nil, now
	}
}

// position of a queued entry; 1 is next.
func (b *book) position(e *entry) int {
	n := 0
	for _, o := range b.list {
		if o.State == Queued {
			n++
		}
		if o == e {
			break
		}
	}
	return n
}

func (b *book) queued() (n int) {
	for _, e := range b.list {
		if e.State == Queued {
			n++
		}
	}
	return n
}

// taken counts what a network has.
func (b *book) taken(network netip.Prefix) (n int) {
	for _, e := range b.list {
		if e.network == network && !e.State.over() {
			n++
		}
	}
	return n
}

// held counts what a network has, and the slots that rest after it: else one
// client could use and give up all of them in a minute, and nobody would get one
// for a day.
func (b *book) held(network netip.Prefix) (n int) {
	for _, e := range b.list {
		if e.network == network && (!e.State.over() || e.Slot > 0) {
			n++
		}
	}
	return n
}

// free returns the slot that has been free for longest, 0 if none is.
func (b *book) free() int {
	slot := 0
	for s := 1; s < len(b.slots); s++ {
		if b.slots[s] == nil && (slot == 0 || b.freed[s].Before(b.freed[slot])) {
			slot = s
		}
	}
	return slot
}

// expected is when the slot for a place in the queue is free, as far as slots
// that rest tell.
func (b *book) expected(position int, short time.Duration) time.Time {
	var rest []time.Time
	for _, e := range b.slots {
		if e != nil && e.State.over() {
			rest = append(rest, e.wanted(short))
		}
	}
	slices.SortFunc(rest, time.Time.Compare)
	if position < 1 || position > len(rest) {
		return time.Time{}
	}
	return rest[position-1]
}

// due is when a lease that waits expires: not while a mail to it is on its way.
func (m *Manager) due(e *entry) time.Time { return later(e.Expires, e.named.Add(m.o.Session)) }

// advance does what is due, and returns the ids of those whose state or place
// changed.
func (m *Manager) advance(now time.Time) (changed []string) {
	var over []*entry
	left := false
	for _, e := range m.book.list {
		switch {
		case e.State == Queued && now.Sub(e.seen) >= m.o.Absent:
			m.expire(e, now)
			changed, left = append(changed, e.ID), true
		case e.State == Waiting && !now.Before(m.due(e)):
			m.expire(e, m.due(e))
			changed = append(changed, e.ID)
		}
		if e.State.over() && !now.Before(e.Until) {
			over = append(over, e)
		}
	}
	for _, e := range over {
		m.book.remove(e, e.Until)
		m.version++
	}
	for _, e := range slices.Clone(m.book.list) {
		if e.State != Queued {
			continue
		}
		slot := m.book.free()
		if slot == 0 {
			slot = m.release(now)
		}
		if slot == 0 {
			break
		}
		e.State, e.Slot, e.Leased, e.Expires = Waiting, slot, now, now.Add(m.o.Wait)
		m.book.slots[slot] = e
		m.version++
		m.o.Waited(now.Sub(e.Created))
		changed, left = append(changed, e.ID), true
	}
	if left { // those behind move up
		changed = append(changed, m.queue()...)
	}
	return changed
}

// wanted is when the slot of a lease that is over is given away if somebody waits
// for it. One that no mail ever came to rests shortly then: strangers could fetch
// the policies of all slots, and nobody would get one for a day. What a sender
// may remember of such a slot is no more than what all remember of slot 0.
func (e *entry) wanted(rest time.Duration) time.Time {
	if e.State == Expired && e.Claimed.IsZero() && e.Over.Add(rest).Before(e.Until) {
		return e.Over.Add(rest)
	}
	return e.Until
}

// release ends the rest of a slot that somebody waits for, and returns it; 0 if
// all have to go on.
func (m *Manager) release(now time.Time) int {
	for _, e := range m.book.slots {
		if e != nil && e.State.over() && !now.Before(e.wanted(m.o.Rest)) {
			m.book.remove(e, now)
			m.version++
			return e.Slot
		}
	}
	return 0
}

// queue lists the ids of those who wait for a slot.
func (m *Manager) queue() (ids []string) {
	for _, e := range m.book.list {
		if e.State == Queued {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// expire ends a lease that no mail came for.
func (m *Manager) expire(e *entry, at time.Time) {
	m.version++
	e.State, e.Over = Expired, at
	switch {
	case e.Slot == 0:
		e.Until = at.Add(m.o.Wait)
		m.forgetOldest()
	case e.Used.IsZero():
		e.Until = at.Add(m.o.Rest)
	default:
		e.Until = later(e.Used, at).Add(m.o.Quarantine)
	}
}

// forgetOldest bounds how many lost places are remembered.
func (m *Manager) forgetOldest() {
	n := 0
	for _, e := range slices.Backward(m.book.list) {
		if e.State != Expired || e.Slot > 0 {
			continue
		}
		if n++; n > mostLost {
			e.Until = e.Over // the next one that looks takes it away
		}
	}
}

// mostLost is how many lost places are remembered, for their pages.
const mostLost = 200

// next is when advance has something to do.
func (m *Manager) next() time.Time {
	var next time.Time
	waits := m.book.queued() > 0
	for _, e := range m.book.list {
		at := e.Until
		if waits && e.State.over() && e.Slot > 0 {
			at = e.wanted(m.o.Rest)
		}
		switch e.State {
		case Queued:
			at = e.seen.Add(m.o.Absent)
		case Waiting:
			at = m.due(e)
		case Running:
			continue
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

// finish ends a lease whose test is over.
func (m *Manager) finish(e *entry, now time.Time) {
	m.version++
	e.State, e.Over, e.Used = Ended, now, later(e.Used, now)
	e.Until = e.Used.Add(m.o.Quarantine)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
