package lease

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tlsink/tlsink/scenario"
)

// schema is the version of the stored value.
const schema = 1

// stored is what is kept over restarts.
type stored struct {
	Schema int         `json:"schema"`
	Zone   string      `json:"zone"`
	Leases []*entry    `json:"leases"`
	Freed  []time.Time `json:"freed"` // by slot
}

// load reads what was stored. A value that cannot be understood is an error: to
// start afresh would give slots away that somebody still uses.
func (m *Manager) load() error {
	b, err := m.o.Store.Load(Key)
	if err != nil || b == nil {
		return err
	}
	s, err := decode(b)
	if err != nil {
		return fmt.Errorf("%w: restore a backup, or delete the value once no test runs", err)
	}
	if s.Zone != m.o.Zone {
		m.o.Logger.Warn("leases of another zone are dropped", "zone", s.Zone)
		return nil
	}
	now := m.o.Now()
	for slot := 1; slot < min(len(s.Freed), m.o.Slots); slot++ {
		m.book.freed[slot] = s.Freed[slot]
	}
	for _, e := range s.Leases {
		if e.Slot >= m.o.Slots {
			m.putAside(e, now)
			continue
		}
		e.seen = now // nobody could look while we were away
		m.book.add(e)
	}
	return nil
}

// putAside ends a lease of a slot that there is no more. Should there be as many
// slots again, that one still rests.
func (m *Manager) putAside(e *entry, now time.Time) {
	m.o.Logger.Warn("lease ended: there are fewer slots now", "test", e.ID, "slot", e.Slot)
	m.version++
	switch e.State {
	case Waiting:
		m.expire(e, now)
	case Running:
		m.finish(e, now)
	}
	if now.Before(e.Until) {
		m.aside = append(m.aside, e)
	}
}

// decode reads a stored value, and checks what everything else rests on.
func decode(b []byte) (stored, error) {
	var s stored
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("damaged: %w", err)
	}
	if s.Schema != schema {
		return s, fmt.Errorf("schema %d, this tlsink knows %d", s.Schema, schema)
	}
	slots, names := make(map[int]bool), make(map[string]bool)
	for i, e := range s.Leases {
		if e == nil {
			return s, fmt.Errorf("damaged: lease %d is null", i)
		}
		if err := e.check(); err != nil {
			return s, fmt.Errorf("damaged: lease %d, %q: %w", i, e.ID, err)
		}
		if slots[e.Slot] && e.Slot > 0 {
			return s, fmt.Errorf("damaged: slot %d is leased twice", e.Slot)
		}
		slots[e.Slot] = true
		for _, name := range []string{"id " + e.ID, "capability " + e.Capability, "token " + e.Token} {
			if names[name] {
				return s, fmt.Errorf("damaged: %s is there twice", name[:2])
			}
			names[name] = true
		}
	}
	return s, nil
}

func (e *entry) check() error {
	language, ok := scenario.ParseToken(e.Token)
	switch {
	case e.ID == "" || e.Capability == "":
		return errors.New("no id, or no capability")
	case !ok || language != e.Language:
		return errors.New("its token is none of its language")
	case e.Slot < 0 || e.Slot == 0 && (e.State == Waiting || e.State == Running || e.State == Ended) || e.Slot > 0 && e.State == Queued:
		return fmt.Errorf("slot %d, but state %q", e.Slot, e.State)
	}
	switch e.State {
	case Queued, Running:
		return nil
	case Waiting:
		if e.Expires.IsZero() || e.Leased.IsZero() {
			return errors.New("it waits for ever")
		}
		return nil
	case Ended, Expired:
		if e.Until.IsZero() || e.Over.IsZero() {
			return errors.New("it is over for ever")
		}
		return nil
	}
	return fmt.Errorf("unknown state %q", e.State)
}

// save writes what has changed. Who comes while another one writes waits for it,
// and often has nothing more to do.
func (m *Manager) save(ctx context.Context) error {
	select {
	case <-m.saving:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { m.saving <- struct{}{} }()
	m.mu.Lock()
	version := m.version
	if version == m.saved {
		m.mu.Unlock()
		return nil
	}
	b, err := json.Marshal(stored{Schema: schema, Zone: m.o.Zone, Leases: slices.Concat(m.book.list, m.aside), Freed: m.book.freed})
	m.mu.Unlock()
	if err != nil {
		return err
	}
	if err := m.o.Store.Save(ctx, Key, b); err != nil {
		return err
	}
	m.saved = version
	return nil
}

const (
	leisure   = 10 * time.Second // between writes that nobody waits for, and after one that failed
	lookAgain = time.Minute      // between comparisons with the tests
	settled   = 10 * time.Minute // after which a test that was claimed is there, or was deleted
)

// Run lets leases expire and slots rest, gives slots to those who queue, and
// writes what changed, until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	compared, failed := m.o.Now(), false
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), leisure)
			defer cancel()
			if err := m.save(last); err != nil {
				m.o.Logger.Error("leases not stored", "err", err)
			}
			return nil
		case <-m.wake:
		case <-timer.C:
		}
		if now := m.o.Now(); now.Sub(compared) >= lookAgain {
			compared = now
			if err := m.compare(false); err != nil {
				m.o.Logger.Error("tests of leases cannot be read", "err", err)
			}
		}
		m.mu.Lock()
		changed := m.advance(m.o.Now())
		m.mu.Unlock()
		m.tell(changed)
		err := m.save(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			m.o.Logger.Error("leases not stored", "err", err)
		}
		failed = err != nil
		timer.Reset(m.pause(failed))
	}
}

// pause is how long Run has nothing to do.
func (m *Manager) pause(failed bool) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	pause := leisure // somebody may use a slot
	if next := m.next(); !next.IsZero() && !failed {
		pause = min(pause, next.Sub(m.o.Now()))
	}
	return max(pause, time.Millisecond)
}

// compare looks at the tests of leases: a crash may have lost that one began, or
// that it is over. At start it may also have lost the test itself, before
// anything of it was on disk: its sender got no answer, and will come again.
func (m *Manager) compare(start bool) error {
	if m.o.Test == nil {
		return nil
	}
	m.mu.Lock()
	var ids []string
	for _, e := range m.book.list {
		if e.State == Waiting || e.State == Running {
			ids = append(ids, e.ID)
		}
	}
	m.mu.Unlock()
	for _, id := range ids {
		exists, over, err := m.o.Test(id)
		if err != nil {
			return fmt.Errorf("test %s: %w", id, err)
		}
		m.mu.Lock()
		m.believe(id, exists, over, start)
		m.mu.Unlock()
	}
	return nil
}

// believe changes a lease to what is known of its test.
func (m *Manager) believe(id string, exists, over, start bool) {
	e, now := m.book.byID[id], m.o.Now()
	if e == nil {
		return
	}
	running := e.State == Running
	switch {
	case e.State == Waiting && exists:
		e.State, e.Claimed, e.Used = Running, now, later(e.Used, now)
		if over {
			m.finish(e, now)
		}
	case running && over:
		m.finish(e, now)
	case running && !exists && start:
		e.State, e.Expires = Waiting, later(e.Expires, now.Add(m.o.Wait))
	case running && !exists && now.Sub(e.Claimed) >= settled:
		m.finish(e, now)
	default:
		return
	}
	m.version++
	m.o.Changed(id)
}
