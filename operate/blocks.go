package operate

import (
	"context"
	"errors"
	"fmt"

	"github.com/tlsink/tlsink/blocklist"
	"github.com/tlsink/tlsink/history"
)

// Blocks lists what is blocked, the last added first.
func (o *Operator) Blocks() []Block { return append([]Block{}, o.o.Blocks.Entries()...) }

// AddBlock blocks a network, a domain of senders or one sender. Tests that run
// go on; new connections and mails are refused.
func (o *Operator) AddBlock(ctx context.Context, who Actor, b BlockRequest) (Block, error) {
	if _, _, _, err := blocklist.Parse(b.What); err != nil {
		return Block{}, &InvalidError{"what", clip(b.What), "want an IP address, a network, a domain or a mail address"}
	}
	e, err := o.o.Blocks.Add(ctx, b.What, b.Reason, b.Until, b.Wide)
	var bad *blocklist.BadError
	switch {
	case errors.Is(err, blocklist.ErrWide):
		return Block{}, &InvalidError{"what", clip(b.What), "would block very many: confirm that with --wide, or the box below it in the console"}
	case errors.As(err, &bad):
		return Block{}, &InvalidError{bad.Field, clip(bad.Value), bad.Want}
	case errors.Is(err, blocklist.ErrFull):
		return Block{}, fmt.Errorf("%w: %w", ErrConflict, err)
	case err != nil:
		return Block{}, err
	}
	// What is blocked may be a person: the id leads to it as long as it is.
	return e, o.done(ctx, AuditRecord{Actor: who, Action: "block added", Object: e.ID, Detail: string(e.Kind)})
}

// RemoveBlock ends a block.
func (o *Operator) RemoveBlock(ctx context.Context, who Actor, id string) error {
	e, err := o.o.Blocks.Remove(ctx, id)
	if errors.Is(err, blocklist.ErrNotFound) {
		return fmt.Errorf("block %q: %w", clip(id), history.ErrNotFound)
	}
	if err != nil {
		return err
	}
	return o.done(ctx, AuditRecord{Actor: who, Action: "block removed", Object: e.ID, Detail: string(e.Kind)})
}

// Limits lists limits that are used, those reached first.
func (o *Operator) Limits() []Limit {
	if o.o.Limits == nil {
		return []Limit{}
	}
	return append([]Limit{}, o.o.Limits()...)
}

// Slots lists the slots that tests can lease.
func (o *Operator) Slots() []Slot {
	if o.o.Slots == nil {
		return []Slot{}
	}
	return append([]Slot{}, o.o.Slots()...)
}

// SelfCheck is what the service found out about itself; ok is false before the
// first check has ended.
func (o *Operator) SelfCheck() (c SelfCheck, ok bool) {
	if o.o.Check == nil {
		return SelfCheck{}, false
	}
	c = o.o.Check()
	return c, !c.At.IsZero()
}
