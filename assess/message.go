package assess

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/mailauth"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink"
)

// Message implements sink.Director: it finds the test of a message, decides
// about 451 or 250, and returns when all of that is on disk.
func (a *Assessor) Message(ctx context.Context, snapshot evidence.Connection) sink.Reply {
	if len(snapshot.Transactions) == 0 {
		return storageTrouble()
	}
	tx := snapshot.Transactions[len(snapshot.Transactions)-1]
	slot, domains := domainsOf(a.o.Zone, tx.RcptTo)
	known, err := a.o.Store.ByMessageID(tx.MessageID)
	if err != nil {
		a.o.Logger.Error("tests of a Message-ID cannot be read", "err", err)
		return storageTrouble()
	}
	if i := slices.IndexFunc(known, func(r history.TestRecord) bool {
		return r.Test.Slot == slot && tx.MessageID != "" && strings.EqualFold(r.Test.Sender, tx.MailFrom) && !r.Open()
	}); i >= 0 {
		return a.finished(ctx, snapshot, known[i])
	}
	t, reply, ok := a.enter(snapshot, tx, slot, domains, known)
	if !ok {
		return reply
	}
	return a.decide(ctx, t, snapshot, tx, domains)
}

func storageTrouble() sink.Reply {
	return sink.Reply{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: "tlsink cannot store its evidence now, please retry"}
}

// finished answers a mail whose test has ended: 250 at once, in every phase.
func (a *Assessor) finished(ctx context.Context, snapshot evidence.Connection, r history.TestRecord) sink.Reply {
	a.mu.Lock()
	if conn := a.conns[snapshot.ID]; conn != nil && a.tests[r.Test.ID] != nil {
		conn.test = a.tests[r.Test.ID]
	}
	wait, err := a.o.Store.Begin(ctx, history.Batch{
		Connections: []evidence.Connection{snapshot},
		Attach:      []history.Attachment{{Connection: snapshot.ID, Test: r.Test.ID, Attribution: evidence.ByMail}},
	})
	a.mu.Unlock()
	if err == nil {
		err = wait(ctx)
	}
	if err != nil {
		a.o.Logger.Error("evidence cannot be stored", "err", err)
		return storageTrouble()
	}
	return sink.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: a.text(r, "this test has ended, thank you")}
}

// enter finds or opens the test of a message and adds the message to it.
func (a *Assessor) enter(snapshot evidence.Connection, tx evidence.Transaction, slot int, domains []scenario.Domain, known []history.TestRecord) (*test, sink.Reply, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.o.Now()
	conn := a.conns[snapshot.ID]
	if conn == nil {
		return nil, storageTrouble(), false
	}
	t := a.match(conn.client, tx, slot, domains)
	if t == nil {
		var err error
		if t, err = a.open(conn.client, tx, slot, now); err != nil {
			a.o.Logger.Warn("no test opened", "err", err)
			return nil, sink.Reply{Code: 451, Enhanced: [3]int{4, 3, 2}, Text: "too many tests are running, please retry later"}, false
		}
	}
	if !t.has(tx.MessageID) && len(t.rec.MessageIDs) < maxListed {
		t.rec.MessageIDs = append(t.rec.MessageIDs, tx.MessageID)
	}
	if t.resent.IsZero() && sentAgain(t, tx, domains) {
		// The user sent it again: probably the first one bounced because STARTTLS
		// was withheld. Some senders do so whenever no MX offers it.
		t.resent = t.firstOf(tx.MessageID, snapshot.Start)
		for _, c := range t.clients {
			c.withhold.sentAgain(now)
		}
	}
	for _, k := range copiesOf(tx, domains) {
		t.copies[k] = t.copies[k] || false
	}
	conn.test = t
	conn.client.join(t)
	t.clients[conn.client.key] = conn.client
	a.notePlace(t, conn, tx, known)
	t.put(snapshot, a.o.Limits.Connections)
	t.rec.LastSeen = now
	a.touch(t, now)
	return t, sink.Reply{}, true
}

// sentAgain reports whether another mail already went to one of the domains.
func sentAgain(t *test, tx evidence.Transaction, domains []scenario.Domain) bool {
	for k := range t.copies {
		if k.messageID != tx.MessageID && slices.Contains(domains, k.domain) {
			return true
		}
	}
	return false
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// notePlace records the client address and who may get a report.
func (a *Assessor) notePlace(t *test, conn *connection, tx evidence.Transaction, known []history.TestRecord) {
	ip := conn.remote.Addr().Unmap().String()
	if !slices.Contains(t.rec.Test.SenderIPs, ip) && len(t.rec.Test.SenderIPs) < maxListed {
		t.rec.Test.SenderIPs = append(t.rec.Test.SenderIPs, ip)
	}
	if key := conn.client.key.String(); !slices.Contains(t.rec.Clients, key) && len(t.rec.Clients) < maxListed {
		t.rec.Clients = append(t.rec.Clients, key)
	}
	if tx.Message != nil && !tx.Message.Date.IsZero() && (t.date.IsZero() || tx.Message.Date.Before(t.date)) {
		t.date = tx.Message.Date
	}
	if t.rec.ReportTo != "" {
		return
	}
	// Judged at every attempt: a temporary failure may be gone by the next.
	ok, _, why := mailauth.MayReport(tx, a.o.Now())
	if ok && a.reportedElsewhere(t, tx.MessageID, known) {
		ok, why = false, "another test has the report about this Message-ID"
	}
	if ok {
		t.rec.ReportTo, t.rec.ReportBlocked = tx.MailFrom, ""
		return
	}
	t.rec.ReportBlocked = why
}

// reportedElsewhere reports whether a report about a mail goes, or went, to the
// sender of another test. One mail with a valid signature, sent again under
// other envelope senders or to other slots, must not cause many.
func (a *Assessor) reportedElsewhere(t *test, messageID string, known []history.TestRecord) bool {
	mine := func(r history.TestRecord) bool { return r.Test.ID != t.rec.Test.ID && r.ReportTo != "" }
	if slices.ContainsFunc(known, mine) {
		return true
	}
	for _, o := range a.tests {
		if o.has(messageID) && mine(o.rec) {
			return true
		}
	}
	return false
}

// maxListed bounds the Message-IDs and addresses that a test remembers.
const maxListed = 500

// match finds the test that a message continues: that of its Message-ID, or
// the running one of its sender. From another address than before, only a mail
// with the Message-ID of the test joins it: anybody can use a MAIL FROM, and
// bounces of all the world have the same. A test whose verdict is reached ends
// when its sender sends a new mail, unless that is the first one for its domain:
// et and ut may come as two mails. A new one starts afresh, also in its
// treatment.
//
// A test that has ended is returned for its own mail alone. The store answers
// for those, but it is behind when the copies for et and ut come together and
// the first of them ends the test.
func (a *Assessor) match(from *client, tx evidence.Transaction, slot int, domains []scenario.Domain) *test {
	var ended, latest *test
	for _, t := range a.tests {
		if t.rec.Test.Slot != slot || !t.sentBy(tx.MailFrom) {
			continue
		}
		here := t.clients[from.key] != nil
		own := tx.MessageID != "" && t.has(tx.MessageID) && (here || tx.MailFrom != "")
		switch {
		case own && t.rec.Open():
			return t
		case own:
			ended = t
		case here && t.rec.Open() && (latest == nil || t.first.After(latest.first)):
			latest = t
		}
	}
	switch {
	case ended != nil:
		return ended
	case latest == nil || latest.running() || latest.lacks(domains):
		return latest
	}
	latest.rec.State, latest.rec.Closed = history.StateClosed, a.o.Now()
	a.o.Store.Submit(history.Batch{Tests: []history.TestRecord{latest.rec}})
	return nil
}

// open starts a test.
func (a *Assessor) open(c *client, tx evidence.Transaction, slot int, now time.Time) (*test, error) {
	running, here := 0, 0
	for _, t := range a.tests {
		if t.running() {
			running++
		}
	}
	for _, t := range c.tests {
		if t.running() {
			here++
		}
	}
	if running >= a.o.Limits.Tests || here >= a.o.Limits.PerClient {
		return nil, fmt.Errorf("%d tests are running, %d of them for client %s", running, here, c.key)
	}
	if c.finished(now) {
		// The treatment is over, but this connection began in it: the new test
		// has a downgrade phase of its own, from the next connection on.
		c.started, c.tests, c.loose, c.dropped, c.downgradeNext = now, nil, nil, 0, true
	}
	capability, err := newCapability(a.o.Rand)
	if err != nil {
		return nil, err
	}
	id, err := a.freshID()
	if err != nil {
		return nil, err
	}
	t := &test{
		rec: history.TestRecord{
			Test:       evidence.Test{ID: id, Zone: a.o.Zone, Slot: slot, Started: now, Sender: tx.MailFrom, SenderIPs: []string{}, Timing: a.o.Timing.evidence()},
			Capability: capability, State: history.StateRunning, Opened: now,
		},
		clients: make(map[netip.Prefix]*client), copies: make(map[copyKey]bool), first: now,
	}
	a.tests[id] = t
	a.o.Store.Submit(history.Batch{
		Tests:      []history.TestRecord{t.rec},
		TestStates: []history.TestState{{TestID: id, State: evidence.State{Time: c.started, Phase: evidence.Downgrade}}},
	})
	return t, nil
}

func (a *Assessor) freshID() (string, error) {
	for {
		id, err := newID(a.o.Rand)
		if err != nil {
			return "", err
		}
		switch _, err := a.o.Store.Test(id); {
		case errors.Is(err, history.ErrNotFound) && a.tests[id] == nil:
			return id, nil
		case err != nil && !errors.Is(err, history.ErrNotFound):
			return "", err
		}
	}
}

// decide infers, and answers.
func (a *Assessor) decide(ctx context.Context, t *test, snapshot evidence.Connection, tx evidence.Transaction, domains []scenario.Domain) sink.Reply {
	v := a.engine.Infer(a.evidence(t), policyinfer.Options{})

	a.mu.Lock()
	now := a.o.Now()
	if split := a.splitResent(t, v, snapshot.ID, now); split != nil {
		// What the new test did not see itself is not borrowed from the old one.
		t, v = split, a.engine.Infer(a.evidenceLocked(split), policyinfer.Options{})
	}
	batch := a.conclude(t, &v, now)
	reply := a.reply(t, snapshot)
	if reply.Code == 250 {
		a.acknowledge(t, tx, domains, now)
		a.reportLate(t, &batch, now)
	}
	snapshot.Transactions[len(snapshot.Transactions)-1].Reply = reply.Code
	batch.Connections = append(batch.Connections, snapshot)
	batch.Attach = append(batch.Attach, history.Attachment{Connection: snapshot.ID, Test: t.rec.Test.ID, Attribution: evidence.ByMail})
	batch.Tests = append(batch.Tests, t.rec)
	wait, err := a.o.Store.Begin(ctx, batch)
	a.mu.Unlock()
	if err == nil {
		err = wait(ctx)
	}
	if err != nil && ctx.Err() == nil {
		a.notStored(t, batch, copiesOf(tx, domains)...)
	}
	if err != nil {
		a.o.Logger.Error("evidence cannot be stored", "test", batch.Tests[0].Test.ID, "err", err)
		return storageTrouble()
	}
	return reply
}

// reply says what is going on and where to look.
func (a *Assessor) reply(t *test, snapshot evidence.Connection) sink.Reply {
	if !t.running() {
		return sink.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: a.text(t.rec, "the verdict is reached, thank you")}
	}
	what := "more evidence is needed, please retry"
	if snapshot.Phase == evidence.Downgrade {
		what = "STARTTLS withheld on purpose, please retry"
	}
	return sink.Reply{Code: 451, Enhanced: [3]int{4, 7, 1}, Text: a.text(t.rec, what)}
}

func (a *Assessor) text(r history.TestRecord, what string) string {
	s := fmt.Sprintf("tlsink test %s: %s", r.Test.ID, what)
	if link := a.o.ResultURL(r.Capability); link != "" {
		s += "; " + link
	}
	return s
}

// acknowledge notes that a copy was accepted; with the last one the test, and
// with it the treatment, is over.
func (a *Assessor) acknowledge(t *test, tx evidence.Transaction, domains []scenario.Domain, now time.Time) {
	for _, k := range copiesOf(tx, domains) {
		t.copies[k] = true
	}
	if t.allAcked() && t.rec.Open() {
		t.rec.State, t.rec.Acked = history.StateAcked, now
	}
}

// splitResent ends a test whose sender sent its mail again and now behaves in
// another way, with what was known before, and opens one that begins there.
func (a *Assessor) splitResent(t *test, v policyinfer.Verdict, last evidence.ConnID, now time.Time) *test {
	if t.resent.IsZero() || !t.running() || !slices.ContainsFunc(v.Findings, func(f policyinfer.Finding) bool {
		return f.ID == policyinfer.FindingChanged || f.ID == policyinfer.FindingContradictory || f.ID == policyinfer.FindingAmbiguous
	}) {
		return nil
	}
	conn := a.conns[last]
	if conn == nil {
		return nil
	}
	var before, after []evidence.Connection
	for _, c := range t.own {
		if c.Start.Before(t.resent) && c.ID != last {
			before = append(before, c)
		} else {
			after = append(after, c)
		}
	}
	if len(before) == 0 || len(after) == 0 {
		return nil
	}
	tx := after[len(after)-1].Transactions
	if len(tx) == 0 {
		return nil
	}
	fresh, err := a.open(conn.client, tx[len(tx)-1], t.rec.Test.Slot, now)
	if err != nil {
		a.o.Logger.Warn("no test opened", "err", err)
		return nil
	}
	t.own = before
	t.rec.Note = "ended: the mail was sent again, and the sender then behaved in another way"
	known := a.engine.Infer(a.evidenceLocked(t), policyinfer.Options{})
	batch := a.finish(t, &known, now)
	t.rec.State, t.rec.Closed = history.StateClosed, t.resent
	for _, c := range after {
		for _, tx := range c.Transactions {
			if !fresh.has(tx.MessageID) {
				fresh.rec.MessageIDs = append(fresh.rec.MessageIDs, tx.MessageID)
			}
			_, domains := domainsOf(a.o.Zone, tx.RcptTo)
			for _, d := range domains {
				fresh.copies[copyKey{tx.MessageID, d}] = false
			}
		}
		fresh.put(c, a.o.Limits.Connections)
		batch.Attach = append(batch.Attach, history.Attachment{Connection: c.ID, Test: fresh.rec.Test.ID, Attribution: evidence.ByMail})
	}
	// It adopts nothing from before, so its mail counts as written then.
	fresh.first, fresh.date = t.resent, t.resent.Add(a.o.Timing.DateSkew)
	// A copy: views of the test share the list.
	t.rec.MessageIDs = slices.DeleteFunc(slices.Clone(t.rec.MessageIDs), func(id string) bool { return fresh.has(id) && !carried(before, id) })
	batch.Tests = append(batch.Tests, t.rec)
	fresh.rec.Note = "continues test " + t.rec.Test.ID
	fresh.rec.ReportTo, fresh.rec.ReportBlocked = t.rec.ReportTo, t.rec.ReportBlocked
	fresh.rec.Test.SenderIPs, fresh.rec.Clients = slices.Clone(t.rec.Test.SenderIPs), slices.Clone(t.rec.Clients)
	for key, c := range t.clients {
		fresh.clients[key] = c
		c.join(fresh)
		if !slices.ContainsFunc(c.tests, func(o *test) bool { return o != fresh && o.running() }) {
			c.downgradeNext = true // the new test has seen no downgrade itself
		}
	}
	conn.test = fresh
	a.o.Store.Submit(batch)
	a.touch(fresh, now)
	return fresh
}

// carried reports whether a connection carried the mail.
func carried(conns []evidence.Connection, messageID string) bool {
	return slices.ContainsFunc(conns, func(c evidence.Connection) bool {
		return slices.ContainsFunc(c.Transactions, func(tx evidence.Transaction) bool { return tx.Data && tx.MessageID == messageID })
	})
}

// verdictJSON is a verdict as it is stored.
func verdictJSON(v *policyinfer.Verdict) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // a verdict holds strings and numbers only
	}
	return b
}
