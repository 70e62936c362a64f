package assess

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
)

// replay rebuilds clients and open tests from the store, as they were when the
// last connection was stored.
func (a *Assessor) replay(ctx context.Context) error {
	now := a.o.Now()
	records, err := a.o.Store.Tests(ctx, history.TestFilter{Since: now.Add(-a.o.Timing.Forget - a.o.Timing.Close)})
	if err != nil {
		return err
	}
	open, err := a.o.Store.Tests(ctx, history.TestFilter{Running: true})
	if err != nil {
		return err
	}
	for _, r := range append(records, open...) {
		a.tests[r.Test.ID] = &test{
			rec: r, clients: make(map[netip.Prefix]*client), copies: make(map[copyKey]bool), first: r.Opened, dirty: true, due: now,
		}
	}
	a.replayBeside()
	from := now.Add(-a.o.Timing.Forget)
	for _, t := range a.tests {
		if t.rec.Open() && t.rec.Opened.Add(-a.o.Timing.Forget).Before(from) {
			from = t.rec.Opened.Add(-a.o.Timing.Forget)
		}
	}
	for {
		conns, err := a.o.Store.Connections(ctx, history.ConnectionFilter{From: from, Limit: a.o.Limits.Connections})
		if err != nil {
			return err
		}
		for _, c := range conns {
			a.replayConnection(c)
		}
		if len(conns) < a.o.Limits.Connections {
			break
		}
		from = conns[len(conns)-1].Connection.Start.Add(time.Nanosecond)
	}
	if err := a.replayStates(); err != nil {
		return err
	}
	for _, t := range a.tests {
		if t.rec.Resent.IsZero() {
			continue
		}
		for _, c := range t.clients {
			c.withhold.sentAgain(t.rec.Resent)
		}
	}
	for id, t := range a.tests {
		if !t.rec.Open() && a.forgotten(t, now) {
			a.drop(id)
		}
	}
	return nil
}

// replayStates restores what the slots presented while the open tests ran:
// without it, a verdict that was suspended because the zone could not be
// verified would be given after a restart.
func (a *Assessor) replayStates() error {
	open := a.runningTests()
	slices.SortFunc(open, func(x, y *test) int { return x.rec.Opened.Compare(y.rec.Opened) })
	for _, t := range open {
		slot := t.rec.Test.Slot
		if len(a.states[slot]) > 0 {
			continue // an older test has them all
		}
		h, err := a.o.Store.History(t.rec.Test.ID)
		if err != nil {
			return err
		}
		for _, s := range h.States {
			if len(s.MX) > 0 || s.Unverifiable != "" || s.Broken != "" {
				s.Phase = ""
				a.states[slot] = append(a.states[slot], s)
			}
		}
		if n := len(a.states[slot]); n > 0 {
			a.fault = faultIn(a.states[slot][n-1])
		}
	}
	return nil
}

func (a *Assessor) replayConnection(r history.ConnectionRecord) {
	conn := r.Connection
	remote, err := netip.ParseAddrPort(conn.Client)
	if err != nil {
		return
	}
	if conn.Ending == "" || conn.Ending == evidence.EndingOpen {
		// A snapshot: the process ended before the connection did.
		conn.Ending = evidence.EndingServer
		if conn.End.IsZero() {
			conn.End = conn.Start
		}
	}
	c := a.client(evidence.ClientOf(remote.Addr()), conn.Start)
	c.last = conn.End
	a.learn(c, conn)
	defer a.shareRefused(c, conn)
	t := a.tests[r.Test]
	if t == nil || conn.Attribution != evidence.ByMail {
		if !conn.Data {
			a.keep(c, conn)
		}
		return
	}
	c.join(t)
	t.clients[c.key] = c
	a.put(t, conn)
	for _, tx := range conn.Transactions {
		if !tx.Data || !t.carries(tx) {
			continue
		}
		_, domains := domainsOf(a.o.Zone, tx.RcptTo)
		for _, d := range domains {
			k := copyKey{mailID(tx), d}
			t.copies[k] = t.copies[k] || tx.Reply == 250
		}
		if tx.Message != nil && !tx.Message.Date.IsZero() && (t.date.IsZero() || tx.Message.Date.Before(t.date)) {
			t.date = tx.Message.Date
		}
	}
}
