package history_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
)

// t0 is when everything begins in these tests.
func t0() time.Time { return time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC) }

func at(minutes int) time.Time { return t0().Add(time.Duration(minutes) * time.Minute) }

func path(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(tb.TempDir(), "tlsink.db")
}

func open(tb testing.TB, opt history.Options) *history.Store {
	tb.Helper()
	if opt.Path == "" {
		opt.Path = path(tb)
	}
	if opt.Now == nil {
		opt.Now = func() time.Time { return at(1000) }
	}
	s, err := history.Open(opt)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func commit(tb testing.TB, s *history.Store, b history.Batch) {
	tb.Helper()
	if err := s.Commit(tb.Context(), b); err != nil {
		tb.Fatal(err)
	}
}

// must returns v, and fails the test on an error.
func must[T any](tb testing.TB) func(v T, err error) T {
	tb.Helper()
	return func(v T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func connection(id string, start time.Time, senders ...string) evidence.Connection {
	sni, version := "mx04.et.sink.example", "1.3"
	c := evidence.Connection{
		ID: evidence.ConnID(id), Start: start, End: start.Add(time.Second),
		Client: "192.0.2.10:37690", Local: "192.0.2.25:25", Phase: evidence.Secure, StartTLSOffered: true, EHLO: true,
		Server: 4, Destination: "et", Helo: []string{"mta.sender.example"}, StartTLS: true,
		TLS:     &evidence.TLS{SNI: &sni, ClientVersions: []string{"1.2", "1.3"}, Version: &version, Stage: evidence.StageFinished, Complete: true, Certificate: "self-signed", TLSA: "match"},
		Replies: []string{"220", "250", "220", "250", "250", "250", "354", "451", "221"},
		Status:  evidence.StatusMail, Ending: evidence.EndingQuit,
	}
	for _, from := range senders {
		c.MailFrom = &from
		c.RcptTo = []string{"en@et.sink.example"}
		c.Transactions = append(c.Transactions, evidence.Transaction{
			MailFrom: from, RcptTo: []string{"en@et.sink.example"}, Data: true, Reply: 451, TLS: true, MessageID: "<m1@sender.example>",
			Message: &evidence.Message{From: []string{from}, Date: t0()},
		})
	}
	return c
}

func test(id, sender string, opened time.Time) history.TestRecord {
	return history.TestRecord{
		Test:       evidence.Test{ID: id, Zone: "sink.example", Started: opened, Sender: sender},
		Capability: "cap-" + id, MessageIDs: []string{"<m1@sender.example>"}, State: history.StateRunning,
		Opened: opened, LastSeen: opened,
	}
}

func ids(list []history.ConnectionRecord) []string {
	var out []string
	for _, r := range list {
		out = append(out, string(r.Connection.ID))
	}
	return out
}

func testIDs(list []history.TestRecord) []string {
	var out []string
	for _, r := range list {
		out = append(out, r.Test.ID)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	p := path(t)
	s := open(t, history.Options{Path: p})
	c := connection("c1", at(1), "a@sender.example")
	loose := connection("c2", at(2))
	loose.Attribution = evidence.ByAddress // only an attachment says that
	rec := test("T1", "a@sender.example", t0())
	rec.Verdict = json.RawMessage(`{"policy":"dane"}`)
	rec.Clients = []string{"192.0.2.10"}
	item := history.QueueItem{ID: "T1", TestID: "T1", To: "a@sender.example", Due: at(2), Created: at(1), Message: []byte("Subject: x\r\n\r\nbody")}
	query := evidence.Query{Time: at(1), Client: "192.0.2.53", Name: "_25._tcp.mx04.et.sink.example.", Type: "TLSA", DO: true, Rcode: "NOERROR"}
	fetch := evidence.PolicyFetch{Time: at(2), Client: "192.0.2.10", Host: "mta-sts.et.sink.example", Status: 200}
	commit(t, s, history.Batch{
		Connections: []evidence.Connection{c, loose},
		Attach:      []history.Attachment{{Connection: "c1", Test: "T1", Attribution: evidence.ByMail}},
		Tests:       []history.TestRecord{rec},
		Queries:     []history.TestQuery{{TestID: "T1", Query: query}},
		Fetches:     []history.TestFetch{{TestID: "T1", Fetch: fetch}},
		Enqueue:     []history.QueueItem{item},
	})

	for _, stage := range []string{"same store", "after reopening"} {
		if stage == "after reopening" {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, history.Options{Path: p})
		}
		rec.Schema = 1
		want := c
		want.Attribution = evidence.ByMail
		for name, d := range map[string]string{
			"Test":         cmp.Diff(rec, must[history.TestRecord](t)(s.Test("T1"))),
			"ByCapability": cmp.Diff(rec, must[history.TestRecord](t)(s.ByCapability("cap-T1"))),
			"ByMessageID":  cmp.Diff([]history.TestRecord{rec}, must[[]history.TestRecord](t)(s.ByMessageID("<m1@sender.example>"))),
			"Connection":   cmp.Diff(history.ConnectionRecord{Connection: want, Test: "T1"}, must[history.ConnectionRecord](t)(s.Connection("c1"))),
			"unattached":   cmp.Diff(history.ConnectionRecord{Connection: connection("c2", at(2))}, must[history.ConnectionRecord](t)(s.Connection("c2"))),
			"QueueItem":    cmp.Diff(item, must[history.QueueItem](t)(s.QueueItem("T1"))),
			"History": cmp.Diff(evidence.History{
				Test: rec.Test, Connections: []evidence.Connection{want}, Queries: []evidence.Query{query}, Fetches: []evidence.PolicyFetch{fetch}, Until: at(1000),
			}, must[evidence.History](t)(s.History("T1"))),
		} {
			if d != "" {
				t.Errorf("%s, %s: (-want +got)\n%s", stage, name, d)
			}
		}
	}
}

func TestNotFound(t *testing.T) {
	s := open(t, history.Options{})
	rec := test("T1", "a@sender.example", t0())
	rec.Capability = ""
	commit(t, s, history.Batch{Tests: []history.TestRecord{rec}})
	_, byTest := s.Test("x")
	_, byCapability := s.ByCapability("secret-capability")
	_, byEmpty := s.ByCapability("")
	_, byHistory := s.History("x")
	_, byConn := s.Connection("x")
	_, byItem := s.QueueItem("x")
	_, byMail := s.MailboxMessage("x")
	for i, err := range []error{byTest, byCapability, byEmpty, byHistory, byConn, byItem, byMail} {
		if !errors.Is(err, history.ErrNotFound) {
			t.Errorf("read %d: %v, want ErrNotFound", i, err)
		}
	}
	if strings.Contains(byCapability.Error(), "secret") {
		t.Errorf("the error repeats the capability: %v", byCapability)
	}
}

func TestOverwriteMovesIndexes(t *testing.T) {
	s := open(t, history.Options{})
	rec := test("T1", "a@sender.example", t0())
	commit(t, s, history.Batch{
		Connections: []evidence.Connection{connection("c1", at(1))},
		Tests:       []history.TestRecord{rec, test("T2", "b@sender.example", at(5))},
		Attach:      []history.Attachment{{Connection: "c1", Test: "T1", Attribution: evidence.ByAddress}},
	})
	rec.Capability, rec.MessageIDs, rec.State = "other", []string{"<m2@sender.example>"}, history.StateAcked
	commit(t, s, history.Batch{
		Connections: []evidence.Connection{connection("c1", at(30))},
		Tests:       []history.TestRecord{rec},
		Attach:      []history.Attachment{{Connection: "c1", Test: "T2", Attribution: evidence.ByMail}},
	})
	if _, err := s.ByCapability("cap-T1"); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("the old capability still works: %v", err)
	}
	ctx := t.Context()
	list := must[[]history.ConnectionRecord](t)
	tests := must[[]history.TestRecord](t)
	for name, c := range map[string]struct{ got, want []string }{
		"old message id":   {testIDs(tests(s.ByMessageID("<m1@sender.example>"))), []string{"T2"}},
		"new message id":   {testIDs(tests(s.ByMessageID("<m2@sender.example>"))), []string{"T1"}},
		"running":          {testIDs(tests(s.Tests(ctx, history.TestFilter{Running: true}))), []string{"T2"}},
		"all, newest":      {testIDs(tests(s.Tests(ctx, history.TestFilter{}))), []string{"T2", "T1"}},
		"since":            {testIDs(tests(s.Tests(ctx, history.TestFilter{Since: at(1)}))), []string{"T2"}},
		"old time":         {ids(list(s.Connections(ctx, history.ConnectionFilter{To: at(30)}))), nil},
		"new time":         {ids(list(s.Connections(ctx, history.ConnectionFilter{From: at(30)}))), []string{"c1"}},
		"no longer in T1":  {connIDs(must[evidence.History](t)(s.History("T1"))), nil},
		"now in T2":        {connIDs(must[evidence.History](t)(s.History("T2"))), []string{"c1"}},
		"unattached: none": {ids(list(s.Connections(ctx, history.ConnectionFilter{Unattached: true}))), nil},
	} {
		if d := cmp.Diff(c.want, c.got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", name, d)
		}
	}
	commit(t, s, history.Batch{Attach: []history.Attachment{{Connection: "c1"}}})
	if got := ids(list(s.Connections(ctx, history.ConnectionFilter{Unattached: true}))); !slices.Equal(got, []string{"c1"}) {
		t.Errorf("after detaching, unattached: %v", got)
	}
	st := must[history.Stats](t)(s.Stats())
	if st.Connections != 1 || st.Tests != 2 || st.OpenTests != 1 {
		t.Errorf("stats count %d connections, %d tests, %d open; want 1, 2, 1", st.Connections, st.Tests, st.OpenTests)
	}
}

func connIDs(h evidence.History) []string {
	var out []string
	for _, c := range h.Connections {
		out = append(out, string(c.ID))
	}
	return out
}

func TestConnectionsFilter(t *testing.T) {
	s := open(t, history.Options{})
	var b history.Batch
	for i := range 10 {
		b.Connections = append(b.Connections, connection(fmt.Sprintf("c%d", i), at(i)))
	}
	commit(t, s, b)
	for name, c := range map[string]struct {
		f    history.ConnectionFilter
		want []string
	}{
		"limit":             {history.ConnectionFilter{Limit: 2}, []string{"c0", "c1"}},
		"newest":            {history.ConnectionFilter{Limit: 2, Newest: true}, []string{"c9", "c8"}},
		"from to":           {history.ConnectionFilter{From: at(3), To: at(5)}, []string{"c3", "c4"}},
		"newest from to":    {history.ConnectionFilter{From: at(3), To: at(5), Newest: true}, []string{"c4", "c3"}},
		"newest to far":     {history.ConnectionFilter{From: at(8), To: at(99), Newest: true}, []string{"c9", "c8"}},
		"nothing":           {history.ConnectionFilter{From: at(11)}, nil},
		"newest to too far": {history.ConnectionFilter{To: t0(), Newest: true}, nil},
	} {
		got := ids(must[[]history.ConnectionRecord](t)(s.Connections(t.Context(), c.f)))
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", name, d)
		}
	}
}

// A history has the states that were in force during the test, of its slot
// only, completed with each other.
func TestHistoryStates(t *testing.T) {
	s := open(t, history.Options{})
	order := func(first int) map[string]int { return map[string]int{"mx03": first, "mx04": 50 - first} }
	mx := func(slot, minute, first int) history.StateRecord {
		return history.StateRecord{Slot: slot, State: evidence.State{Time: at(minute), MX: order(first)}}
	}
	rec := test("T1", "a@sender.example", at(20))
	rec.State, rec.Acked = history.StateAcked, at(40)
	commit(t, s, history.Batch{
		Tests:       []history.TestRecord{rec},
		Connections: []evidence.Connection{connection("early", at(15))},
		Attach:      []history.Attachment{{Connection: "early", Test: "T1", Attribution: evidence.ByAddress}},
		States:      []history.StateRecord{mx(0, 1, 10), mx(0, 10, 20), mx(0, 14, 30), mx(0, 30, 10), mx(0, 50, 20), mx(1, 16, 40)},
		TestStates: []history.TestState{
			{TestID: "T1", State: evidence.State{Time: at(15), Phase: evidence.Downgrade}},
			{TestID: "T1", State: evidence.State{Time: at(18), Phase: evidence.Secure}},
			{TestID: "T2", State: evidence.State{Time: at(19), Phase: evidence.Downgrade}},
		},
	})
	want := []evidence.State{
		{Time: at(10), MX: order(20)}, // in force two minutes before the first connection
		{Time: at(14), MX: order(30)},
		{Time: at(15), MX: order(30), Phase: evidence.Downgrade},
		{Time: at(18), MX: order(30), Phase: evidence.Secure},
		{Time: at(30), MX: order(10), Phase: evidence.Secure},
	}
	h := must[evidence.History](t)(s.History("T1"))
	if d := cmp.Diff(want, h.States); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if !h.Until.IsZero() {
		t.Errorf("Until is %v for a finished test, want zero", h.Until)
	}
}

// A fault that is found before any order is known, e.g. at a start, is part of
// the history, and so is its end.
func TestHistoryStatesOfAFault(t *testing.T) {
	s := open(t, history.Options{})
	order := map[string]int{"mx03": 10}
	state := func(minute int, broken string, mx map[string]int) history.StateRecord {
		st := evidence.State{Time: at(minute), MX: mx, Broken: broken}
		if broken != "" {
			st.BrokenSince = at(minute - 1)
		}
		return history.StateRecord{State: st}
	}
	commit(t, s, history.Batch{
		Tests:      []history.TestRecord{test("T1", "a@sender.example", at(10))},
		States:     []history.StateRecord{state(1, "", order), state(11, "mx05", nil), state(13, "", nil)},
		TestStates: []history.TestState{{TestID: "T1", State: evidence.State{Time: at(12), Phase: evidence.Secure}}},
	})
	want := []evidence.State{
		{Time: at(1), MX: order},
		{Time: at(11), MX: order, Broken: "mx05", BrokenSince: at(10)},
		{Time: at(12), Phase: evidence.Secure, MX: order, Broken: "mx05", BrokenSince: at(10)},
		{Time: at(13), Phase: evidence.Secure, MX: order},
	}
	h := must[evidence.History](t)(s.History("T1"))
	if d := cmp.Diff(want, h.States); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestHistoryRefusesToTruncate(t *testing.T) {
	s := open(t, history.Options{HistoryMax: 3})
	b := history.Batch{Tests: []history.TestRecord{test("T1", "a@sender.example", t0())}}
	for i := range 4 {
		id := fmt.Sprintf("c%d", i)
		b.Connections = append(b.Connections, connection(id, at(i)))
		b.Attach = append(b.Attach, history.Attachment{Connection: evidence.ConnID(id), Test: "T1"})
	}
	commit(t, s, b)
	if _, err := s.History("T1"); err == nil || !strings.Contains(err.Error(), "more than 3 records") {
		t.Errorf("got %v, want an error: half the evidence is not evidence", err)
	}
}

func TestOrderOfSubmitAndCommit(t *testing.T) {
	s := open(t, history.Options{QueueLength: 4})
	rec := test("T1", "a@sender.example", t0())
	for i := range 100 {
		rec.Test.LeftOut = i
		s.Submit(history.Batch{Tests: []history.TestRecord{rec}})
	}
	rec.Test.LeftOut = 1000
	commit(t, s, history.Batch{Tests: []history.TestRecord{rec}})
	if got := must[history.TestRecord](t)(s.Test("T1")); got.Test.LeftOut != 1000 {
		t.Errorf("the last write does not win: %d", got.Test.LeftOut)
	}
	for i := range 100 {
		rec.Test.LeftOut = i
		s.Submit(history.Batch{Tests: []history.TestRecord{rec}})
	}
	commit(t, s, history.Batch{})
	if got := must[history.TestRecord](t)(s.Test("T1")); got.Test.LeftOut != 99 {
		t.Errorf("an empty Commit does not wait for what was submitted before: %d", got.Test.LeftOut)
	}
}

// Begin fixes the order; when the callers wait does not matter.
func TestBegin(t *testing.T) {
	s := open(t, history.Options{})
	var waits []func(context.Context) error
	for i := range 10 {
		rec := test("T1", "a@sender.example", t0())
		rec.Test.LeftOut = i
		wait, err := s.Begin(t.Context(), history.Batch{Tests: []history.TestRecord{rec}})
		if err != nil {
			t.Fatal(err)
		}
		waits = append(waits, wait)
	}
	for _, wait := range slices.Backward(waits) {
		if err := wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := must[history.TestRecord](t)(s.Test("T1")); got.Test.LeftOut != 9 {
		t.Errorf("the last one begun does not win: %d", got.Test.LeftOut)
	}
	if _, err := s.Begin(t.Context(), history.Batch{Tests: []history.TestRecord{{}}}); err == nil {
		t.Error("a record without ID is taken")
	}
}

// A batch with one bad record leaves no trace, and does not harm others.
func TestAtomic(t *testing.T) {
	var log bytes.Buffer
	s := open(t, history.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	bad := test("T2", "b@sender.example", t0())
	bad.Verdict = json.RawMessage(`{`)
	batches := map[string]history.Batch{
		"broken JSON":    {Connections: []evidence.Connection{connection("c1", t0())}, Tests: []history.TestRecord{bad}},
		"empty ID":       {Connections: []evidence.Connection{connection("c1", t0())}, Tests: []history.TestRecord{{}}},
		"NUL in ID":      {Connections: []evidence.Connection{connection("c1", t0()), connection("a\x00b", t0())}},
		"endless ID":     {Connections: []evidence.Connection{connection("c1", t0()), connection(strings.Repeat("x", 257), t0())}},
		"endless record": {Connections: []evidence.Connection{connection("c1", t0())}, Tests: []history.TestRecord{{Test: evidence.Test{ID: "T"}, Note: strings.Repeat("x", 1<<20)}}},
	}
	for name, b := range batches {
		if err := s.Commit(t.Context(), b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := s.Connection("c1"); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("a part of a failed batch was written: %v", err)
	}
	s.Submit(batches["empty ID"])
	if st := must[history.Stats](t)(s.Stats()); st.Failed != 1 || !strings.Contains(log.String(), "history write failed") {
		t.Errorf("failed Submit: counted %d, log %q", st.Failed, log.String())
	}
}

// One change that fails in the file does not take down those that share its
// transaction.
func TestFailureInASharedTransaction(t *testing.T) {
	s := open(t, history.Options{})
	var b history.Batch
	for i := range 100 {
		id := fmt.Sprintf("c%03d", i)
		b.Connections = []evidence.Connection{connection(id, t0())}
		s.Submit(b)
		if i == 50 {
			t.Cleanup(waitFor(func() {
				if err := s.Deliver(context.Background(), strings.Repeat("x", 1<<20), nil, strings.NewReader("")); err == nil {
					t.Error("an endless sender is stored")
				}
			}))
		}
	}
	commit(t, s, history.Batch{})
	if n := len(must[[]history.ConnectionRecord](t)(s.Connections(t.Context(), history.ConnectionFilter{}))); n != 100 {
		t.Errorf("%d connections, want 100", n)
	}
}

// waitFor runs f at once, and returns a function that waits for its end.
func waitFor(f func()) func() {
	var wg sync.WaitGroup
	wg.Go(f)
	return wg.Wait
}

func TestConcurrentCommitsShareTransactions(t *testing.T) {
	s := open(t, history.Options{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 20 {
				if err := s.Commit(t.Context(), history.Batch{Connections: []evidence.Connection{connection(string(s.NewConnID()), t0())}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	st := must[history.Stats](t)(s.Stats())
	if st.Connections != 1000 || st.Batches != 1000 {
		t.Errorf("%d connections in %d batches, want 1000 in 1000", st.Connections, st.Batches)
	}
	if st.Transactions >= st.Batches {
		t.Errorf("%d transactions for %d batches: nothing was shared", st.Transactions, st.Batches)
	}
}

func TestCloseDrainsAndRefuses(t *testing.T) {
	p := path(t)
	s := open(t, history.Options{Path: p})
	for i := range 200 {
		s.Submit(history.Batch{Connections: []evidence.Connection{connection(fmt.Sprintf("c%03d", i), t0())}})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), history.Batch{}); !errors.Is(err, history.ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	s = open(t, history.Options{Path: p})
	if n := len(must[[]history.ConnectionRecord](t)(s.Connections(t.Context(), history.ConnectionFilter{}))); n != 200 {
		t.Errorf("%d connections after Close, want 200", n)
	}
}

func TestCommitHonoursContext(t *testing.T) {
	s := open(t, history.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Commit(ctx, history.Batch{})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if st := must[history.Stats](t)(s.Stats()); st.Failed != 0 {
		t.Errorf("a caller that left counts as failed write")
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("not a database ", 4000)), 0o600); err != nil {
		t.Fatal(err)
	}
	held := filepath.Join(dir, "held.db")
	open(t, history.Options{Path: held})
	newer := filepath.Join(dir, "newer.db")
	if err := open(t, history.Options{Path: newer}).Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, newer, func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte{0, 0, 0, 0, 0, 0, 0, 9})
	})
	for name, c := range map[string]struct {
		path string
		want []string
	}{
		"no path":           {"", []string{"data_dir"}},
		"held":              {held, []string{held, "another tlsink process", "stop it"}},
		"not a directory":   {filepath.Join(file, "x", "tlsink.db"), []string{"data_dir", file}},
		"not a database":    {file, []string{file, "not a tlsink history"}},
		"of a later schema": {newer, []string{newer, "schema version 9", "later tlsink"}},
	} {
		_, err := history.Open(history.Options{Path: c.path, LockTimeout: time.Millisecond})
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want one with %q", name, err, want)
			}
		}
	}
	if os.Getuid() == 0 {
		return // root may write anywhere
	}
	sealed := filepath.Join(dir, "sealed")
	if err := os.Mkdir(sealed, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := history.Open(history.Options{Path: filepath.Join(sealed, "tlsink.db")}); err == nil || !strings.Contains(err.Error(), "data_dir") {
		t.Errorf("unwritable directory: %v", err)
	}
}

// edit changes a closed file behind the store's back.
func edit(t *testing.T, path string, f func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(f), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestCorruptedValuesAreSkipped(t *testing.T) {
	p := path(t)
	s := open(t, history.Options{Path: p})
	commit(t, s, history.Batch{
		Connections: []evidence.Connection{connection("c1", at(1)), connection("c2", at(2)), connection("c3", at(3))},
		Tests:       []history.TestRecord{test("T1", "a@sender.example", t0()), test("T2", "a@sender.example", t0())},
		Enqueue:     []history.QueueItem{{ID: "q1", Due: t0()}, {ID: "q2", Due: t0()}},
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, p, func(tx *bolt.Tx) error {
		return errors.Join(
			tx.Bucket([]byte("connections")).Put([]byte("c2"), []byte("\x01........{\"id\":")),
			tx.Bucket([]byte("connections")).Put([]byte("c3"), []byte{1}),
			tx.Bucket([]byte("tests")).Put([]byte("T2"), []byte("\x07{}")),
			tx.Bucket([]byte("queue")).Put([]byte("q2"), []byte("\x01garbage")),
		)
	})
	var log bytes.Buffer
	s = open(t, history.Options{Path: p, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	ctx := t.Context()
	if got := ids(must[[]history.ConnectionRecord](t)(s.Connections(ctx, history.ConnectionFilter{}))); !slices.Equal(got, []string{"c1"}) {
		t.Errorf("connections %v, want c1", got)
	}
	if got := testIDs(must[[]history.TestRecord](t)(s.Tests(ctx, history.TestFilter{}))); !slices.Equal(got, []string{"T1"}) {
		t.Errorf("tests %v, want T1", got)
	}
	if got := must[[]history.QueueItem](t)(s.Due(at(5), 0)); len(got) != 1 || got[0].ID != "q1" {
		t.Errorf("due %v, want q1", got)
	}
	for _, key := range []string{"c2", "c3", "T2", "q2", "schema version 7"} {
		if !strings.Contains(log.String(), key) {
			t.Errorf("the log does not name %s:\n%s", key, log.String())
		}
	}
	// What cannot be read can be overwritten and purged.
	commit(t, s, history.Batch{Connections: []evidence.Connection{connection("c2", at(2))}, Tests: []history.TestRecord{test("T2", "a@sender.example", t0())}})
	if _, err := s.Purge(ctx, at(2000)); err != nil {
		t.Error(err)
	}
}

func TestNewConnID(t *testing.T) {
	p := path(t)
	var all []string
	for range 3 {
		s := open(t, history.Options{Path: p})
		for range 100 {
			all = append(all, string(s.NewConnID()))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.IsSorted(all) {
		t.Error("IDs are not in order")
	}
	if n := len(slices.Compact(all)); n != 300 {
		t.Errorf("%d different IDs, want 300", n)
	}
}

func TestCopy(t *testing.T) {
	p := path(t)
	s := open(t, history.Options{Path: p})
	commit(t, s, history.Batch{Connections: []evidence.Connection{connection("c1", t0())}})
	copied, again := path(t), path(t)
	if err := os.WriteFile(copied, bytes.Repeat([]byte("old"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.CopyTo(copied); err != nil {
		t.Fatal(err)
	}
	commit(t, s, history.Batch{Connections: []evidence.Connection{connection("c2", t0())}})
	if err := history.Copy(p, again); err == nil || !strings.Contains(err.Error(), "another tlsink process") {
		t.Errorf("copy of a file in use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := history.Copy(p, again); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]string{copied: {"c1"}, again: {"c1", "c2"}} {
		s := open(t, history.Options{Path: file})
		if got := ids(must[[]history.ConnectionRecord](t)(s.Connections(t.Context(), history.ConnectionFilter{}))); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", file, got, want)
		}
	}
	if err := s.CopyTo(filepath.Join(p, "x")); err == nil {
		t.Error("copied to a place that is none")
	}
}
