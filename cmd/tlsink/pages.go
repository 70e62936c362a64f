package main

import (
	"cmp"
	"context"
	"slices"

	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/web"
)

// pages is what package web shows of a service.
type pages struct{ s *service }

var _ web.Source = pages{}

// Result implements web.Source.
func (p pages) Result(_ context.Context, capability string) (report.Input, bool, error) {
	v, ok, err := p.s.assess.ByCapability(capability)
	if err != nil || !ok {
		return report.Input{}, false, err
	}
	return p.s.input(v), true, nil
}

// Status implements web.Source.
func (p pages) Status(ctx context.Context) web.Status {
	check := p.s.check.current()
	st := web.Status{Running: p.s.assess.Running(), ZoneChecked: check.at, Unverifiable: check.fault.Unverifiable, Broken: check.fault.Broken, MX: order(p.s.rotator.Current(0))}
	st.Ready = !check.at.IsZero() && len(st.MX) > 0
	if !st.Ready {
		st.NotReady = "starting"
	}
	if queue, err := p.s.store.Queue(ctx); err == nil {
		st.Queue = len(slices.DeleteFunc(queue, func(q history.QueueItem) bool { return !q.Pending() }))
	}
	return st
}

// order lists hosts, the most preferred first.
func order(preferences map[string]int) []string {
	var out []string
	for h, p := range preferences {
		if p > 0 {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		return cmp.Or(cmp.Compare(preferences[a], preferences[b]), cmp.Compare(a, b))
	})
	return out
}
