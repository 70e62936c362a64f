package history_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
)

func TestQueue(t *testing.T) {
	s := open(t, history.Options{})
	item := func(id string, due int) history.QueueItem {
		return history.QueueItem{ID: id, TestID: id, To: id + "@sender.example", Due: at(due), Created: t0()}
	}
	commit(t, s, history.Batch{Enqueue: []history.QueueItem{item("a", 3), item("b", 1), item("c", 2)}})
	due := func(minute int) []string {
		var out []string
		for _, q := range must[[]history.QueueItem](t)(s.Due(at(minute), 0)) {
			out = append(out, q.ID)
		}
		return out
	}
	if got := due(2); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("due at 2: %v, want b, c", got)
	}

	retried, sent, lost := item("b", 9), item("c", 2), item("never enqueued", 1)
	retried.Attempts, retried.Message = 1, []byte("rendered")
	sent.Sent = at(2)
	again := item("a", 1) // a report is queued once
	commit(t, s, history.Batch{Enqueue: []history.QueueItem{again}, Update: []history.QueueItem{retried, sent, lost}})
	if got := due(8); !slices.Equal(got, []string{"a"}) {
		t.Errorf("due at 8: %v, want a", got)
	}
	if next, ok, err := s.NextDue(); err != nil || !ok || !next.Equal(at(3)) {
		t.Errorf("next due %v, %v, %v; want %v", next, ok, err, at(3))
	}
	if d := cmp.Diff(retried, must[history.QueueItem](t)(s.QueueItem("b"))); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	commit(t, s, history.Batch{Remove: []string{"a", "b", "c", "unknown"}})
	if list := must[[]history.QueueItem](t)(s.Queue(t.Context())); len(list) != 0 {
		t.Errorf("left after removal: %v", list)
	}
	if _, ok, err := s.NextDue(); ok || err != nil {
		t.Errorf("an empty queue has a next item: %v", err)
	}
}

func TestMailboxIsCapped(t *testing.T) {
	for name, c := range map[string]struct {
		opt    history.Options
		bodies []string
		codes  []int
	}{
		"messages":  {history.Options{MailboxMax: 2}, []string{"a", "b", "c"}, []int{0, 0, 452}},
		"octets":    {history.Options{MailboxBytes: 10}, []string{"12345678", "123", "12"}, []int{0, 452, 0}},
		"too large": {history.Options{MessageBytes: 3}, []string{"123", "1234"}, []int{0, 552}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, c.opt)
			refused := 0
			for i, body := range c.bodies {
				err := s.Deliver(t.Context(), "a@sender.example", []string{"abuse@sink.example"}, strings.NewReader(body))
				code := 0
				if r, ok := errors.AsType[*history.RefusedError](err); ok {
					code, _, _ = r.SMTPReply()
					refused++
				} else if err != nil {
					t.Fatal(err)
				}
				if code != c.codes[i] {
					t.Errorf("message %d: reply %d, want %d", i, code, c.codes[i])
				}
			}
			if st := must[history.Stats](t)(s.Stats()); int(st.MailboxRefused) != refused || st.Mailbox != len(c.bodies)-refused {
				t.Errorf("counted %d refused and %d kept", st.MailboxRefused, st.Mailbox)
			}
		})
	}
}

func TestLimitMailbox(t *testing.T) {
	s := open(t, history.Options{MailboxMax: 1})
	deliver := func(text string) error {
		return s.Deliver(t.Context(), "a@sender.example", []string{"postmaster"}, strings.NewReader(text))
	}
	code := func(err error) int {
		if r, ok := errors.AsType[*history.RefusedError](err); ok {
			return r.Code
		}
		return 0
	}
	if err := deliver("one"); err != nil {
		t.Fatal(err)
	}
	if err := deliver("two"); code(err) != 452 {
		t.Errorf("over the limit: %v", err)
	}
	s.LimitMailbox(2, 3)
	if err := deliver("two"); err != nil {
		t.Errorf("below the new limit: %v", err)
	}
	if err := deliver("long"); code(err) != 552 {
		t.Errorf("larger than the new limit: %v", err)
	}
	s.LimitMailbox(1, 0) // what is there stays
	if n := len(must[[]history.MailboxItem](t)(s.Mailbox(t.Context()))); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

func TestMailboxReadAndDelete(t *testing.T) {
	s := open(t, history.Options{MailboxMax: 1})
	ctx := t.Context()
	deliver := func(body string) error {
		return s.Deliver(ctx, "", []string{"postmaster@sink.example"}, strings.NewReader(body))
	}
	if err := deliver("Subject: one\r\n\r\n\xff"); err != nil {
		t.Fatal(err)
	}
	list := must[[]history.MailboxItem](t)(s.Mailbox(ctx))
	want := []history.MailboxItem{{ID: "1", Time: at(1000), To: []string{"postmaster@sink.example"}, Size: 17}}
	if d := cmp.Diff(want, list); d != "" {
		t.Fatalf("(-want +got)\n%s", d)
	}
	if got := must[[]byte](t)(s.MailboxMessage("1")); string(got) != "Subject: one\r\n\r\n\xff" {
		t.Errorf("message %q", got)
	}
	if err := s.DeleteMailbox(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	if err := deliver("two"); err != nil {
		t.Errorf("no room after a deletion: %v", err)
	}
	if _, err := s.MailboxMessage("../../x"); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("a strange ID: %v", err)
	}
}

func TestPurge(t *testing.T) {
	s := open(t, history.Options{})
	ctx := t.Context()
	record := func(id, state string, last int) history.TestRecord {
		r := test(id, "a@sender.example", t0())
		r.State, r.LastSeen = state, at(last)
		return r
	}
	b := history.Batch{
		Tests: []history.TestRecord{
			record("old", history.StateAcked, 1), record("recent", history.StateAcked, 100),
			record("running", history.StateRunning, 1), record("unreported", history.StateClosed, 1),
		},
		Queries: []history.TestQuery{{TestID: "old", Query: evidence.Query{Time: t0()}}, {TestID: "recent", Query: evidence.Query{Time: t0()}}},
		Enqueue: []history.QueueItem{
			{ID: "q-pending", TestID: "unreported", Due: t0(), Created: t0()},
			{ID: "q-sent", TestID: "old", Due: t0(), Created: t0(), Sent: at(1)},
			{ID: "q-gave-up", TestID: "old", Due: t0(), Created: t0(), GaveUp: true},
			{ID: "q-sent-late", TestID: "old", Due: t0(), Created: t0(), Sent: at(70)},
		},
	}
	for _, id := range []string{"old", "recent", "running", "unreported"} {
		b.Connections = append(b.Connections, connection("c-"+id, t0()))
		b.Attach = append(b.Attach, history.Attachment{Connection: evidence.ConnID("c-" + id), Test: id, Attribution: evidence.ByMail})
	}
	for i := range 1200 { // more than one chunk
		b.Connections = append(b.Connections, connection(fmt.Sprintf("scan-%04d", i), at(2)))
	}
	b.Connections = append(b.Connections, connection("scan-recent", at(61)))
	commit(t, s, b)

	n, err := s.Purge(ctx, at(60))
	if err != nil {
		t.Fatal(err)
	}
	if want := 1200 + 2; n != want {
		t.Errorf("purged %d, want %d", n, want)
	}
	var left []string
	for _, r := range must[[]history.TestRecord](t)(s.Tests(ctx, history.TestFilter{})) {
		left = append(left, r.Test.ID)
	}
	left = append(left, ids(must[[]history.ConnectionRecord](t)(s.Connections(ctx, history.ConnectionFilter{})))...)
	for _, q := range must[[]history.QueueItem](t)(s.Queue(ctx)) {
		left = append(left, q.ID)
	}
	slices.Sort(left)
	want := []string{"c-recent", "c-running", "c-unreported", "q-pending", "q-sent-late", "recent", "running", "scan-recent", "unreported"}
	if d := cmp.Diff(want, left); d != "" {
		t.Errorf("left over: (-want +got)\n%s", d)
	}
	if st := must[history.Stats](t)(s.Stats()); st.Connections != 4 || st.Tests != 3 {
		t.Errorf("counted %d connections and %d tests, want 4 and 3", st.Connections, st.Tests)
	}
	if _, err := s.ByCapability("cap-old"); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("a purged test is still found: %v", err)
	}
	if h := must[evidence.History](t)(s.History("recent")); len(h.Queries) != 1 {
		t.Errorf("a kept test lost its queries")
	}
}

func TestPurgeKeepsTheStateInForce(t *testing.T) {
	s := open(t, history.Options{})
	var b history.Batch
	for day := range 10 {
		b.States = append(b.States, history.StateRecord{State: evidence.State{Time: t0().AddDate(0, 0, day), MX: map[string]int{"mx03": day}}})
	}
	rec := test("T1", "a@sender.example", t0().AddDate(0, 0, 20))
	b.Tests = append(b.Tests, rec)
	commit(t, s, b)
	if _, err := s.Purge(t.Context(), t0().AddDate(0, 0, 15)); err != nil {
		t.Fatal(err)
	}
	h := must[evidence.History](t)(s.History("T1"))
	if len(h.States) != 1 || h.States[0].MX["mx03"] != 9 {
		t.Errorf("states %v, want the last one before the test", h.States)
	}
	if _, err := s.Purge(t.Context(), t0().Add(99*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if h := must[evidence.History](t)(s.History("T1")); len(h.States) != 1 {
		t.Errorf("the state in force was purged")
	}
}

func TestDeletePerson(t *testing.T) {
	s := open(t, history.Options{})
	ctx := t.Context()
	const alice, bob = "alice@sender.example", "bob@sender.example"
	commit(t, s, history.Batch{
		Tests: []history.TestRecord{test("TA", alice, t0()), test("TB", bob, t0())},
		Connections: []evidence.Connection{
			connection("alice", at(1), alice), connection("both", at(2), alice, bob), connection("bob", at(3), bob),
			connection("loose", at(4), alice), connection("silent", at(5)),
		},
		Attach: []history.Attachment{
			{Connection: "alice", Test: "TA"}, {Connection: "both", Test: "TA"}, {Connection: "bob", Test: "TB"}, {Connection: "silent", Test: "TB"},
		},
		Enqueue: []history.QueueItem{{ID: "TA", TestID: "TA", To: alice, Due: t0()}, {ID: "TB", TestID: "TB", To: bob, Due: t0()}},
	})
	for _, from := range []string{alice, bob} {
		if err := s.Deliver(ctx, from, []string{"abuse@sink.example"}, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	if n := must[int](t)(s.DeletePerson(ctx, "Alice@Sender.Example")); n != 6 {
		t.Errorf("deleted %d records, want 6", n)
	}
	got := ids(must[[]history.ConnectionRecord](t)(s.Connections(ctx, history.ConnectionFilter{})))
	if d := cmp.Diff([]string{"both", "bob", "silent"}, got); d != "" {
		t.Errorf("connections: (-want +got)\n%s", d)
	}
	shared := must[history.ConnectionRecord](t)(s.Connection("both"))
	if n := len(shared.Connection.Transactions); n != 1 || shared.Connection.Transactions[0].MailFrom != bob {
		t.Errorf("the shared connection keeps %v", shared.Connection.Transactions)
	}
	if got := testIDs(must[[]history.TestRecord](t)(s.Tests(ctx, history.TestFilter{}))); !slices.Equal(got, []string{"TB"}) {
		t.Errorf("tests %v, want TB", got)
	}
	if q := must[[]history.QueueItem](t)(s.Queue(ctx)); len(q) != 1 || q[0].ID != "TB" {
		t.Errorf("queue %v, want TB", q)
	}
	if m := must[[]history.MailboxItem](t)(s.Mailbox(ctx)); len(m) != 1 || m[0].From != bob {
		t.Errorf("mailbox %v, want bob's", m)
	}
	if n := must[int](t)(s.DeletePerson(ctx, "")); n != 0 {
		t.Errorf("an empty address deletes %d records", n)
	}
}
