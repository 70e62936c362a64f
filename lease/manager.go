package lease

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/tlsink/tlsink/scenario"
)

// Manager gives slots to tests. See the package comment.
type Manager struct {
	o    Options
	wake chan struct{}

	saving chan struct{} // holds one token: who has it writes
	saved  uint64        // the version that is in the store

	aside []*entry // leases of slots that there are no more

	mu      sync.Mutex
	book    book
	version uint64 // counts changes of what is stored
}

// hash is how capabilities are looked up: how long that takes tells nothing
// about those that exist.
func hash(capability string) [32]byte { return sha256.Sum256([]byte(capability)) }

// New returns a Manager that knows what the store knows. Nothing that depends on
// time alone happens before Run.
func New(_ context.Context, o Options) (*Manager, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	m := &Manager{o: o, wake: make(chan struct{}, 1), saving: make(chan struct{}, 1), book: newBook(o.Slots)}
	m.saving <- struct{}{}
	if err := m.load(); err != nil {
		return nil, fmt.Errorf("leased slots (value %q of the store): %w", Key, err)
	}
	if err := m.compare(true); err != nil {
		return nil, fmt.Errorf("leased slots: %w", err)
	}
	return m, nil
}

// Start takes a slot for a test, or a place in the queue for one. The address of
// the client limits how many it may have; it is not stored. Errors are ErrBusy,
// ErrTooMany, or those of the store; then nothing was taken.
func (m *Manager) Start(ctx context.Context, client netip.Addr, language string) (Ticket, error) {
	s, err := newSecrets(m.o.Rand)
	if err != nil {
		return Ticket{}, err
	}
	e := &entry{
		ID: s.id, Capability: s.capability, Token: scenario.Token(language, s.random), Language: language,
		State: Queued, network: networkOf(client),
	}
	if _, ok := scenario.ParseToken(e.Token); !ok {
		return Ticket{}, fmt.Errorf("language %q: want en or de", language)
	}
	old, err := m.tested(e.ID)
	if err != nil {
		return Ticket{}, err
	}
	m.mu.Lock()
	now := m.o.Now()
	e.Created, e.seen = now, now
	changed := m.advance(now)
	switch {
	case old || m.book.byID[e.ID] != nil || m.book.byName[e.Token] != nil:
		err = errors.New("a random id came twice: try again")
	case m.book.taken(e.network) >= m.o.Limits.PerNetwork, m.book.held(e.network) >= m.o.share():
		err = ErrTooMany
	case m.o.Slots < 2 || m.book.queued() >= m.o.Limits.Queue:
		err = ErrBusy
	}
	if err != nil {
		m.mu.Unlock()
		m.tell(changed)
		return Ticket{}, err
	}
	m.book.add(e)
	m.version++
	m.tell(append(changed, m.advance(now)...))
	m.mu.Unlock()
	if err := m.save(ctx); err != nil {
		m.mu.Lock()
		m.book.remove(e, now)
		m.version++
		changed = m.advance(m.o.Now())
		m.mu.Unlock()
		m.tell(changed)
		return Ticket{}, fmt.Errorf("store a lease: %w", err)
	}
	m.poke()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ticket(e), nil
}

// tested reports whether there is a test of an id.
func (m *Manager) tested(id string) (bool, error) {
	if m.o.Test == nil {
		return false, nil
	}
	exists, _, err := m.o.Test(id)
	if err != nil {
		return false, fmt.Errorf("test %s: %w", id, err)
	}
	return exists, nil
}

// Ticket returns what a capability stands for; ok is false if it is no lease, or
// one that was forgotten. To ask keeps the place in the queue.
func (m *Manager) Ticket(capability string) (Ticket, bool) {
	m.mu.Lock()
	now := m.o.Now()
	e := m.book.byCap[hash(capability)]
	if e != nil && e.State == Queued && now.Sub(e.seen) < m.o.Absent {
		e.seen = now
	}
	changed := m.advance(now)
	var t Ticket
	e = m.book.byCap[hash(capability)]
	if e != nil {
		t = m.ticket(e)
	}
	m.mu.Unlock()
	if len(changed) > 0 {
		m.tell(changed)
		m.poke()
	}
	return t, e != nil
}

// ByID returns a lease by the id of its test. It keeps no place in the queue.
func (m *Manager) ByID(id string) (Ticket, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.book.byID[id]
	if e == nil {
		return Ticket{}, false
	}
	return m.ticket(e), true
}

func (m *Manager) ticket(e *entry) Ticket {
	t := Ticket{
		ID: e.ID, Capability: e.Capability, Token: e.Token, Language: e.Language, State: e.State, Slot: e.Slot,
		Created: e.Created, Leased: e.Leased,
	}
	switch e.State {
	case Queued:
		t.Position = m.book.position(e)
		t.Free = m.book.expected(t.Position, m.o.Rest)
	case Waiting:
		t.Expires = e.Expires
	case Expired:
		t.Slot = 0
	}
	return t
}

// Cancel gives up a lease that waits, or a place in the queue. Errors are
// ErrUnknown, ErrBegun, or those of the store: then it is given up, but a
// restart may bring it back.
func (m *Manager) Cancel(ctx context.Context, capability string) error {
	m.mu.Lock()
	now := m.o.Now()
	changed := m.advance(now)
	e := m.book.byCap[hash(capability)]
	var err error
	switch {
	case e == nil:
		err = ErrUnknown
	case e.State != Queued && e.State != Waiting, now.Before(e.named.Add(m.o.Session)):
		err = ErrBegun
	default:
		m.expire(e, now)
		changed = append(changed, e.ID)
		changed = append(changed, m.queue()...)
		changed = append(changed, m.advance(now)...)
	}
	m.mu.Unlock()
	m.tell(changed)
	if err != nil {
		return err
	}
	m.poke()
	if err := m.save(ctx); err != nil {
		return fmt.Errorf("store that a lease was given up: %w", err)
	}
	return nil
}

// Leased reports whether a recipient, a token at a slot, is accepted: while its
// test may begin, while it runs, and for as long after it as the slot rests at
// least. If so, a mail is on its way: the lease does not expire before that has
// come, and the slot has been used.
func (m *Manager) Leased(slot int, token string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, now := m.at(slot, token), m.o.Now()
	switch {
	case e == nil:
		return false
	case e.State == Waiting && now.Before(e.Expires):
		if now.Sub(e.named) >= leisure {
			m.poke() // a crash must not lose that it waits for longer
		}
		e.named = now
	case e.State == Running:
	case e.State == Ended && now.Before(e.Over.Add(m.o.Quarantine)):
	default:
		return false
	}
	m.use(e, now)
	return true
}

// at returns the entry that has a slot, if the token is its.
func (m *Manager) at(slot int, token string) *entry {
	e := m.book.byName[token]
	if slot < 1 || e == nil || e.Slot != slot {
		return nil
	}
	return e
}

// Claim says what the test of a mail to a token is called; ok is false if the
// token has none to give, or its test is over. The test may exist already.
func (m *Manager) Claim(slot int, token string) (id, capability string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.at(slot, token)
	if e == nil || e.State.over() {
		return "", "", false
	}
	now := m.o.Now()
	e.Used = now
	m.version++
	if e.State == Waiting {
		e.State, e.Claimed = Running, now
		m.o.Changed(e.ID)
		m.poke()
	}
	return e.ID, e.Capability, true
}

// Used notes that somebody used the names of a slot: handed over mail, named it
// in SNI, or fetched its policy.
func (m *Manager) Used(slot int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slot < 1 || slot >= len(m.book.slots) || m.book.slots[slot] == nil {
		return
	}
	m.use(m.book.slots[slot], m.o.Now())
}

// use notes that the slot of a lease was used.
func (m *Manager) use(e *entry, now time.Time) {
	e.Used = now
	m.version++ // written by Run, at its leisure
	switch e.State {
	case Waiting:
		m.prolong(e, now)
	case Ended, Expired:
		// Nobody can keep a slot for ever.
		until := now.Add(m.o.Quarantine)
		if last := e.Over.Add(2 * m.o.Quarantine); until.After(last) {
			until = last
		}
		e.Until = later(e.Until, until)
	}
}

// Asked notes a DNS query for mail to a slot: its sender may be on its way, or
// wait for better conditions, so the lease does not expire.
func (m *Manager) Asked(slot int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slot < 1 || slot >= len(m.book.slots) || m.book.slots[slot] == nil {
		return
	}
	if e := m.book.slots[slot]; e.State == Waiting {
		m.prolong(e, m.o.Now())
	}
}

// longest is how many times Options.Wait a lease waits at most.
const longest = 4

// prolong lets a lease wait for longer.
func (m *Manager) prolong(e *entry, now time.Time) {
	if !now.Before(e.Expires) {
		return
	}
	until := now.Add(m.o.Wait)
	if last := e.Leased.Add(longest * m.o.Wait); until.After(last) {
		until = last
	}
	if until.After(e.Expires) {
		e.Expires = until
		m.version++
		m.o.Changed(e.ID)
	}
}

// Ended notes that the test of a lease was acked or closed: its slot rests.
func (m *Manager) Ended(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.book.byID[id]; e != nil && e.State == Running {
		m.finish(e, m.o.Now())
		m.o.Changed(id)
		m.poke()
	}
}

// Slots tells what becomes of each slot that can be leased.
func (m *Manager) Slots() []SlotState {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []SlotState
	for slot := 1; slot < len(m.book.slots); slot++ {
		s := SlotState{Slot: slot, State: Free, Since: m.book.freed[slot]}
		if e := m.book.slots[slot]; e != nil {
			s.Test, s.State = e.ID, e.State
			switch e.State {
			case Waiting:
				s.Since, s.Until = e.Leased, e.Expires
			case Running:
				s.Since = e.Claimed
			default:
				s.State, s.Since, s.Until = Resting, e.Over, e.Until
			}
		}
		out = append(out, s)
	}
	return out
}

// Queued returns how many wait for a slot.
func (m *Manager) Queued() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.book.queued()
}

func (m *Manager) tell(ids []string) {
	for _, id := range ids {
		m.o.Changed(id)
	}
}

// poke wakes Run: it writes what has changed, and looks when it is needed next.
func (m *Manager) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}
