package zones

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Phase is a step of a key roll.
type Phase string

// The phases, in order; see the package documentation.
const (
	PhasePublish  Phase = "publish"   // caches learn the new key
	PhaseHandOver Phase = "hand-over" // the parent replaces the DS record
	PhaseRetire   Phase = "retire"    // caches forget what needs the old key
)

// Errors of the calls about key rolls.
var (
	ErrNoRoll     = errors.New("no key is being rolled")
	ErrRolling    = errors.New("a key is being rolled already: `tlsink zone status` shows how far, `tlsink zone cancel` takes it back")
	ErrWrongPhase = errors.New("not possible in this phase of the key roll")
)

// phaseRun is what is known about the phase since it was published here.
type phaseRun struct {
	serial  uint32    // under which the keys of the phase were published
	synced  bool      // every name server has it
	counted time.Time // up to here RollData.Waited goes
	problem string    // why the phase does not end, but for time
}

// StartRoll begins to replace a key by a new one. An empty role means that of
// the key whose DS the parent has. CSK replaces every key; ZSK in a zone with a
// CSK splits it: the CSK goes on as KSK. The steps follow in Run.
func (z *Zone) StartRoll(ctx context.Context, role Role) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	z.rolling.Lock()
	defer z.rolling.Unlock()
	err := z.step(func(d *StateData) error {
		if d.Roll != nil {
			return ErrRolling
		}
		split := slices.ContainsFunc(d.Keys, func(k Key) bool { return k.Role == ZSK })
		switch {
		case role == "" && split:
			role = KSK
		case role == "":
			role = CSK
		case role == KSK && !split:
			return errors.New("the zone has no KSK but a CSK: roll that, or roll the ZSK first, which splits it")
		case role != CSK && role != KSK && role != ZSK:
			return fmt.Errorf("role %q: want %s, %s or %s", role, CSK, KSK, ZSK)
		}
		key, err := newKey(z.opts, role, KeyPublished, d.Keys)
		if err != nil {
			return err
		}
		d.Keys = append(d.Keys, key)
		d.Roll = &RollData{Role: role, Phase: PhasePublish}
		return nil
	})
	if err != nil {
		return fmt.Errorf("start key roll: %w", err)
	}
	select {
	case z.wake <- struct{}{}:
	default: // Run will look anyway
	}
	return nil
}

// CancelRoll goes back to the old key. While the new one is only published, it
// is withdrawn at once. Later it is served until the parent has the old DS
// record for certain, and caches have forgotten the new one. Once the DS record
// was replaced there is no way back but another roll.
func (z *Zone) CancelRoll(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	z.rolling.Lock()
	defer z.rolling.Unlock()
	err := z.step(func(d *StateData) error {
		switch {
		case d.Roll == nil:
			return ErrNoRoll
		case d.Roll.Phase == PhasePublish:
			d.Keys = slices.DeleteFunc(d.Keys, func(k Key) bool { return k.Status == KeyPublished })
			d.Roll = nil
			return nil
		case d.Roll.Phase != PhaseHandOver:
			return fmt.Errorf("%w: nothing needs the old key any more but caches; start another roll when it has ended", ErrWrongPhase)
		}
		for i, k := range d.Keys {
			switch {
			case d.Roll.Role == KSK && k.Role == ZSK: // has no part in it
			case k.Status == KeyActive:
				d.Keys[i].Status = KeyRetiring
			case k.Status == KeyRetiring:
				d.Keys[i].Status = KeyActive
			}
		}
		d.Roll.Cancelled = !d.Roll.Cancelled
		d.Roll.enter(PhaseHandOver)
		return nil
	})
	if err != nil {
		return fmt.Errorf("cancel key roll: %w", err)
	}
	return nil
}

// Advance takes the next step of a key roll if it is time. It returns an error
// if something is in the way that does not end by itself.
func (z *Zone) Advance(ctx context.Context) error {
	z.rolling.Lock()
	defer z.rolling.Unlock()
	err := z.advance(ctx)
	z.mu.Lock()
	defer z.mu.Unlock()
	z.phase.problem = ""
	if err != nil {
		z.phase.problem = err.Error()
		return fmt.Errorf("key roll: %w", err)
	}
	return nil
}

func (z *Zone) advance(ctx context.Context) error {
	if _, err := z.refresh(stale); err != nil { // the phase may not be published yet
		return err
	}
	if err := z.sync(ctx); err != nil {
		return err
	}
	roll := z.tally()
	if roll == nil {
		return nil
	}
	switch roll.Phase {
	case PhasePublish:
		if roll.Waited < z.wait(*roll) {
			return nil
		}
		return z.step(replaceKeys)
	case PhaseHandOver:
		return z.handOver(ctx, *roll)
	}
	if roll.Role.sep() {
		if err := z.stillReplaced(ctx, *roll); err != nil {
			return err
		}
	}
	if roll.Waited < z.wait(*roll) {
		return nil
	}
	return z.step(func(d *StateData) error {
		d.Keys = slices.DeleteFunc(d.Keys, func(k Key) bool { return k.Status == KeyRetiring })
		d.Roll = nil
		return nil
	})
}

// wait is how long a phase lasts at least.
//
// RFC 7583 §3.2.1, §3.3.1: what was published before is in caches for its TTL
// after the last name server gave it out. The longest TTL that the zone may
// have counts: a former configuration may have had it.
func (z *Zone) wait(r RollData) time.Duration {
	own := MaxTTL + z.opts.Keys.Propagation
	switch {
	case r.Phase == PhaseHandOver:
		return 0
	case r.Phase == PhaseRetire && r.Role.sep():
		return own + max(r.DSTTL, z.opts.Keys.DSTTL)
	}
	return own
}

// sync finds out whether all name servers have what this phase published.
func (z *Zone) sync(ctx context.Context) error {
	z.mu.Lock()
	ask, serial := z.data.Roll != nil && !z.phase.synced, z.phase.serial
	z.mu.Unlock()
	if !ask {
		return nil
	}
	if z.opts.Keys.Synced != nil {
		if err := z.opts.Keys.Synced(ctx, serial); err != nil {
			return fmt.Errorf("not every name server has the zone of serial %d yet: %w", serial, err)
		}
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.phase.synced = true
	if z.opts.Keys.Synced != nil {
		z.phase.counted = z.opts.Now()
	}
	return nil
}

// tally adds the time since the last count to what the phase has waited, and
// returns a copy of the roll. Only time counts in which the zone was served,
// by the monotonic clock if there is one: a clock that is set, or wrong after a
// restart, ends no phase too early.
func (z *Zone) tally() *RollData {
	z.mu.Lock()
	defer z.mu.Unlock()
	roll := z.data.clone().Roll
	if roll == nil {
		return nil
	}
	now := z.opts.Now()
	roll.Waited += max(0, now.Sub(z.phase.counted))
	z.phase.counted = now
	z.data.Roll = roll
	return z.data.clone().Roll
}

// replaceKeys makes the published key the active one. A CSK whose content
// another key signs from now on becomes a KSK.
func replaceKeys(d *StateData) error {
	role := d.Roll.Role
	for i, k := range d.Keys {
		switch {
		case k.Status == KeyPublished:
			d.Keys[i].Status = KeyActive
		case k.Status != KeyActive:
		case role == ZSK && k.Role == CSK:
			d.Keys[i].Role = KSK
		case role == CSK, role == k.Role:
			d.Keys[i].Status = KeyRetiring
		}
	}
	if role.sep() {
		d.Roll.enter(PhaseHandOver)
	} else {
		d.Roll.enter(PhaseRetire)
	}
	return nil
}

// enter begins a phase.
func (r *RollData) enter(p Phase) {
	r.Phase, r.Waited, r.Confirmed = p, 0, false
	r.Since = time.Time{}
}

// step changes keys and roll. RFC 6781 §4.1 needs the order: first it is
// written down, then published. If publishing fails, the next Advance or change
// of the zone does it.
func (z *Zone) step(edit func(*StateData) error) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	next := z.data.clone()
	if err := edit(&next); err != nil {
		return err
	}
	if next.Roll != nil && next.Roll.Since.IsZero() {
		next.Roll.Since = z.opts.Now().UTC().Truncate(time.Second)
	}
	keys, err := newKeySet(z.opts, next.Keys, z.keys)
	if err != nil {
		return err
	}
	next.reserve(z.serial + 1) // so that what is saved can be published
	if err := z.save(next); err != nil {
		return err
	}
	z.keys = keys
	z.logStep()
	if err := z.publish(z.content); err != nil {
		return fmt.Errorf("publish keys of %q: %w", z.opts.Zone, err)
	}
	return nil
}

func (z *Zone) logStep() {
	if r := z.data.Roll; r != nil {
		z.opts.Log.Info("key roll goes on", slog.String("role", string(r.Role)), slog.String("phase", string(r.Phase)))
		return
	}
	z.opts.Log.Info("key roll ended")
}
