package operate

import (
	"context"

	"github.com/tlsink/tlsink/history"
)

// Overview returns the state of the service in short.
func (o *Operator) Overview(ctx context.Context) (Overview, error) {
	out := Overview{Now: o.o.Now().UTC(), Slots: o.Slots(), Blocks: len(o.Blocks())}
	if c, ok := o.SelfCheck(); ok {
		out.SelfCheck = &c
	}
	for _, l := range o.Limits() {
		if l.Reached() {
			out.Limits++
		}
	}
	if err := o.o.Store.Trouble(); err != nil {
		out.Disk = err.Error()
	}
	var err error
	if out.Stats, err = o.o.Store.Stats(); err != nil {
		return out, err
	}
	running, err := o.Tests(ctx, Query{State: history.StateRunning, Limit: 20})
	if err != nil {
		return out, err
	}
	recent, err := o.Tests(ctx, Query{Limit: 10})
	out.Running, out.Recent = running.Tests, recent.Tests
	return out, err
}
