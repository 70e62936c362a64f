package zones

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// parentView is what the parent says about the keys of the zone.
type parentView struct {
	servers int
	withNew int // servers that have a DS record of the active key
	withOld int // servers that have one of a retiring key
	without int // servers that have none at all
	maxTTL  time.Duration
	// disputed says that the servers have the new record alone, but a validating
	// resolver does not have it, or has the old one.
	disputed bool
}

// replaced reports whether every server has the new record and none the old,
// and what validates says the same.
func (v parentView) replaced() bool {
	return v.withNew == v.servers && v.withOld == 0 && !v.disputed
}

// missing says what is not as it should be at the parent.
func (v parentView) missing() string {
	var out []string
	if v.without > 0 {
		out = append(out, fmt.Sprintf("%d of %d servers of the parent have no DS record: the zone is insecure there", v.without, v.servers))
	}
	if n := v.servers - v.withNew - v.without; n > 0 {
		out = append(out, fmt.Sprintf("%d of %d servers of the parent do not have the new DS record", n, v.servers))
	}
	if v.withOld > 0 {
		out = append(out, fmt.Sprintf("%d of %d servers of the parent have the old DS record", v.withOld, v.servers))
	}
	if v.disputed && len(out) == 0 {
		out = append(out, "the servers of the parent have the new DS record, but a validating resolver still sees others: that ends with their TTL, or somebody forges answers")
	}
	return strings.Join(out, "; ")
}

// askParent compares the DS records at the parent with the published keys.
func (z *Zone) askParent(ctx context.Context) (parentView, error) {
	sets, err := z.opts.Keys.ParentDS(ctx)
	if err != nil {
		return parentView{}, fmt.Errorf("ask the parent for DS records of %s: %w", z.opts.Zone, err)
	}
	if len(sets) == 0 {
		return parentView{}, fmt.Errorf("ask the parent for DS records of %s: no server has answered", z.opts.Zone)
	}
	keys := z.current.Load().keys
	v := parentView{servers: len(sets)}
	for _, set := range sets {
		for _, ds := range set {
			v.maxTTL = max(v.maxTTL, time.Duration(min(ds.Hdr.Ttl, maxDSTTL))*time.Second)
		}
		v.withNew += oneIf(keys.matchAny(set, KeyActive))
		v.withOld += oneIf(keys.matchAny(set, KeyRetiring))
		v.without += oneIf(len(set) == 0)
	}
	if z.opts.Keys.ValidDS != nil && v.replaced() { // else it has nothing to add
		valid, err := z.opts.Keys.ValidDS(ctx)
		if err != nil {
			return parentView{}, fmt.Errorf("validate the DS records of %s: %w", z.opts.Zone, err)
		}
		v.disputed = !keys.matchAny(valid, KeyActive) || keys.matchAny(valid, KeyRetiring)
	}
	return v, nil
}

func oneIf(is bool) int {
	if is {
		return 1
	}
	return 0
}

// matchAny reports whether one of set is about a SEP key of that status.
func (s *keySet) matchAny(set []*dns.DS, status KeyStatus) bool {
	return slices.ContainsFunc(set, func(ds *dns.DS) bool { return s.match(ds, status) })
}

// match reports whether ds is about a SEP key of that status.
func (s *keySet) match(ds *dns.DS, status KeyStatus) bool {
	for _, k := range s.sep {
		if k.Status != status || ds.KeyTag != k.dnskey.KeyTag() || ds.Algorithm != k.dnskey.Algorithm {
			continue
		}
		if own := k.dnskey.ToDS(ds.DigestType); own != nil && strings.EqualFold(own.Digest, ds.Digest) {
			return true
		}
	}
	return false
}

// handOver waits for the parent to replace the DS record.
func (z *Zone) handOver(ctx context.Context, roll RollData) error {
	if z.opts.Keys.ParentDS == nil {
		return nil // ConfirmDS
	}
	view, err := z.askParent(ctx)
	if err != nil {
		return err
	}
	if !view.replaced() {
		z.rememberTTL(view.maxTTL)
		if view.without > 0 || view.disputed {
			return errors.New(view.missing())
		}
		return nil
	}
	return z.step(retireOld(max(roll.DSTTL, view.maxTTL), false))
}

// rememberTTL keeps the longest TTL of the old DS record.
func (z *Zone) rememberTTL(ttl time.Duration) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if roll := z.data.clone().Roll; roll != nil {
		roll.DSTTL = max(roll.DSTTL, ttl)
		z.data.Roll = roll
	}
}

func retireOld(ttl time.Duration, confirmed bool) func(*StateData) error {
	return func(d *StateData) error {
		d.Roll.enter(PhaseRetire)
		d.Roll.DSTTL, d.Roll.Confirmed = ttl, confirmed
		return nil
	}
}

// stillReplaced goes back to the hand-over if the parent went back. What can't
// be found out holds the roll up, unless the operator has answered for it, and so
// does a resolver that disputes it.
func (z *Zone) stillReplaced(ctx context.Context, roll RollData) error {
	if z.opts.Keys.ParentDS == nil {
		return nil
	}
	view, err := z.askParent(ctx)
	switch {
	case err != nil && roll.Confirmed:
		return nil
	case err != nil:
		return err
	case view.replaced():
		return nil
	case view.disputed: // by one cache of several, perhaps: the servers did not go back
		return errors.New(view.missing())
	}
	back := z.step(func(d *StateData) error {
		d.Roll.enter(PhaseHandOver)
		return nil
	})
	return errors.Join(back, errors.New("the DS record was replaced and is not any more: "+view.missing()))
}

// ConfirmDS says that the parent has replaced the DS record by the new one on
// all its servers. It is needed only if the parent can't be asked; what the
// parent says outweighs it.
func (z *Zone) ConfirmDS(ctx context.Context) error {
	z.rolling.Lock()
	defer z.rolling.Unlock()
	if err := z.confirm(ctx); err != nil {
		return fmt.Errorf("confirm DS record: %w", err)
	}
	return nil
}

func (z *Zone) confirm(ctx context.Context) error {
	z.mu.Lock()
	roll := z.data.clone().Roll
	z.mu.Unlock()
	switch {
	case roll == nil:
		return ErrNoRoll
	case roll.Phase != PhaseHandOver:
		return fmt.Errorf("%w: it is in the phase %q", ErrWrongPhase, roll.Phase)
	}
	ttl := roll.DSTTL
	if z.opts.Keys.ParentDS != nil {
		if view, err := z.askParent(ctx); err == nil {
			if !view.replaced() {
				return errors.New(view.missing())
			}
			ttl = max(ttl, view.maxTTL)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return z.step(retireOld(ttl, true))
}
