package assess

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/mailauth"
)

// maxListed bounds the Message-IDs and addresses that a test remembers.
const maxListed = 500

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

// reportLate makes the report due once its recipient is known to be genuine,
// which may be after the verdict.
func (a *Assessor) reportLate(t *test, batch *history.Batch, now time.Time) {
	if t.rec.Reported || t.rec.ReportTo == "" || t.rec.Concluded.IsZero() {
		return
	}
	t.rec.Reported = true
	batch.Enqueue = append(batch.Enqueue, history.QueueItem{ID: t.rec.Test.ID, TestID: t.rec.Test.ID, To: t.rec.ReportTo, Network: firstOf(t.rec.Clients), Created: now, Due: now})
}

func firstOf(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// notStored notes that a write about tests failed: Run tries it again. A report
// that was to be enqueued is due again.
func (a *Assessor) notStored(tests []*test, batch history.Batch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range tests {
		t.unsaved = true
		if slices.ContainsFunc(batch.Enqueue, func(q history.QueueItem) bool { return q.TestID == t.rec.Test.ID }) {
			t.rec.Reported = false
		}
	}
}

// refused takes back the acknowledgement of copies that got no 250.
func (a *Assessor) refused(t *test, copies []copyKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range copies {
		t.copies[k] = false
	}
	if t.rec.State == history.StateAcked && !t.allAcked() {
		t.rec.State, t.rec.Acked = history.StateConcluded, time.Time{}
	}
}

// saveAgain writes what is known of a test whose last write failed.
func (a *Assessor) saveAgain(ctx context.Context, t *test) {
	a.mu.Lock()
	batch := history.Batch{}
	if !t.rec.Concluded.IsZero() {
		batch = a.attachAll(t)
	}
	for _, c := range t.own {
		batch.Attach = append(batch.Attach, history.Attachment{Connection: c.ID, Test: t.rec.Test.ID, Attribution: evidence.ByMail})
	}
	a.reportLate(t, &batch, a.o.Now())
	batch.Tests = append(batch.Tests, t.rec)
	t.unsaved = false
	wait, err := a.o.Store.Begin(ctx, batch)
	a.mu.Unlock()
	if err == nil {
		err = wait(ctx)
	}
	if err != nil && ctx.Err() == nil {
		if !errors.Is(err, history.ErrDisk) { // the history has said so
			a.o.Logger.Error("test cannot be stored", "test", t.rec.Test.ID, "err", err)
		}
		a.notStored([]*test{t}, batch)
	}
}
