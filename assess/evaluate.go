package assess

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// evidence gathers what belongs to t, as of now, and counts in Test.LeftOut what
// was left out because another test could own it as well.
func (a *Assessor) evidence(t *test) evidence.History {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.evidenceLocked(t)
}

func (a *Assessor) evidenceLocked(t *test) evidence.History {
	now := a.o.Now()
	h := evidence.History{Test: t.rec.Test, Until: now}
	parts, leftOut := a.parts(t, now)
	h.Connections = make([]evidence.Connection, len(parts))
	for i, p := range parts {
		h.Connections[i] = *p.Connection
		h.Connections[i].Attribution = p.by
	}
	// Silence means nothing where something may be missing; the record says so
	// to everyone who infers from it again. What came after the verdict was not
	// left out of it.
	if t.running() {
		t.rec.Test.LeftOut, h.Test.LeftOut = leftOut, leftOut
	}
	from := earlier(t.first, t.adopts(a.o.Timing.DateSkew)).Add(-a.o.Timing.Margin)
	for _, s := range a.states[t.rec.Test.Slot] {
		h.States = append(h.States, s)
		if len(h.States) > 1 && !s.Time.After(from) {
			h.States = h.States[len(h.States)-1:] // only the last one before matters
		}
	}
	return h
}

// part is a connection of a test, and why it is.
type part struct {
	*evidence.Connection
	by evidence.Attribution
}

// parts lists the connections of t, in order of arrival, and counts those that
// were left out.
func (a *Assessor) parts(t *test, now time.Time) (parts []part, leftOut int) {
	for i := range t.own {
		parts = append(parts, part{&t.own[i], t.own[i].Attribution})
	}
	leftOut = t.dropped
	since := t.adopts(a.o.Timing.DateSkew)
	kin := slices.DeleteFunc(a.kin(t), func(o *test) bool { return !o.ended().IsZero() && o.ended().Before(since) })
	for _, c := range t.clients {
		leftOut += c.dropped
		for i := range c.loose {
			conn := &c.loose[i]
			switch {
			case !t.mayOwn(conn, a.o.Timing.DateSkew):
			case t.exact(a.o.Zone, conn):
				parts = append(parts, part{conn, evidence.BySlot})
			case a.anyMayOwn(conn, t, kin, c.tests):
				leftOut++
			default:
				parts = append(parts, part{conn, evidence.ByAddress})
			}
		}
	}
	for id, conn := range a.conns {
		if t.clients[conn.client.key] == conn.client && conn.test != t && (!conn.named || conn.slot == t.rec.Test.Slot) {
			// It may still become part of the last attempt.
			parts = append(parts, part{&evidence.Connection{ID: id, Start: conn.start, End: now, Client: conn.remote.String(), Ending: evidence.EndingOpen}, evidence.ByAddress})
		}
	}
	// The order of contacts matters: ids are given in order of arrival.
	slices.SortFunc(parts, func(x, y part) int {
		return cmp.Or(x.Start.Compare(y.Start), cmp.Compare(x.ID, y.ID))
	})
	return parts, leftOut
}

// anyMayOwn reports whether a connection without mail could be that of a test
// in the lists, other than t.
func (a *Assessor) anyMayOwn(conn *evidence.Connection, t *test, lists ...[]*test) bool {
	for _, list := range lists {
		if slices.ContainsFunc(list, func(o *test) bool { return o != t && o.mayOwn(conn, a.o.Timing.DateSkew) }) {
			return true
		}
	}
	return false
}

// Run looks at verdicts when attempts are over and closes what has waited long
// enough. It returns when ctx ends.
func (a *Assessor) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		case <-timer.C:
		}
		next := a.evaluateDue(ctx)
		timer.Reset(next)
	}
}

// idle is how often Run looks without being asked.
const idle = time.Minute

// evaluateDue evaluates the tests that are due and returns how long until the
// next one is.
func (a *Assessor) evaluateDue(ctx context.Context) time.Duration {
	a.mu.Lock()
	now := a.o.Now()
	if now.Sub(a.swept) >= idle {
		a.swept = now
		a.forgetClients(now)
	}
	next := a.tellPhases(now)
	var due, unsaved []*test
	for id, t := range a.tests {
		ends := t.rec.Opened.Add(a.o.Timing.Close)
		switch {
		case t.running() && (t.dirty && !now.Before(t.due) || !now.Before(ends)):
			due = append(due, t)
		case t.running():
			if next = min(next, ends.Sub(now)); t.dirty {
				next = min(next, t.due.Sub(now))
			}
		case t.unsaved:
			unsaved = append(unsaved, t)
		case a.forgotten(t, now):
			a.forget(id, t, now)
		}
	}
	a.mu.Unlock()
	for _, t := range unsaved {
		a.saveAgain(ctx, t)
	}
	for _, t := range due {
		a.evaluate(ctx, t)
	}
	return max(next, time.Millisecond)
}

// evaluate infers from what t has and concludes it if that suffices.
func (a *Assessor) evaluate(ctx context.Context, t *test) {
	v := a.engine.Infer(a.evidence(t), policyinfer.Options{})
	a.mu.Lock()
	if a.tests[t.rec.Test.ID] != t { // deleted meanwhile
		a.mu.Unlock()
		return
	}
	now := a.o.Now()
	t.inferred = now
	batch := a.conclude(t, &v, now)
	if !now.Before(t.due) {
		t.dirty = false
	}
	batch.Tests = append(batch.Tests, t.rec)
	if len(batch.Enqueue) == 0 {
		defer a.mu.Unlock()
		a.o.Store.Submit(batch)
		return
	}
	wait, err := a.o.Store.Begin(ctx, batch)
	a.mu.Unlock()
	if err == nil {
		err = wait(ctx)
	}
	if err != nil && ctx.Err() == nil {
		if !errors.Is(err, history.ErrDisk) { // the history has said so
			a.o.Logger.Error("verdict cannot be stored", "test", batch.Tests[0].Test.ID, "err", err)
		}
		a.notStored([]*test{t}, batch)
	}
}

// conclude notes a verdict; if nothing more can be learned, the test ends and
// a report is due, in the same batch.
func (a *Assessor) conclude(t *test, v *policyinfer.Verdict, now time.Time) history.Batch {
	if !t.running() {
		return history.Batch{}
	}
	t.verdict = v
	if a.fault.Broken != "" && now.Sub(t.rec.Opened) < a.o.Timing.Close {
		return history.Batch{} // what is seen now does not count
	}
	if !v.Conclusive && !a.capped(t, v, now) {
		return history.Batch{}
	}
	return a.finish(t, v, now)
}

func (a *Assessor) finish(t *test, v *policyinfer.Verdict, now time.Time) history.Batch {
	batch := a.attachAll(t)
	if !v.Conclusive && t.rec.Test.LeftOut > 0 {
		t.rec.Provider = a.provider(t)
	}
	t.verdict = v
	t.rec.State, t.rec.Concluded = history.StateConcluded, now
	t.rec.Verdict, t.rec.Engine = verdictJSON(v), policyinfer.EngineVersion
	a.o.Decided()
	a.o.Changed(t.rec.Test.ID)
	a.o.Logger.Info("verdict reached", "test", t.rec.Test.ID, "policy", v.Policy, "conclusive", v.Conclusive)
	a.reportLate(t, &batch, now)
	return batch
}

// attachAll stores what was attributed by address or slot, and the queries that
// belong to the test.
func (a *Assessor) attachAll(t *test) history.Batch {
	var b history.Batch
	for _, c := range a.evidenceLocked(t).Connections {
		if c.Attribution != evidence.ByMail && c.Ending != evidence.EndingOpen {
			b.Attach = append(b.Attach, history.Attachment{Connection: c.ID, Test: t.rec.Test.ID, Attribution: c.Attribution})
		}
	}
	own, _ := a.queries(t)
	for _, q := range own {
		b.Queries = append(b.Queries, history.TestQuery{TestID: t.rec.Test.ID, Query: q})
	}
	return b
}

func (a *Assessor) runningTests() (out []*test) {
	for _, t := range a.tests {
		if t.running() {
			out = append(out, t)
		}
	}
	return out
}

// capped reports whether a test ends without a conclusive verdict: after
// Timing.Close, or when it has been to every face that could tell more, often
// and long enough.
func (a *Assessor) capped(t *test, v *policyinfer.Verdict, now time.Time) bool {
	age := now.Sub(t.rec.Opened)
	if age >= a.o.Timing.Close {
		return true
	}
	const enough = 4
	if age < max(a.o.Timing.Silence, a.o.Timing.Settle) || v.Attempts < enough || now.Before(t.due) {
		return false
	}
	h := a.evidenceLocked(t)
	if slices.ContainsFunc(h.Connections, func(c evidence.Connection) bool { return c.Ending == evidence.EndingOpen }) {
		return false // another attempt has begun
	}
	attempts := attemptsOf(h, a.o.Timing.Attempt)
	if v.Settles != nil && attemptsSince(attempts, *v.Settles) < 2 || offered(attempts) < 2 {
		return false
	}
	et, ut := a.expects(h)
	for _, m := range v.Missing {
		comes := et
		if m.Face == 7 {
			comes = ut
		}
		if comes && !met(attempts, m) {
			return false
		}
	}
	// Nothing was handed over at et: a face that it likes may still come.
	return !et || slices.ContainsFunc(h.Connections, func(c evidence.Connection) bool {
		return c.Data && c.Destination == string(scenario.ET)
	})
}

// expects reports for which domains mail may still come: those that a mail
// names or was for. One that names neither hides its recipients.
func (a *Assessor) expects(h evidence.History) (et, ut bool) {
	for _, c := range h.Connections {
		for _, tx := range c.Transactions {
			if !tx.Data {
				continue
			}
			_, domains := domainsOf(a.o.Zone, append(slices.Clone(tx.Addressed), tx.RcptTo...))
			et = et || len(tx.Addressed) == 0 || slices.Contains(domains, scenario.ET)
			ut = ut || len(tx.Addressed) == 0 || slices.Contains(domains, scenario.Unprotected)
		}
	}
	return et, ut
}

// attemptsOf groups the connections of h.
func attemptsOf(h evidence.History, gap time.Duration) (out [][]evidence.Connection) {
	var end time.Time
	for _, c := range slices.SortedFunc(slices.Values(h.Connections), func(a, b evidence.Connection) int { return a.Start.Compare(b.Start) }) {
		if len(out) == 0 || c.Start.Sub(end) > gap {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], c)
		if c.End.After(end) {
			end = c.End
		}
	}
	return out
}

// attemptsSince counts the attempts that began at a time or later.
func attemptsSince(attempts [][]evidence.Connection, from time.Time) (n int) {
	for _, a := range attempts {
		if !a[0].Start.Before(from) {
			n++
		}
	}
	return n
}

// met reports whether the sender has been to a face that is missing so often, in
// attempts that inference can use, that it will not tell more the next time.
// A refusal inside TLS may be somebody else's unless the sender's own mail came
// in the same attempt. Refusals of several hosts do not add up, so one of them
// must have been there that often.
func met(attempts [][]evidence.Connection, m policyinfer.Missing) bool {
	enough := 3
	if m.Certificate == scenario.NoCertificate {
		enough = 2
	}
	n := make(map[string]int)
	for _, a := range attempts {
		handedOver := slices.ContainsFunc(a, func(c evidence.Connection) bool { return c.Data })
		here := make(map[string]bool)
		for _, c := range a {
			if m.Certificate == scenario.NoCertificate && c.Phase == evidence.Downgrade && len(c.Helo) > 0 ||
				m.Certificate != scenario.NoCertificate && handedOver && c.TLS != nil && c.TLS.Certificate == string(m.Certificate) && c.Server == int(m.Face) {
				here[clientOf(c)] = true
			}
		}
		for client := range here {
			if n[client]++; n[client] >= enough {
				return true
			}
		}
	}
	return false
}

// offered counts the attempts in which STARTTLS was offered.
func offered(attempts [][]evidence.Connection) (n int) {
	for _, a := range attempts {
		if slices.ContainsFunc(a, func(c evidence.Connection) bool { return c.StartTLSOffered && c.EHLO }) {
			n++
		}
	}
	return n
}

// forgotten reports whether an ended test can leave memory: no client's
// treatment rests on it any more, and it ended long ago.
func (a *Assessor) forgotten(t *test, now time.Time) bool {
	if end := t.ended(); !end.IsZero() {
		// Its other copy may be coming while the store does not know yet. A mail
		// that is older may still come, and must not adopt what was this one's.
		room := len(a.tests) <= a.o.Limits.Tests
		if ago := now.Sub(end); ago < idle || room && ago < a.o.Timing.Close {
			return false
		}
	}
	for key, c := range t.clients {
		unused := c.open == 0 && now.Sub(c.last) >= a.o.Timing.Attempt
		if a.clients[key] == c && (!unused || !c.over(now, a.o.Timing.Forget)) {
			return false
		}
	}
	if now.Sub(t.kept) < idle {
		return false
	}
	if a.neededByKin(t) {
		t.kept = now
		return false
	}
	return true
}

// forget drops an ended test; one that never came back for its 250 is closed.
func (a *Assessor) forget(id string, t *test, now time.Time) {
	if t.rec.Open() {
		t.rec.State, t.rec.Closed = history.StateClosed, now
		a.o.Store.Submit(history.Batch{Tests: []history.TestRecord{t.rec}})
		a.over(t)
	}
	a.drop(id)
	for key, c := range t.clients {
		if a.clients[key] == c && c.over(now, a.o.Timing.Forget) {
			delete(a.clients, key)
		}
	}
}
