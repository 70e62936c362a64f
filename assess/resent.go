package assess

import (
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// sentAgain reports whether another mail already went to one of the domains.
func sentAgain(t *test, tx evidence.Transaction, domains []scenario.Domain) bool {
	for k := range t.copies {
		if k.messageID != mailID(tx) && slices.Contains(domains, k.domain) {
			return true
		}
	}
	return false
}

// splitResent ends a test whose sender sent its mail again and now behaves in
// another way, with what was known before, and opens one that begins there. It
// returns that one, if any, and what is to be stored.
func (a *Assessor) splitResent(t *test, v policyinfer.Verdict, last evidence.ConnID, now time.Time) (*test, history.Batch) {
	if t.rec.Resent.IsZero() || !t.running() || !v.Contradicted() {
		return nil, history.Batch{}
	}
	conn := a.conns[last]
	if conn == nil {
		return nil, history.Batch{}
	}
	var before, after []evidence.Connection
	for _, c := range t.own {
		if c.Start.Before(t.rec.Resent) && c.ID != last {
			before = append(before, c)
		} else {
			after = append(after, c)
		}
	}
	if len(before) == 0 || len(after) == 0 {
		return nil, history.Batch{}
	}
	tx := after[len(after)-1].Transactions
	if len(tx) == 0 {
		return nil, history.Batch{}
	}
	fresh, err := a.open(conn.client, tx[len(tx)-1], t.rec.Test.Slot, now)
	if err != nil {
		a.o.Logger.Warn("no test opened", "test", t.rec.Test.ID, "connection", last, "err", err)
		return nil, history.Batch{}
	}
	t.keep(before)
	t.rec.Note = "ended: the mail was sent again, and the sender then behaved in another way"
	known := a.engine.Infer(a.evidenceLocked(t), policyinfer.Options{})
	batch := a.finish(t, &known, now)
	t.rec.State, t.rec.Closed = history.StateClosed, t.rec.Resent
	a.over(t)
	a.o.Logger.Info("test opened", "test", fresh.rec.Test.ID, "connection", last, "slot", fresh.rec.Test.Slot, "continues", t.rec.Test.ID)
	batch.Merge(a.takeOver(fresh, t, after))
	conn.test = fresh
	a.touch(fresh, now)
	return fresh, batch
}

// takeOver gives the connections since its mail was sent again, and what is
// known about its sender, from a test that ended there to a fresh one.
func (a *Assessor) takeOver(fresh, t *test, after []evidence.Connection) (batch history.Batch) {
	for _, c := range after {
		for _, tx := range c.Transactions {
			id := mailID(tx)
			if !fresh.has(id) {
				fresh.rec.MessageIDs = append(fresh.rec.MessageIDs, id)
			}
			_, domains := domainsOf(a.o.Zone, tx.RcptTo)
			for _, k := range copiesOf(tx, domains) {
				fresh.copies[k] = false
			}
		}
		a.put(fresh, c)
		batch.Attach = append(batch.Attach, history.Attachment{Connection: c.ID, Test: fresh.rec.Test.ID, Attribution: evidence.ByMail})
	}
	// It adopts nothing from before, so its mail counts as written then.
	fresh.first, fresh.date = t.rec.Resent, t.rec.Resent.Add(a.o.Timing.DateSkew)
	// A copy: views of the test share the list.
	t.rec.MessageIDs = slices.DeleteFunc(slices.Clone(t.rec.MessageIDs), func(id string) bool { return fresh.has(id) && !carried(t.own, id) })
	fresh.rec.Note = "continues test " + t.rec.Test.ID
	fresh.rec.Leased, fresh.rec.Shared, fresh.rec.Token = t.rec.Leased, t.rec.Shared, t.rec.Token // still one sender
	fresh.rec.ReportTo, fresh.rec.ReportBlocked = t.rec.ReportTo, t.rec.ReportBlocked
	fresh.rec.Test.SenderIPs, fresh.rec.Clients = slices.Clone(t.rec.Test.SenderIPs), slices.Clone(t.rec.Clients)
	for key, c := range t.clients {
		fresh.clients[key] = c
		c.join(fresh)
		if !slices.ContainsFunc(c.tests, func(o *test) bool { return o != fresh && o.running() }) {
			c.downgradeNext = true // the new test has seen no downgrade itself
		}
	}
	batch.Tests = append(batch.Tests, t.rec)
	return batch
}

// carried reports whether a connection carried the mail.
func carried(conns []evidence.Connection, id string) bool {
	return slices.ContainsFunc(conns, func(c evidence.Connection) bool {
		return slices.ContainsFunc(c.Transactions, func(tx evidence.Transaction) bool { return tx.Data && mailID(tx) == id })
	})
}
