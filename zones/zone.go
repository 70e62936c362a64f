package zones

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// serialReserve is how many serials one Save pays for.
const serialReserve = 256

// saveInterval is after what time the state is saved for the time alone.
const saveInterval = time.Hour

// What Run does for a key roll that waits for the parent.
const (
	parentTicks = 10 // intervals between two questions
	askLimit    = time.Minute
)

// Zone is the signed zone with its server. It is safe for concurrent use.
type Zone struct {
	opts  Options
	ttl   uint32
	apex  nameKey
	watch watch
	wake  chan struct{} // makes Run look at once

	current atomic.Pointer[snapshot]

	rolling sync.Mutex // steps of key rolls; before mu

	mu      sync.Mutex // writers; guards the rest
	content content    // without SOA and what is about keys
	data    StateData  // as saved, but for what a roll has waited since
	keys    *keySet    // of data; published with the next version
	saved   time.Time  // when data was
	serial  uint32     // last published
	overdue bool       // more signatures are due than the last version renewed
	phase   phaseRun

	known, unknown *queryRing // queries for names that exist, and that do not
	counters       counters
	*serving
}

// New builds, signs and publishes the zone. It fails if an option is wrong or
// the state can be neither read nor written.
func New(o Options) (*Zone, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("zone options: %w", err)
	}
	records, err := initialContent(o)
	if err != nil {
		return nil, fmt.Errorf("zone options: %w", err)
	}
	apex, err := keyOf(o.Zone)
	if err != nil {
		return nil, fmt.Errorf("zone options: %w", err)
	}
	z := &Zone{
		opts: o, ttl: uint32(o.TTL.Seconds()), apex: apex, wake: make(chan struct{}, 1),
		known: newQueryRing(o.QueryRing), unknown: newQueryRing(max(1, o.QueryRing/8)),
	}
	if z.serving, err = newServing(o); err != nil {
		return nil, fmt.Errorf("zone options: %w", err)
	}
	if err := z.load(); err != nil {
		return nil, err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if err := z.publish(records); err != nil {
		return nil, fmt.Errorf("sign zone %q: %w", o.Zone, err)
	}
	return z, nil
}

// load takes keys and serial from the state, or begins both.
func (z *Zone) load() error {
	data, err := StateData{}, fs.ErrNotExist
	if z.opts.State != nil {
		data, err = z.opts.State.Load()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// The time as first serial: larger than those of a state that was lost.
		data = StateData{Serial: uint32(z.opts.Now().Unix())}
		if data.Keys, err = firstKeys(z.opts); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	if z.keys, err = newKeySet(z.opts, data.Keys, nil); err != nil {
		return fmt.Errorf("zone state: %w", err)
	}
	// There may have been serials that could not be saved. The time is larger
	// than they were, as the zone changes less than once a second.
	now := z.opts.Now()
	if t := uint32(now.Unix()); doubt(now, data.Seen) == nil && int32(t-data.Serial) > 0 {
		data.Serial = t
	}
	z.data, z.serial = data.clone(), data.Serial
	z.watch.seen = data.Seen
	return nil
}

// save makes data the state. z.mu must be held.
func (z *Zone) save(data StateData) error {
	data.Seen = z.watch.sure()
	if z.opts.State != nil {
		if err := z.opts.State.Save(data.clone()); err != nil {
			return err
		}
	}
	z.data, z.saved = data, z.opts.Now()
	return nil
}

// newSigner returns what makes the next version of the zone.
func (z *Zone) newSigner() *signer {
	when, set, changed := z.watch.look(z.opts.Now())
	if set.Abs() > time.Minute {
		z.opts.Log.Warn("clock was set", slog.Duration("by", set))
	}
	if err := z.ClockProblem(); changed && err != nil {
		z.opts.Log.Warn("clock is in doubt", slog.Any("err", err))
	} else if changed {
		z.opts.Log.Info("clock is not in doubt any more")
	}
	return &signer{zone: z.opts.Zone, ttl: z.ttl, validity: z.opts.Validity, keys: z.keys, clock: when}
}

// publish signs records and makes them the zone, under a new serial. On error
// the zone stays as it was. z.mu must be held.
func (z *Zone) publish(records content) error {
	by := z.newSigner() // it looks at the clock, before the state is saved
	serial, err := z.nextSerial()
	if err != nil {
		return err
	}
	return z.publishAs(serial, records, by)
}

func (z *Zone) publishAs(serial uint32, records content, s *signer) error {
	full := maps.Clone(records)
	maps.Copy(full, z.keys.records)
	full[setID{z.apex, dns.TypeSOA}] = []dns.RR{soaRR(z.opts.Zone, z.ttl, serial, soaExpire(z.opts.Validity))}
	prev := z.current.Load()
	snap, err := s.snapshot(full, prev)
	if err != nil {
		return err
	}
	z.content, z.serial = records, serial
	z.current.Store(snap)
	z.notifySecondaries()
	if prev == nil || prev.keys != snap.keys {
		z.phase = phaseRun{serial: serial, counted: z.opts.Now()}
	}
	z.counters.signatures.Add(uint64(s.made))
	z.opts.Log.Debug("zone published", slog.Uint64("serial", uint64(serial)), slog.Int("signatures", s.made))
	z.overdue = s.due > renewals
	return nil
}

// nextSerial returns the serial after the last one. Before it leaves the range
// that the state grants, the state is extended: a restart begins behind all.
func (z *Zone) nextSerial() (uint32, error) {
	next := z.serial + 1 // RFC 1982 §3.1: wraps around
	data := z.data
	if !data.reserve(next) {
		return next, nil
	}
	if err := z.save(data); err != nil {
		return 0, &notSavedError{err}
	}
	return next, nil
}

// Refresh renews signatures that have used up half of their validity, at most
// 256 of them at a time, and all that would not hold much longer. It does
// nothing while there are none.
func (z *Zone) Refresh() error {
	_, err := z.refresh(due)
	return err
}

// refresh publishes the zone anew if one of its signatures is in a condition at
// least that bad, or if it is not signed by the keys that it should be. If
// there is no time left, a state that can't be saved does not matter.
func (z *Zone) refresh(bad condition) (more bool, err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	snap := z.current.Load()
	worst := snap.worst(z.newSigner())
	if snap.keys == z.keys && worst < bad {
		return false, nil
	}
	err = z.publish(z.content)
	if unsaved := (*notSavedError)(nil); errors.As(err, &unsaved) && worst == stale {
		z.opts.Log.Error("zone signed anew although its state can't be saved", slog.Any("err", err))
		err = z.publishAs(z.serial+1, z.content, z.newSigner())
	}
	if err != nil {
		return true, fmt.Errorf("refresh signatures of %q: %w", z.opts.Zone, err)
	}
	return z.overdue, nil
}

// notSavedError says that the state could not be saved.
type notSavedError struct{ error }

func (e *notSavedError) Unwrap() error { return e.error }

// Run keeps the signatures fresh and goes on with a key roll until ctx ends. A
// failure is logged and tried again: half of the validity is left for that.
func (z *Zone) Run(ctx context.Context) error {
	timer := time.NewTimer(z.opts.Keys.Interval)
	defer timer.Stop()
	hour := min(time.Hour, z.opts.Validity/24)
	since := time.Duration(0)
	for tick := 0; ; tick++ {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-z.wake:
		}
		bad := stale
		if since >= hour {
			bad, since = due, 0
		}
		more, err := z.refresh(bad)
		if err != nil {
			z.opts.Log.Error("zone not refreshed", slog.Any("err", err))
		}
		if more {
			since = hour
		}
		z.maintain(ctx, tick)
		since += z.opts.Keys.Interval
		timer.Reset(z.opts.Keys.Interval)
	}
}

// maintain goes on with a key roll, and saves now and then how far it is.
func (z *Zone) maintain(ctx context.Context, tick int) {
	before := z.Roll()
	if before.Phase == PhasePublish || tick%parentTicks == 0 {
		asking, cancel := context.WithTimeout(ctx, askLimit)
		err := z.Advance(asking)
		cancel()
		if err != nil && ctx.Err() == nil && z.Roll().Problem != before.Problem {
			z.opts.Log.Warn("key roll waits", slog.Any("err", err))
		}
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.opts.Now().Sub(z.saved).Abs() < saveInterval {
		return
	}
	if err := z.save(z.data); err != nil {
		z.opts.Log.Error("zone state not saved", slog.Any("err", err))
	}
}

// Serial returns the serial of the published zone.
func (z *Zone) Serial() uint32 {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.serial
}

// Name returns the name of the zone, in lower case, with a trailing dot.
func (z *Zone) Name() string { return z.opts.Zone }
