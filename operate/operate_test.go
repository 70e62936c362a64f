package operate_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/blocklist"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/operate"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

func t0() time.Time { return time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC) }

func at(minutes int) time.Time { return t0().Add(time.Duration(minutes) * time.Minute) }

// world is an operator with a real store; tests that run are played.
type world struct {
	*operate.Operator
	tb       testing.TB
	store    *history.Store
	now      time.Time
	log      bytes.Buffer
	standing map[string]policyinfer.Verdict
	views    int
	kicked   int
	parts    *part
	broken   error // of the next SetValue
}

type part struct {
	tests []string
	err   error
}

func (p *part) ForgetPerson(_ context.Context, _ string, tests []string) (int, error) {
	p.tests = append(p.tests, tests...)
	return len(tests), p.err
}

// played implements operate.Tests.
type played struct{ w *world }

func (p played) View(_ context.Context, id string) (history.TestRecord, report.Input, error) {
	p.w.views++
	r, err := p.w.store.Test(id)
	if err != nil {
		return r, report.Input{}, err
	}
	h, err := p.w.store.History(id)
	in := report.Input{Test: r.Test, History: h, State: r.State}
	if len(r.Verdict) > 0 {
		err = errors.Join(err, json.Unmarshal(r.Verdict, &in.Verdict))
	}
	return r, in, err
}

func (p played) Standing(id string) (policyinfer.Verdict, bool) {
	v, ok := p.w.standing[id]
	return v, ok
}

func (p played) Delete(ctx context.Context, id string) (int, error) {
	return p.w.store.DeleteTest(ctx, id)
}

func (p played) Forget(ctx context.Context, address string) (int, error) {
	return p.w.store.DeletePerson(ctx, address)
}

// failing is a store that does not take values when it should not.
type failing struct {
	*history.Store
	w *world
}

func (f failing) SetValue(ctx context.Context, key string, value []byte) error {
	if f.w.broken != nil {
		return f.w.broken
	}
	return f.Store.SetValue(ctx, key, value)
}

// entries keeps the block list in the store.
type entries struct{ store *history.Store }

func (e entries) Load(key string) ([]byte, error) {
	b, err := e.store.Value(key)
	if errors.Is(err, history.ErrNotFound) {
		return nil, nil
	}
	return b, err
}

func (e entries) Save(ctx context.Context, key string, value []byte) error {
	return e.store.SetValue(ctx, key, value)
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{tb: tb, now: at(10_000), standing: make(map[string]policyinfer.Verdict), parts: &part{}}
	var err error
	now := func() time.Time { return w.now }
	if w.store, err = history.Open(history.Options{Path: filepath.Join(tb.TempDir(), "history.db"), Now: now}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = w.store.Close() })
	blocks, err := blocklist.Open(blocklist.Options{State: entries{w.store}, Now: now, Rand: rand.Reader})
	if err != nil {
		tb.Fatal(err)
	}
	w.Operator, err = operate.New(operate.Options{
		Store: failing{w.store, w}, Tests: played{w}, Blocks: blocks, Now: now, Rand: rand.Reader, Logger: slog.New(slog.NewJSONHandler(&w.log, nil)),
		Link: func(c string) string { return "https://sink.example/t/" + c }, Kick: func() { w.kicked++ }, Days: func() int { return 30 },
		Forgetter: map[string]operate.Forgetter{"webhooks": w.parts},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

func (w *world) commit(b history.Batch) {
	w.tb.Helper()
	if err := w.store.Commit(w.tb.Context(), b); err != nil {
		w.tb.Fatal(err)
	}
}

// test is one that ended with a verdict.
func test(id, sender, client string, minute int) history.TestRecord {
	return history.TestRecord{
		Test:       evidence.Test{ID: id, Zone: "sink.example", Started: at(minute), Sender: sender, SenderIPs: []string{client}},
		Capability: "secret-" + id, MessageIDs: []string{"<" + id + "@sender.example>"}, Clients: []string{client + "/32"},
		State: history.StateAcked, Opened: at(minute), LastSeen: at(minute + 5), Concluded: at(minute + 5), Acked: at(minute + 6),
		Verdict: json.RawMessage(`{"policy":"dane","candidates":["dane"],"conclusive":true,"attempts":2}`),
	}
}

func running(id, sender, client string, minute int) history.TestRecord {
	r := test(id, sender, client, minute)
	r.State, r.Concluded, r.Acked, r.Verdict = history.StateRunning, time.Time{}, time.Time{}, nil
	return r
}

// connection carries the mail of a test, if it is given one.
func connection(id, client string, minute int, of *history.TestRecord) evidence.Connection {
	c := evidence.Connection{
		ID: evidence.ConnID(id), Start: at(minute), End: at(minute).Add(2 * time.Second), Client: client + ":40000", Local: "192.0.2.25:25", Phase: evidence.Secure,
		Helo: []string{"mta.sender.example"}, EHLO: true, StartTLSOffered: true, Status: evidence.StatusNone, Ending: evidence.EndingQuit,
	}
	if of == nil {
		return c
	}
	from := of.Test.Sender
	c.MailFrom, c.Data, c.Status = &from, true, evidence.StatusMail
	c.Transactions = []evidence.Transaction{{
		MailFrom: from, RcptTo: []string{"en@et.sink.example"}, Data: true, Reply: 451, MessageID: of.MessageIDs[0], Time: at(minute),
		Message: &evidence.Message{From: []string{from}, Date: at(minute - 1)},
	}}
	return c
}

func attach(test string, by evidence.Attribution, ids ...string) (out []history.Attachment) {
	for _, id := range ids {
		out = append(out, history.Attachment{Connection: evidence.ConnID(id), Test: test, Attribution: by})
	}
	return out
}

func (w *world) logged() []map[string]any {
	w.tb.Helper()
	var out []map[string]any
	for line := range strings.Lines(w.log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			w.tb.Fatalf("log line %q: %v", line, err)
		}
		out = append(out, m)
	}
	return out
}

// A list shows running tests with their verdict as of the last attempt, and
// loads no history.
func TestListLoadsNoHistories(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	list := []history.TestRecord{test("T1", "a@sender.example", "192.0.2.1", 1), running("T2", "b@sender.example", "192.0.2.2", 2), running("T3", "c@sender.example", "192.0.2.3", 3)}
	list[0].ReportTo = "a@sender.example"
	list[1].ReportBlocked = "neither SPF nor DKIM"
	w.commit(history.Batch{Tests: list, Enqueue: []history.QueueItem{{ID: "T1", TestID: "T1", To: "a@sender.example", Due: at(1), LastError: "451 later", Message: make([]byte, 1000)}}})
	w.standing["T2"] = policyinfer.Verdict{Policy: policyinfer.May, Attempts: 1}
	page, err := w.Tests(t.Context(), operate.Query{})
	if err != nil || len(page.Tests) != 3 || page.Next != "" {
		t.Fatalf("%+v %v", page, err)
	}
	for i, want := range []operate.TestRow{
		{ID: "T3", Policy: "", Report: "not yet due"},
		{ID: "T2", Policy: "may", Attempts: 1, Report: "none: neither SPF nor DKIM"},
		{ID: "T1", Policy: "dane", Attempts: 2, Conclusive: true, Report: "will be retried: 451 later"},
	} {
		got := page.Tests[i]
		if got.ID != want.ID || got.Policy != want.Policy || got.Attempts != want.Attempts || got.Report != want.Report || got.Conclusive != want.Conclusive || got.Link != "https://sink.example/t/secret-"+want.ID {
			t.Errorf("row %d: %+v", i, got)
		}
	}
	for verdict, want := range map[string]int{"may": 1, "dane": 1, "none": 0} {
		if p, err := w.Tests(t.Context(), operate.Query{Verdict: verdict}); err != nil || len(p.Tests) != want {
			t.Errorf("verdict %s: %+v %v", verdict, p, err)
		}
	}
	if p, err := w.Tests(t.Context(), operate.Query{ID: " t1 "}); err != nil || len(p.Tests) != 1 {
		t.Errorf("by id: %+v %v", p, err)
	}
	if p, err := w.Tests(t.Context(), operate.Query{ID: "NOSUCH"}); err != nil || len(p.Tests) != 0 {
		t.Errorf("by an id that no test has: %+v %v", p, err)
	}
	if w.views != 0 {
		t.Errorf("%d histories were loaded", w.views)
	}
	if x, err := w.Test(t.Context(), "t1"); err != nil || x.Report == nil || x.Report.State != operate.ReportRetried || x.Row.Policy != "dane" {
		t.Errorf("test: %+v %v", x, err)
	}
	if _, err := w.Test(t.Context(), "NOSUCH"); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("a test that does not exist: %v", err)
	}
	if o, err := w.Overview(t.Context()); err != nil || len(o.Running) != 2 || len(o.Recent) != 3 || o.Stats.Tests != 3 {
		t.Errorf("overview: %+v %v", o, err)
	}
}

func TestQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who := operate.Actor{Kind: "console", Name: "3f2a"}
	w.commit(history.Batch{Enqueue: []history.QueueItem{
		{ID: "T1", TestID: "T1", To: "a@sender.example", Due: at(20_000)},
		{ID: "T2", TestID: "T2", To: "b@sender.example", GaveUp: true, LastError: "550 no"},
		{ID: "T3", TestID: "T3", To: "c@sender.example", Sent: at(1)},
	}})
	if p, err := w.Reports(t.Context(), operate.ReportQuery{}); err != nil || len(p.Reports) != 3 || p.Reports[1].State != operate.ReportGivenUp || p.Reports[2].State != operate.ReportSent {
		t.Errorf("%+v %v", p, err)
	}
	for id, want := range map[string]error{"t1": nil, "T2": nil, "T3": operate.ErrConflict, "T4": history.ErrNotFound} {
		if err := w.RetryReport(t.Context(), who, id); !errors.Is(err, want) {
			t.Errorf("retry %s: %v, want %v", id, err, want)
		}
	}
	if due, err := w.store.Due(w.now, 0); err != nil || len(due) != 2 || w.kicked != 2 {
		t.Errorf("%d due, %d kicks, %v", len(due), w.kicked, err)
	}
	for id, want := range map[string]error{"T1": nil, "T4": history.ErrNotFound} {
		if err := w.DropReport(t.Context(), who, id); !errors.Is(err, want) {
			t.Errorf("drop %s: %v, want %v", id, err, want)
		}
	}
	if p, err := w.Reports(t.Context(), operate.ReportQuery{Pending: true}); err != nil || len(p.Reports) != 1 || p.Reports[0].ID != "T2" {
		t.Errorf("%+v %v", p, err)
	}
	if err := w.RetryDelivery(t.Context(), who, "x"); !errors.Is(err, operate.ErrConflict) {
		t.Errorf("webhooks that are not there: %v", err)
	}
	if list, err := w.Audit(); err != nil || len(list) != 3 || len(w.logged()) != 3 || list[0].Action != "report dropped" || list[0].Actor != who {
		t.Errorf("recorded %+v %v, logged %v", list, err, w.logged())
	}
}

// Deleting a person is one action with one entry, everywhere, and leaves no trace
// of who it was in the log and in the record.
func TestForgetPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own, other := test("T1", "Jane.Doe@person.example", "192.0.2.1", 1), test("T2", "other@sender.example", "192.0.2.2", 2)
	w.commit(history.Batch{
		Tests: []history.TestRecord{own, other}, Connections: []evidence.Connection{connection("c1", "192.0.2.1", 1, &own), connection("c2", "192.0.2.2", 2, &other)},
		Attach:  append(attach("T1", evidence.ByMail, "c1"), attach("T2", evidence.ByMail, "c2")...),
		Enqueue: []history.QueueItem{{ID: "T1", TestID: "T1", To: "jane.doe@person.example"}, {ID: "T2", TestID: "T2", To: "other@sender.example"}},
	})
	if err := w.store.Deliver(t.Context(), "jane.doe@person.example", []string{"abuse@sink.example"}, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	p, err := w.PersonPreview(t.Context(), "jane.doe@Person.example")
	if err != nil || len(p.Tests) != 1 || p.Reports != 1 || p.Mailbox != 1 || p.More {
		t.Errorf("preview %+v %v", p, err)
	}
	if len(w.logged()) != 0 {
		t.Error("looking was logged")
	}
	w.parts.err = errors.New("no room for jane.doe@person.example")
	f, err := w.ForgetPerson(t.Context(), operate.Actor{Kind: "cli"}, "jane.doe@person.example")
	if !errors.Is(err, w.parts.err) || f.Parts["history"] < 4 || f.Parts["webhooks"] != 1 || f.Records != f.Parts["history"]+1 {
		t.Errorf("%+v %v", f, err)
	}
	if len(w.parts.tests) != 1 || w.parts.tests[0] != "T1" {
		t.Errorf("webhooks were told of %v", w.parts.tests)
	}
	if page, err := w.Tests(t.Context(), operate.Query{}); err != nil || len(page.Tests) != 1 || page.Tests[0].ID != "T2" {
		t.Errorf("left: %+v %v", page, err)
	}
	record, err := w.store.Value("operate/audit")
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"log": w.log.String(), "record": string(record)} {
		if strings.Contains(strings.ToLower(text), "jane") || strings.Contains(text, "person.example") {
			t.Errorf("the %s names the person: %s", what, text)
		}
	}
	if n := len(w.logged()); n != 1 {
		t.Errorf("%d log entries, want one: %s", n, w.log.String())
	}
	for _, bad := range []string{"", "nobody", "@x.example", "a@", strings.Repeat("a", 400) + "@x.example"} {
		if _, err := w.ForgetPerson(t.Context(), operate.Actor{}, bad); !invalid(err) {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := w.PersonPreview(t.Context(), bad); !invalid(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func invalid(err error) bool {
	_, ok := errors.AsType[*operate.InvalidError](err)
	return ok
}

func TestDeleteAndPurge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.commit(history.Batch{Tests: []history.TestRecord{test("T1", "a@sender.example", "192.0.2.1", -60_000), test("T2", "a@sender.example", "192.0.2.1", 5000), running("T3", "a@sender.example", "192.0.2.1", 9000)}})
	cli := operate.Actor{Kind: "cli"}
	if _, err := w.DeleteTest(t.Context(), cli, "nosuch"); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("deleted what is not there: %v", err)
	}
	if r, err := w.Retention(); err != nil || r.Days != 30 || r.Stats.Tests != 3 || !r.OldestTest.Equal(at(-60_000)) {
		t.Errorf("%+v %v", r, err)
	}
	if n, err := w.Purge(t.Context(), cli, time.Time{}); err != nil || n != 1 {
		t.Errorf("%d purged, %v; want what is older than 30 days", n, err)
	}
	if _, err := w.Purge(t.Context(), cli, w.now.Add(time.Hour)); !invalid(err) {
		t.Errorf("purged the future: %v", err)
	}
	if n, err := w.Purge(t.Context(), cli, w.now); err != nil || n != 1 {
		t.Errorf("%d purged, %v; want all but the running one", n, err)
	}
	if n, err := w.DeleteTest(t.Context(), cli, "t3"); err != nil || n != 2 { // one of webhooks
		t.Errorf("%d records, %v", n, err)
	}
	if list, err := w.Audit(); err != nil || len(list) != 3 || len(w.logged()) != 3 {
		t.Errorf("%+v %v, logged %v", list, err, w.logged())
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cli := operate.Actor{Kind: "cli"}
	for _, b := range []operate.BlockRequest{
		{What: "nonsense nonsense"}, {What: ""}, {What: "0.0.0.0/0"}, {What: "192.0.2.1", Reason: strings.Repeat("x", 200)}, {What: "192.0.2.1", Until: at(0)},
	} {
		if _, err := w.AddBlock(t.Context(), cli, b); !invalid(err) {
			t.Errorf("%+v: %v", b, err)
		}
	}
	e, err := w.AddBlock(t.Context(), cli, operate.BlockRequest{What: "jane@person.example", Reason: "asked for it"})
	if err != nil || len(w.Blocks()) != 1 {
		t.Fatalf("%+v %v", e, err)
	}
	if err := w.RemoveBlock(t.Context(), cli, "nosuch"); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("removed what is not there: %v", err)
	}
	if err := w.RemoveBlock(t.Context(), cli, e.ID); err != nil || len(w.Blocks()) != 0 {
		t.Errorf("%v %v", err, w.Blocks())
	}
	if list, err := w.Audit(); err != nil || len(list) != 2 || list[0].Object != e.ID || list[1].Detail != "address" {
		t.Errorf("%+v %v", list, err)
	}
	if strings.Contains(w.log.String(), "jane") {
		t.Errorf("the log names who is blocked: %s", w.log.String())
	}
}

// The record of actions keeps the last ones, survives hostile text and callers at
// once, and an action that could not be recorded says so.
func TestAudit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hostile := operate.Actor{Kind: "console", Name: "a\nlevel=ERROR \x1b[2J\u202e" + strings.Repeat("x", 5000)}
	if _, err := w.Purge(t.Context(), hostile, time.Time{}); err != nil {
		t.Fatal(err)
	}
	list, err := w.Audit()
	if err != nil || len(list) != 1 || strings.ContainsAny(list[0].Actor.Name, "\n\x1b\u202e") || len(list[0].Actor.Name) > 300 {
		t.Errorf("%+v %v", list, err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5 {
				if _, err := w.Purge(t.Context(), operate.Actor{Kind: "cli", Name: fmt.Sprint(i)}, time.Time{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if list, err := w.Audit(); err != nil || len(list) != 41 || len(w.logged()) != 41 {
		t.Errorf("%d recorded, %d logged, %v", len(list), len(w.logged()), err)
	}
	many := make([]operate.AuditRecord, 1000)
	for i := range many {
		many[i] = operate.AuditRecord{Time: at(i), Action: "x"}
	}
	b, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.SetValue(t.Context(), "operate/audit", b); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Purge(t.Context(), operate.Actor{Kind: "cli"}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if list, err := w.Audit(); err != nil || len(list) != 1000 || list[0].Action != "old evidence deleted" || !list[999].Time.Equal(at(1)) {
		t.Errorf("%d records, %v", len(list), err)
	}
	w.broken = errors.New("disk full")
	if _, err := w.Purge(t.Context(), operate.Actor{Kind: "cli"}, time.Time{}); !errors.Is(err, w.broken) || !strings.Contains(err.Error(), "done, but not recorded") {
		t.Errorf("an action that was not recorded: %v", err)
	}
}
