package lease

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/tlsink/tlsink/scenario"
)

// Store keeps a value over restarts.
type Store interface {
	Load(key string) ([]byte, error)                          // nil, nil if there is none
	Save(ctx context.Context, key string, value []byte) error // durable at return
}

// Key is where the leases are in the Store.
const Key = "lease/slots"

// Limits bound what visitors can take. A zero field means its default.
type Limits struct {
	Queue      int // places in the queue; default and most 1000
	PerNetwork int // leases and places of one client network (/24, /48); default 3
}

// Options are what a Manager needs. Zone, Slots, Store, Now, Rand and Logger
// are required.
type Options struct {
	Zone  string
	Slots int // with slot 0; 1: there is nothing to lease
	Store Store
	// Test looks up a test by the id of its lease, and reports whether it is over.
	// It is asked for a new lease, whose id must be free; at start, since a crash may
	// have lost that a test began or ended, or the test itself; and once a minute for
	// leases that run. nil: nothing gets lost.
	Test func(id string) (exists, over bool, err error)
	// Changed is told the id of a lease whose state or place changed. It must not
	// block, nor call the Manager.
	Changed func(id string)
	// Waited is told how long somebody who gets a slot has waited for it; as Changed.
	Waited func(time.Duration)
	Now    func() time.Time
	Rand   io.Reader // for tokens, ids and capabilities: crypto/rand
	Logger *slog.Logger

	Wait       time.Duration // for the first mail; default 30 min. Signs of the sender prolong it, up to four times
	Quarantine time.Duration // after the last use: max_age of the policy; default 24 h
	Rest       time.Duration // of a slot that was never used; default 10 min, at most Quarantine
	Session    time.Duration // from a recipient that is accepted to the end of its mail, at most; default 35 min: package sink ends sessions after 30
	Absent     time.Duration // a place in the queue that nobody looks at is lost; default 2 min
	Limits     Limits
}

const maxQueue = 1000 // what fits into one value of a store

func (o *Options) check() error {
	duration := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	duration(&o.Wait, 30*time.Minute)
	duration(&o.Quarantine, 24*time.Hour)
	duration(&o.Rest, 10*time.Minute)
	o.Rest = min(o.Rest, o.Quarantine)
	duration(&o.Session, 35*time.Minute)
	duration(&o.Absent, 2*time.Minute)
	if o.Limits.Queue <= 0 {
		o.Limits.Queue = maxQueue
	}
	if o.Limits.PerNetwork <= 0 {
		o.Limits.PerNetwork = 3
	}
	if o.Changed == nil {
		o.Changed = func(string) {}
	}
	if o.Waited == nil {
		o.Waited = func(time.Duration) {}
	}
	o.Zone = scenario.Canonical(o.Zone)
	switch {
	case o.Zone == "":
		return errors.New("lease: no zone")
	case o.Slots < 1:
		return fmt.Errorf("lease: %d slots: want at least 1", o.Slots)
	case o.Limits.Queue > maxQueue:
		return fmt.Errorf("lease: a queue of %d places: want at most %d", o.Limits.Queue, maxQueue)
	case o.Store == nil || o.Now == nil || o.Rand == nil || o.Logger == nil:
		return errors.New("lease: Store, Now, Rand and Logger are required")
	}
	return nil
}

// share is how many slots a network may keep from others, with those that rest
// after it: half of them, or as many as it may use at a time.
func (o *Options) share() int { return max(o.Limits.PerNetwork, (o.Slots-1)/2) }

// State is how far a lease is.
type State string

// The states of a lease. Ended and Expired are final: no mail begins a test then.
const (
	Queued  State = "queued"  // no slot is free yet
	Waiting State = "waiting" // has a slot, no mail came yet
	Running State = "running" // a mail came: there is a test
	Ended   State = "ended"   // the test is over; mail to its addresses is still accepted
	Expired State = "expired" // no mail came in time, nobody looked at the place in the queue, or it was given up
)

func (s State) over() bool { return s == Ended || s == Expired }

// Ticket is a lease, or a place in the queue for one.
type Ticket struct {
	ID         string // becomes that of the test
	Capability string // becomes that of the test
	Token      string // local part of the two addresses
	Language   string // en or de
	Slot       int    // 0: none yet, or no more
	State      State
	Created    time.Time
	Leased     time.Time // when it got its slot
	Expires    time.Time // while waiting: the first mail has to come by then; it may still be on its way after it
	Position   int       // while queued: 1 is next
	Free       time.Time // while queued: when a slot is expected for it; zero if nobody knows
}

// The states of a slot besides Waiting and Running.
const (
	Free    State = "free"
	Resting State = "resting" // until what senders remember of its policy is forgotten
)

// SlotState is what becomes of a slot.
type SlotState struct {
	Slot  int
	State State     // Free, Waiting, Running or Resting
	Test  string    // id of its lease, "" if free
	Since time.Time // of State; zero if it is not known
	Until time.Time // of Waiting and Resting
}

// The errors that callers tell apart.
var (
	// ErrBusy is returned when the queue is full, or there is nothing to lease.
	ErrBusy = errors.New("all slots are taken and the queue is full: try again later, or send a mail to the plain test addresses")
	// ErrTooMany is returned to a network that has too many leases, or whose
	// slots rest.
	ErrTooMany = errors.New("this network has too many slots, or has just had them: end a test that waits, try again later, or send a mail to the plain test addresses")
	// ErrUnknown is returned for a capability that no lease has.
	ErrUnknown = errors.New("there is no such test")
	// ErrBegun is returned for a lease that can't be given up any more.
	ErrBegun = errors.New("the test has begun, or its mail is on its way, or it is over")
)
