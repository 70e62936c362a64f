package lease_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/lease"
)

// seen is what the model knows of a lease.
type seen struct {
	lease.Ticket
	over    time.Time // its test ended, or it expired; zero before
	used    time.Time // last use of its slot
	kept    time.Time // the last one that no crash can lose
	named   time.Time // a recipient was accepted last
	claimed bool
	ended   bool
	given   bool // a slot
}

// use notes a use of its slot.
func (s *seen) use() {
	if time.Since(s.used) > atLeisure {
		s.kept = s.used
	}
	s.used = time.Now()
}

// atLeisure is how late a use of a slot may be stored.
const atLeisure = 10 * time.Second

// model checks a Manager from the outside, by what visitors, senders and tests
// do in days of random events.
type model struct {
	*world
	rng    *rand.Rand
	leases []*seen // in order of creation
	last   map[int]*seen
	known  tests
}

func (m *model) any(states ...lease.State) *seen {
	var fit []*seen
	for _, l := range m.leases {
		if slices.Contains(states, l.State) {
			fit = append(fit, l)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[m.rng.IntN(len(fit))]
}

// step does something.
func (m *model) step() {
	m.look()
	ctx := m.t.Context()
	switch what := m.rng.IntN(20); what {
	case 0, 1, 2, 3:
		t, err := m.Start(ctx, client(m.rng.IntN(6)), "de")
		if err != nil {
			if !errors.Is(err, lease.ErrBusy) && !errors.Is(err, lease.ErrTooMany) {
				m.t.Errorf("start: %v", err)
			}
			return
		}
		m.leases = append(m.leases, &seen{Ticket: t})
	case 4:
		if l := m.any(lease.Queued, lease.Waiting); l != nil {
			onItsWay := !l.named.IsZero() && time.Since(l.named) < session
			if err := m.Cancel(ctx, l.Capability); err != nil && (!errors.Is(err, lease.ErrBegun) || !onItsWay) {
				m.t.Errorf("cancel %s: %v", l.ID, err)
			}
		}
	case 5, 6, 7:
		if l := m.any(lease.Waiting); l != nil {
			_, _, ok := m.Claim(l.Slot, l.Token)
			if !ok {
				m.t.Errorf("%s cannot be claimed", l.ID)
			}
			l.claimed = true
			l.use()
			m.known.set(l.ID, false)
		}
	case 8, 9:
		if l := m.any(lease.Running); l != nil {
			m.Ended(l.ID)
			l.ended, l.over = true, time.Now()
			l.use()
			m.known.set(l.ID, true)
		}
	case 10, 11:
		slot := m.rng.IntN(m.o.Slots)
		m.Used(slot)
		if l := m.last[slot]; l != nil && (l.over.IsZero() || time.Since(l.over) < m.o.Quarantine) {
			if got, ok := m.Ticket(l.Capability); ok && got.State != "" {
				l.use()
			}
		}
	case 12:
		m.Asked(m.rng.IntN(m.o.Slots))
	case 13:
		m.restart()
	case 14:
		m.crash()
		for _, l := range m.leases {
			if time.Since(l.used) <= atLeisure {
				l.used = l.kept
			}
		}
	case 15, 16:
		if l := m.any(lease.Waiting, lease.Running, lease.Ended, lease.Expired); l != nil && l.Slot > 0 {
			m.recipient(l)
		}
	}
}

// recipient is a mail to a lease that begins.
func (m *model) recipient(l *seen) {
	accepted := m.Leased(l.Slot, l.Token)
	want := l.State == lease.Running || l.State == lease.Ended && time.Since(l.over) < m.o.Quarantine-tolerance
	never := l.State == lease.Expired || l.State == lease.Ended && time.Since(l.over) > m.o.Quarantine
	if want && !accepted || never && accepted {
		m.t.Errorf("%s is %s, and mail is accepted: %v", l.ID, l.State, accepted)
	}
	if accepted {
		l.named = time.Now()
		l.use()
	}
}

// session is the default of Options.Session.
const session = 35 * time.Minute

// look asks for every lease, and checks what changed.
func (m *model) look() {
	m.t.Helper()
	holders := make(map[int]string)
	queuedBefore := false
	for _, l := range m.leases {
		was := l.Ticket
		if was.State == "forgotten" {
			continue
		}
		now, ok := m.Ticket(l.Capability)
		if !ok {
			now = was
			now.State = "forgotten"
		}
		if !l.given && now.Slot > 0 {
			l.given = true
			m.given(l, now)
			if queuedBefore {
				m.t.Errorf("%s got slot %d while an older one is queued", l.ID, now.Slot)
			}
		}
		if was.Slot > 0 && now.Slot > 0 && was.Slot != now.Slot {
			m.t.Errorf("%s moved from slot %d to %d", l.ID, was.Slot, now.Slot)
		}
		if now.State == lease.Expired && l.over.IsZero() {
			l.over = time.Now()
		}
		if now.State == lease.Waiting || now.State == lease.Running {
			if other := holders[now.Slot]; other != "" {
				m.t.Errorf("slot %d is that of %s and %s", now.Slot, other, l.ID)
			}
			holders[now.Slot] = l.ID
		}
		if l.ended && now.State == lease.Running || l.claimed && now.State == lease.Waiting {
			m.t.Errorf("%s went back to %s", l.ID, now.State)
		}
		queuedBefore = queuedBefore || now.State == lease.Queued
		slot := l.Slot
		if l.Ticket = now; now.Slot == 0 {
			l.Slot = slot
		}
	}
}

// given checks that a slot was free, and has rested.
func (m *model) given(l *seen, now lease.Ticket) {
	m.t.Helper()
	before := m.last[now.Slot]
	m.last[now.Slot] = l
	if before == nil || before == l {
		return
	}
	rested := now.Leased.Sub(before.over)
	switch {
	case before.over.IsZero():
		m.t.Errorf("%s got slot %d, which %s has", l.ID, now.Slot, before.ID)
	case before.used.IsZero() && rested < m.o.Rest-tolerance:
		m.t.Errorf("slot %d rested for %v, though nobody used it", now.Slot, rested)
	case !before.claimed && rested >= m.o.Rest-tolerance:
		// Nobody mailed to it, and somebody waited.
	case !before.used.IsZero() && now.Leased.Sub(before.used) < m.o.Quarantine-tolerance && rested < 2*m.o.Quarantine-tolerance:
		m.t.Errorf("slot %d was given away %v after its last use", now.Slot, now.Leased.Sub(before.used))
	}
}

// tolerance is for what the model learns by looking: up to a step late.
const tolerance = 5 * time.Minute

func TestNeverTwoOnASlot(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &model{rng: rand.New(rand.NewPCG(seed, 1)), last: make(map[int]*seen)}
				m.world = newWorld(t, func(o *lease.Options) {
					o.Slots, o.Quarantine, o.Limits.PerNetwork = 5, 3*time.Hour, 4
					o.Wait, o.Rest, o.Absent = 30*time.Minute, 10*time.Minute, time.Hour
					o.Rand = randReader{rand.New(rand.NewPCG(seed, 3))}
					o.Test = m.known.find
				})
				defer func() { m.stop() }()
				for range 700 {
					m.step()
					m.look()
					if t.Failed() {
						return
					}
					m.wait(time.Duration(m.rng.IntN(240)) * time.Second)
					for range len(m.changed) {
						<-m.changed
					}
				}
				given := 0
				for _, l := range m.leases {
					if l.Slot > 0 {
						given++
					}
				}
				if given < 15 || len(m.leases)-given < 10 {
					t.Errorf("of %d leases, %d got a slot: that tries little", len(m.leases), given)
				}
			})
		})
	}
}

// A restart at any moment changes nothing.
func TestRestartChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		m := &model{rng: rng, last: make(map[int]*seen)}
		m.world = newWorld(t, func(o *lease.Options) {
			o.Slots, o.Quarantine, o.Absent, o.Limits.PerNetwork = 6, 24*time.Hour, 24*time.Hour, 20
		})
		defer func() { m.stop() }()
		for range 300 {
			m.step()
			m.look()
			synctest.Wait()
			state := func() (tickets []lease.Ticket, slots []lease.SlotState) {
				for _, l := range m.leases {
					if got, ok := m.Ticket(l.Capability); ok {
						tickets = append(tickets, got)
					}
				}
				return tickets, m.Slots()
			}
			tickets, slots := state()
			m.restart()
			ticketsAfter, slotsAfter := state()
			if d := cmp.Diff(tickets, ticketsAfter); d != "" {
				t.Fatalf("tickets (-before +after):\n%s", d)
			}
			if d := cmp.Diff(slots, slotsAfter); d != "" {
				t.Fatalf("slots (-before +after):\n%s", d)
			}
			m.wait(time.Duration(rng.IntN(600)) * time.Second)
			for range len(m.changed) {
				<-m.changed
			}
		}
	})
}
