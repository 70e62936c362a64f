package assess

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
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
	id := mailID(tx)
	if id == "" && tx.MailFrom == "" {
		// A bounce that nothing tells from other bounces: each attempt would
		// open a test that never ends.
		return sink.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "tlsink: a bounce without Message-ID and Date is not tested"}
	}
	var known []history.TestRecord
	if id != "" {
		var err error
		if known, err = a.o.Store.ByMessageID(id); err != nil {
			a.o.Logger.Error("tests of a Message-ID cannot be read", "connection", snapshot.ID, "err", err)
			return storageTrouble()
		}
	}
	client := clientOf(snapshot)
	if i := slices.IndexFunc(known, func(r history.TestRecord) bool {
		return !r.Open() && r.Test.Slot == slot && atToken(r, tx) && isMailOf(r, tx, slices.Contains(r.Clients, client))
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
	batch := history.Batch{Connections: []evidence.Connection{snapshot}}
	// All who got the mail know its sender and Message-ID, too.
	here := slices.Contains(r.Clients, clientOf(snapshot))
	_, named := mailTrait(snapshot.Transactions[len(snapshot.Transactions)-1])
	a.mu.Lock()
	if here || named {
		if conn := a.conns[snapshot.ID]; conn != nil && a.tests[r.Test.ID] != nil {
			conn.test = a.tests[r.Test.ID]
		}
		batch.Attach = []history.Attachment{{Connection: snapshot.ID, Test: r.Test.ID, Attribution: evidence.ByMail}}
	}
	wait, err := a.o.Store.Begin(ctx, batch)
	a.mu.Unlock()
	if err == nil {
		err = wait(ctx)
	}
	if err != nil {
		if !errors.Is(err, history.ErrDisk) { // the history has said so
			a.o.Logger.Error("evidence cannot be stored", "test", r.Test.ID, "connection", snapshot.ID, "err", err)
		}
		return storageTrouble()
	}
	if !here {
		r.Capability = ""
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
			a.o.Logger.Warn("no test opened", "connection", snapshot.ID, "err", err)
			return nil, sink.Reply{Code: 451, Enhanced: [3]int{4, 3, 2}, Text: "too many tests are running, please retry later"}, false
		}
		a.o.Logger.Info("test opened", "test", t.rec.Test.ID, "connection", snapshot.ID, "slot", slot)
		a.shareSlot(t)
	}
	if id := mailID(tx); !t.has(id) && len(t.rec.MessageIDs) < maxListed {
		t.rec.MessageIDs = append(t.rec.MessageIDs, id)
	}
	if t.rec.Resent.IsZero() && sentAgain(t, tx, domains) {
		// The user sent it again: probably the first one bounced because STARTTLS
		// was withheld. Some senders do so whenever no MX offers it.
		t.rec.Resent = t.firstOf(mailID(tx), snapshot.Start)
		for _, c := range t.clients {
			c.withhold.sentAgain(now)
		}
	}
	if t.has(mailID(tx)) { // else there are too many of them
		for _, k := range copiesOf(tx, domains) {
			t.copies[k] = t.copies[k] || false
		}
	}
	conn.test = t
	conn.client.join(t)
	joined := t.clients[conn.client.key] != conn.client
	t.clients[conn.client.key] = conn.client
	a.notePlace(t, conn, tx, known)
	a.put(t, snapshot)
	if joined { // later ones are seen as they end
		a.shareRefused(conn.client, conn.client.loose...)
	}
	t.rec.LastSeen = now
	a.o.Used(slot)
	a.touch(t, now)
	a.o.Changed(t.rec.Test.ID)
	return t, sink.Reply{}, true
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// decide infers, and answers.
func (a *Assessor) decide(ctx context.Context, t *test, snapshot evidence.Connection, tx evidence.Transaction, domains []scenario.Domain) sink.Reply {
	v := a.verdictFor(t)

	a.mu.Lock()
	now := a.o.Now()
	split, batch := a.splitResent(t, v, snapshot.ID, now)
	changed := []*test{t}
	if split != nil {
		// What the new test did not see itself is not borrowed from the old one.
		t, v = split, a.engine.Infer(a.evidenceLocked(split), policyinfer.Options{})
		changed = append(changed, t)
	}
	batch.Merge(a.conclude(t, &v, now))
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
		a.notStored(changed, batch)
		a.refused(t, copiesOf(tx, domains))
	}
	if err != nil {
		if !errors.Is(err, history.ErrDisk) { // the history has said so
			a.o.Logger.Error("evidence cannot be stored", "test", t.rec.Test.ID, "connection", snapshot.ID, "err", err)
		}
		return storageTrouble()
	}
	a.o.Logger.Debug("message answered", "test", t.rec.Test.ID, "connection", snapshot.ID, "code", reply.Code)
	return reply
}

// quick is up to how many connections of a test each mail of it is judged at
// once.
const quick = 1000

// verdictFor infers for a mail of t. If t has very many connections, that takes
// so long that mails in quick succession share a verdict: Run looks again once
// the attempt is over.
func (a *Assessor) verdictFor(t *test) policyinfer.Verdict {
	a.mu.Lock()
	now, size := a.o.Now(), len(t.own)
	for _, c := range t.clients {
		size += len(c.loose)
	}
	pause := time.Duration(size/quick) * time.Second
	if t.running() && t.verdict != nil && now.Sub(t.inferred) < pause && now.Sub(t.rec.Opened) < a.o.Timing.Close {
		defer a.mu.Unlock()
		return *t.verdict
	}
	h := a.evidenceLocked(t)
	t.inferred = now
	a.mu.Unlock()
	return a.engine.Infer(h, policyinfer.Options{})
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
	if link := a.o.ResultURL(r.Capability); r.Capability != "" && link != "" {
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
		a.over(t)
	}
}

// verdictJSON is a verdict as it is stored.
func verdictJSON(v *policyinfer.Verdict) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // a verdict holds strings and numbers only
	}
	return b
}
