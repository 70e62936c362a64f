package history_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
)

// found are many tests of many senders, one a minute.
func found(n int, detail string) []history.TestRecord {
	policies := []string{"none", "may", "encrypt", "verify", "dane", "mta-sts", "dane+mta-sts", "undetermined"}
	out := make([]history.TestRecord, 0, n)
	for i := range n {
		ip := fmt.Sprintf("192.0.%d.%d", i/250%250, i%250)
		if i%10 == 3 {
			ip = fmt.Sprintf("2001:db8:%x::%x", i%500+1, i%7+1)
		}
		client := evidence.ClientOf(netip.MustParseAddr(ip)).String()
		r := history.TestRecord{
			Test:       evidence.Test{ID: fmt.Sprintf("T%06d", i), Zone: "sink.example", Slot: i % 9, Started: at(i), Sender: fmt.Sprintf("User%d@d%d.example", i, i%1000), SenderIPs: []string{ip}},
			Capability: fmt.Sprintf("capability-%d", i), MessageIDs: []string{fmt.Sprintf("<%d@d.example>", i)}, Clients: []string{client},
			State: history.StateAcked, Opened: at(i), Concluded: at(i), Acked: at(i),
			Verdict: json.RawMessage(fmt.Sprintf(`{"policy":%q,"conclusive":true,"attempts":3,"reasons":[%s]}`, policies[i%len(policies)], detail)),
		}
		if i%100 == 99 {
			r.State, r.Acked, r.Concluded, r.Verdict = history.StateRunning, time.Time{}, time.Time{}, nil
		}
		out = append(out, r)
	}
	return out
}

func search(t *testing.T, s *history.Store, q history.TestSearch) (ids []string, pages int) {
	t.Helper()
	for {
		page, err := s.SearchTests(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Tests) > max(q.Limit, 50) {
			t.Fatalf("%d tests on a page of %d", len(page.Tests), q.Limit)
		}
		for _, r := range page.Tests {
			ids = append(ids, r.Test.ID)
		}
		pages++
		if q.Cursor = page.Next; q.Cursor == "" {
			return ids, pages
		}
	}
}

func TestSearchTests(t *testing.T) {
	t.Parallel()
	s := open(t, history.Options{})
	all := found(3000, "")
	all[17].Test.Sender = `"od\d\"` + "\x1b" + `"@weird.example`
	all[18].Test.Sender = ""
	commit(t, s, history.Batch{Tests: all})
	slot := 4
	prefix := netip.MustParsePrefix
	cases := map[string]struct {
		q    history.TestSearch
		want func(r history.TestRecord) bool
	}{
		"all":                {history.TestSearch{}, func(history.TestRecord) bool { return true }},
		"sender":             {history.TestSearch{Sender: "uSER42@D42.example"}, func(r history.TestRecord) bool { return r.Test.Sender == "User42@d42.example" }},
		"hostile sender":     {history.TestSearch{Sender: all[17].Test.Sender}, func(r history.TestRecord) bool { return r.Test.ID == "T000017" }},
		"no such sender":     {history.TestSearch{Sender: "nobody@d1.example"}, func(history.TestRecord) bool { return false }},
		"domain":             {history.TestSearch{Domains: []string{"d7.example"}}, func(r history.TestRecord) bool { return strings.HasSuffix(r.Test.Sender, "@d7.example") }},
		"parent domain":      {history.TestSearch{Domains: []string{"example"}}, func(r history.TestRecord) bool { return r.Test.Sender != "" }},
		"no part of a label": {history.TestSearch{Domains: []string{"7.example"}}, func(history.TestRecord) bool { return false }},
		"IPv4 network": {history.TestSearch{Network: prefix("192.0.3.0/24")}, func(r history.TestRecord) bool {
			return strings.HasPrefix(r.Test.SenderIPs[0], "192.0.3.")
		}},
		"odd IPv4 network": {history.TestSearch{Network: prefix("192.0.2.0/23")}, func(r history.TestRecord) bool {
			return strings.HasPrefix(r.Test.SenderIPs[0], "192.0.2.") || strings.HasPrefix(r.Test.SenderIPs[0], "192.0.3.")
		}},
		"IPv4 address": {history.TestSearch{Network: prefix("192.0.1.1/32")}, func(r history.TestRecord) bool { return r.Test.SenderIPs[0] == "192.0.1.1" }},
		"IPv6 network": {history.TestSearch{Network: prefix("2001:db8:4::/48")}, func(r history.TestRecord) bool { return strings.HasPrefix(r.Test.SenderIPs[0], "2001:db8:4::") }},
		"IPv6 address": {history.TestSearch{Network: prefix("2001:db8:4::4/128")}, func(r history.TestRecord) bool { return r.Test.SenderIPs[0] == "2001:db8:4::4" }},
		"other family": {history.TestSearch{Network: prefix("::/0")}, func(r history.TestRecord) bool { return strings.Contains(r.Test.SenderIPs[0], ":") }},
		"policy": {history.TestSearch{Policy: "dane", Match: func(r history.TestRecord) bool { return strings.HasPrefix(string(r.Verdict), `{"policy":"dane",`) }}, func(r history.TestRecord) bool {
			return strings.HasPrefix(string(r.Verdict), `{"policy":"dane",`)
		}},
		"running":         {history.TestSearch{States: []string{history.StateRunning}}, history.TestRecord.Open},
		"running or over": {history.TestSearch{States: []string{history.StateRunning, history.StateAcked}}, func(history.TestRecord) bool { return true }},
		"slot":            {history.TestSearch{Slot: &slot}, func(r history.TestRecord) bool { return r.Test.Slot == 4 }},
		"time": {history.TestSearch{From: at(100), To: at(200)}, func(r history.TestRecord) bool {
			return !r.Opened.Before(at(100)) && r.Opened.Before(at(200))
		}},
		"running in a time": {history.TestSearch{From: at(100), To: at(1200), States: []string{history.StateRunning}}, func(r history.TestRecord) bool {
			return r.Open() && !r.Opened.Before(at(100)) && r.Opened.Before(at(1200))
		}},
		"all of it": {history.TestSearch{Domains: []string{"d99.example"}, From: at(50), States: []string{history.StateRunning}}, func(r history.TestRecord) bool {
			return r.Open() && strings.HasSuffix(r.Test.Sender, "@d99.example") && !r.Opened.Before(at(50))
		}},
	}
	for name, c := range cases {
		var want []string
		for _, r := range slices.Backward(all) {
			if c.want(r) {
				want = append(want, r.Test.ID)
			}
		}
		for _, limit := range []int{0, 1000, 7} {
			c.q.Limit, c.q.MostRead = limit, 0
			if limit == 7 {
				c.q.MostRead = 333 // pages that are cut off, too
			}
			if got, _ := search(t, s, c.q); cmp.Diff(want, got) != "" {
				t.Errorf("%s, limit %d: %d found, want %d", name, limit, len(got), len(want))
			}
		}
	}
}

// A search that finds little says that it was cut off, instead of reading
// everything.
func TestSearchIsBounded(t *testing.T) {
	t.Parallel()
	s := open(t, history.Options{})
	commit(t, s, history.Batch{Tests: found(500, "")})
	q := history.TestSearch{Sender: "User3@d3.example", MostRead: 100}
	page, err := s.SearchTests(t.Context(), q)
	if err != nil || len(page.Tests) != 0 || !page.Cut || page.Next == "" {
		t.Errorf("%+v %v: want an empty page that is cut off, and where to go on", page, err)
	}
	if ids, pages := search(t, s, q); len(ids) != 1 || pages != 5 {
		t.Errorf("%v on %d pages", ids, pages)
	}
	for _, c := range []string{"x", "!!", "AAAA", strings.Repeat("A", 1000)} {
		if _, err := s.SearchTests(t.Context(), history.TestSearch{Cursor: c}); !errors.Is(err, history.ErrCursor) {
			t.Errorf("cursor %q: %v", c, err)
		}
		if _, err := s.Reports(t.Context(), history.ReportSearch{Cursor: c}); !errors.Is(err, history.ErrCursor) {
			t.Errorf("cursor %q: %v", c, err)
		}
	}
}

// A test that is deleted between two pages neither ends the list nor repeats it.
func TestSearchGoesOnBehindADeletedTest(t *testing.T) {
	t.Parallel()
	s := open(t, history.Options{})
	commit(t, s, history.Batch{Tests: found(20, "")})
	page, err := s.SearchTests(t.Context(), history.TestSearch{Limit: 5})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteTest(t.Context(), page.Tests[4].Test.ID); err != nil {
		t.Fatal(err)
	}
	if rest, _ := search(t, s, history.TestSearch{Limit: 5, Cursor: page.Next}); len(rest) != 15 || rest[0] != "T000014" {
		t.Errorf("after the deletion: %v", rest)
	}
}

func TestSearchConnections(t *testing.T) {
	t.Parallel()
	s := open(t, history.Options{})
	var b history.Batch
	for i := range 2500 {
		c := connection(fmt.Sprintf("c%05d", i), at(i), "a@sender.example")
		c.Client = fmt.Sprintf("192.0.%d.7:25", i%100)
		if i%5 == 0 {
			c.Client = "[2001:db8::1]:25"
		}
		b.Connections = append(b.Connections, c)
		if i%2 == 0 {
			b.Attach = append(b.Attach, history.Attachment{Connection: c.ID, Test: "T", Attribution: evidence.ByMail})
		}
	}
	commit(t, s, b)
	for name, c := range map[string]struct {
		q    history.ConnectionSearch
		want int
	}{
		"all":        {history.ConnectionSearch{}, 2500},
		"unattached": {history.ConnectionSearch{Unattached: true}, 1250},
		"network":    {history.ConnectionSearch{Network: netip.MustParsePrefix("192.0.7.0/24")}, 25},
		"IPv6":       {history.ConnectionSearch{Network: netip.MustParsePrefix("2001:db8::/32")}, 500},
		"time":       {history.ConnectionSearch{From: at(10), To: at(20)}, 10},
	} {
		for _, limit := range []int{0, 9, 1000} {
			q, n, last := c.q, 0, at(100_000)
			q.Limit, q.MostRead = limit, 1111
			for {
				page, err := s.SearchConnections(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range page.Connections {
					if !r.Connection.Start.Before(last) {
						t.Fatalf("%s: %v after %v", name, r.Connection.Start, last)
					}
					last = r.Connection.Start
				}
				n += len(page.Connections)
				if q.Cursor = page.Next; q.Cursor == "" {
					break
				}
			}
			if n != c.want {
				t.Errorf("%s, limit %d: %d, want %d", name, limit, n, c.want)
			}
		}
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	s := open(t, history.Options{})
	var b history.Batch
	for i := range 300 {
		q := history.QueueItem{ID: fmt.Sprintf("Q%03d", i), TestID: fmt.Sprintf("Q%03d", i), To: fmt.Sprintf("a%d@x.example", i%3), Created: at(i), Due: at(300 - i), Message: []byte("text")}
		if i%4 == 0 {
			q.Sent = at(i)
		}
		b.Enqueue = append(b.Enqueue, q)
	}
	commit(t, s, b)
	for name, c := range map[string]struct {
		q     history.ReportSearch
		want  int
		first string
	}{
		"all":     {history.ReportSearch{}, 300, "Q000"},
		"pending": {history.ReportSearch{Pending: true}, 225, "Q299"},
		"to":      {history.ReportSearch{To: "A1@x.example"}, 100, "Q001"},
	} {
		var got []string
		for q := c.q; ; {
			q.Limit = 17
			page, err := s.Reports(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Reports {
				got = append(got, r.ID)
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
		if len(got) != c.want || got[0] != c.first {
			t.Errorf("%s: %d from %v on, want %d from %s on", name, len(got), got[:1], c.want, c.first)
		}
	}
}

// A report that is tried again keeps its message, and one that was delivered is
// never sent twice.
func TestRetryReport(t *testing.T) {
	t.Parallel()
	s := open(t, history.Options{})
	items := []history.QueueItem{
		{ID: "waits", Due: at(100), Message: []byte("text")},
		{ID: "given up", GaveUp: true, LastError: "no", Attempts: 9, Message: []byte("text")},
		{ID: "sent", Sent: at(1), Message: []byte("text")},
	}
	commit(t, s, history.Batch{Enqueue: items})
	for id, want := range map[string]error{"waits": nil, "given up": nil, "sent": history.ErrSent, "none": history.ErrNotFound} {
		if err := s.RetryReport(t.Context(), id, at(5)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
	due, err := s.Due(at(5), 0)
	if err != nil || len(due) != 2 || string(due[0].Message) != "text" || due[0].GaveUp || due[1].GaveUp {
		t.Errorf("due: %+v %v", due, err)
	}
}

func TestDeleteTest(t *testing.T) {
	t.Parallel()
	s := open(t, history.Options{})
	tests := found(3, "")
	for i := range tests {
		tests[i].Test.Sender = "a@sender.example"
	}
	own, shared := connection("own", at(1), "a@sender.example"), connection("shared", at(1), "a@sender.example")
	other := shared.Transactions[0]
	other.MailFrom, other.Message = "b@other.example", nil
	shared.Transactions = append(shared.Transactions, other)
	commit(t, s, history.Batch{
		Tests: tests, Connections: []evidence.Connection{own, shared},
		Attach:  []history.Attachment{{Connection: "own", Test: "T000001", Attribution: evidence.ByMail}, {Connection: "shared", Test: "T000001", Attribution: evidence.ByMail}},
		Enqueue: []history.QueueItem{{ID: "T000001", TestID: "T000001", To: "a@sender.example"}},
	})
	n, err := s.DeleteTest(t.Context(), "T000001")
	if err != nil || n != 3 {
		t.Errorf("%d records deleted, %v; want the test, a connection and the report", n, err)
	}
	if _, err := s.Connection("own"); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("own connection: %v", err)
	}
	if c, err := s.Connection("shared"); err != nil || c.Test != "" {
		t.Errorf("shared connection: %+v %v", c, err)
	}
	if ids, _ := search(t, s, history.TestSearch{}); len(ids) != 2 {
		t.Errorf("left: %v", ids)
	}
	if _, err := s.Report("T000001"); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("report: %v", err)
	}
	for _, id := range []string{"T000001", "", "nosuch", "a\x00b"} {
		if _, err := s.DeleteTest(t.Context(), id); err == nil {
			t.Errorf("%q was deleted", id)
		}
	}
}

// BenchmarkSearchTests searches a history of 100,000 tests with verdicts as long
// as real ones: for something that one test has, by each condition, and for the
// first page.
//
//	go test ./history -bench SearchTests -run '^$'
func BenchmarkSearchTests(b *testing.B) {
	s := open(b, history.Options{})
	detail := strings.TrimSuffix(strings.Repeat(`{"id":"dane","text":"It did not hand the mail over where the TLSA record does not match","connections":["0000100000001","0000100000002"]},`, 12), ",")
	all := found(100_000, detail)
	for len(all) > 0 {
		n := min(len(all), 2000)
		commit(b, s, history.Batch{Tests: all[:n]})
		all = all[n:]
	}
	none := func(history.TestRecord) bool { return false }
	for _, c := range []struct {
		name string
		q    history.TestSearch
	}{
		{"first page", history.TestSearch{}},
		{"running", history.TestSearch{States: []string{history.StateRunning}}},
		{"address", history.TestSearch{Sender: "User17@d17.example"}},
		{"domain", history.TestSearch{Domains: []string{"d17.example"}, Limit: 1000}},
		{"client", history.TestSearch{Network: netip.MustParsePrefix("192.0.2.17/32"), Limit: 1000}},
		{"network", history.TestSearch{Network: netip.MustParsePrefix("198.51.100.0/24")}},
		{"policy that no test has", history.TestSearch{Policy: "mixed", Match: none}},
		{"every record", history.TestSearch{Match: none}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.SearchTests(b.Context(), c.q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
