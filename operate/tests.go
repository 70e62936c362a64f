package operate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/history"
)

// standing is what a list shows of a verdict.
type standing struct {
	Policy     string `json:"policy"`
	Conclusive bool   `json:"conclusive"`
	Attempts   int    `json:"attempts"`
}

// standing returns the verdict as stored, or as of the last attempt; it infers
// nothing.
func (o *Operator) standing(r history.TestRecord) (s standing) {
	if len(r.Verdict) > 0 {
		if json.Unmarshal(r.Verdict, &s) != nil {
			return standing{}
		}
		return s
	}
	if v, ok := o.o.Tests.Standing(r.Test.ID); ok {
		return standing{string(v.Policy), v.Conclusive, v.Attempts}
	}
	return standing{}
}

// testID is how test ids are written.
func testID(s string) string { return strings.ToUpper(strings.TrimSpace(s)) }

// Tests returns a page of tests, the last opened first. With an ID the rest of
// the query is ignored; without such a test the page is empty.
func (o *Operator) Tests(ctx context.Context, q Query) (TestPage, error) {
	if err := q.check(); err != nil {
		return TestPage{}, err
	}
	page := TestPage{Tests: []TestRow{}}
	if q.ID != "" {
		r, err := o.o.Store.Test(testID(q.ID))
		switch {
		case errors.Is(err, history.ErrNotFound):
			return page, nil
		case err != nil:
			return page, err
		}
		page.Tests = append(page.Tests, o.row(r))
		return page, nil
	}
	found, err := o.search(ctx, q)
	if err != nil {
		return page, err
	}
	for _, r := range found.Tests {
		page.Tests = append(page.Tests, o.row(r))
	}
	page.Next, page.Cut = found.Next, found.Cut
	return page, nil
}

func (o *Operator) search(ctx context.Context, q Query) (history.TestPage, error) {
	s := q.search()
	empty := q.Address == "<>" // the null reverse-path
	if empty {
		s.Sender = ""
	}
	s.Match = func(r history.TestRecord) bool {
		return (q.Verdict == "" || o.standing(r).Policy == q.Verdict) && (!empty || r.Test.Sender == "")
	}
	found, err := o.o.Store.SearchTests(ctx, s)
	if errors.Is(err, history.ErrCursor) {
		return found, &InvalidError{"cursor", q.Cursor, "is no place in this list: start again"}
	}
	return found, err
}

// mostClients bounds the clients of a row.
const mostClients = 5

func (o *Operator) row(r history.TestRecord) TestRow {
	s := o.standing(r)
	row := TestRow{
		ID: r.Test.ID, Started: r.Test.Started, LastSeen: r.LastSeen, Ended: ended(r), Sender: r.Test.Sender,
		Clients: slices.Clone(r.Test.SenderIPs[:min(len(r.Test.SenderIPs), mostClients)]), State: r.State, Slot: r.Test.Slot,
		Policy: s.Policy, Conclusive: s.Conclusive, Attempts: s.Attempts, Report: o.reportWords(r),
	}
	if o.o.Link != nil && r.Capability != "" {
		row.Link = o.o.Link(r.Capability)
	}
	return row
}

// ended is when a test was acked or closed; zero while it is open.
func ended(r history.TestRecord) time.Time {
	if !r.Acked.IsZero() {
		return r.Acked
	}
	return r.Closed
}

// reportWords says what became of the report of a test.
func (o *Operator) reportWords(r history.TestRecord) string {
	q, err := o.o.Store.Report(r.Test.ID)
	switch {
	case err != nil && r.ReportBlocked != "":
		return "none: " + r.ReportBlocked
	case err != nil:
		return "not yet due"
	}
	row := reportRow(q)
	switch row.State {
	case ReportRetried:
		return "will be retried: " + row.LastError
	case ReportGivenUp:
		return "given up: " + row.LastError
	}
	return row.State
}

// Test returns everything about a test.
func (o *Operator) Test(ctx context.Context, id string) (Test, error) {
	r, in, err := o.o.Tests.View(ctx, testID(id))
	if err != nil {
		return Test{}, fmt.Errorf("test %q: %w", id, err)
	}
	t := Test{Row: o.row(r), Record: r, Input: in}
	t.Row.Policy, t.Row.Conclusive, t.Row.Attempts = string(in.Verdict.Policy), in.Verdict.Conclusive, in.Verdict.Attempts
	if q, err := o.o.Store.Report(r.Test.ID); err == nil {
		row := reportRow(q)
		t.Report = &row
	}
	return t, nil
}
