package operate_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/operate"
)

// No cell of a table is a formula, breaks a line or steers a terminal, whatever a
// sender is called.
func TestCSVIsHarmless(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	senders := []string{
		`=HYPERLINK("http://evil.example","x")@sender.example`, "+1@sender.example", "-1@sender.example", "@sender.example", "\t=1@sender.example", " =1@sender.example",
		"＝1@sender.example", "|cmd@sender.example", "a\r\nb,c\"d@sender.example", "\x1b[2J\u009b31m@sender.example", "\u202eelpmaxe@sender.example", "",
		strings.Repeat("l", 240) + "@sender.example",
	}
	var b history.Batch
	for i, s := range senders {
		r := test(fmt.Sprintf("T%02d", i), s, "192.0.2.1", i)
		r.ReportBlocked = "=" + s
		b.Tests = append(b.Tests, r)
	}
	w.commit(b)
	var out bytes.Buffer
	n, err := w.ExportCSV(t.Context(), &out, operate.Query{Limit: 2})
	if err != nil || n != len(senders) {
		t.Fatalf("%d rows, %v", n, err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != len(senders)+1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, row := range rows[1:] {
		for _, c := range row {
			if strings.ContainsAny(c, "\r\n\t\x1b\u009b\u202e") {
				t.Errorf("cell %q", c)
			}
			if c != "" && strings.ContainsAny(strings.TrimSpace(c)[:1], "=+-@|\uff1d") {
				t.Errorf("cell %q is a formula", c)
			}
		}
	}
	if got := rows[1][4]; len(got) != 255 {
		t.Errorf("a long address was cut: %q", got)
	}
}

// Histories of many tests are those of each, one after the other.
func TestExportHistories(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var b history.Batch
	for i := range 30 {
		r := test(fmt.Sprintf("T%02d", i), fmt.Sprintf("a@d%d.example", i%3), "192.0.2.1", i)
		c := connection(fmt.Sprintf("c%02d", i), "192.0.2.1", i, &r)
		b.Tests, b.Connections, b.Attach = append(b.Tests, r), append(b.Connections, c), append(b.Attach, attach(r.Test.ID, evidence.ByMail, string(c.ID))...)
	}
	w.commit(b)
	var out bytes.Buffer
	n, err := w.ExportHistories(t.Context(), &out, operate.Query{Domain: "D1.example."})
	if err != nil || n != 10 {
		t.Fatalf("%d histories, %v", n, err)
	}
	parts := strings.SplitAfter(out.String(), "\n")
	var one []string
	read := 0
	for _, line := range append(parts, `{"type":"test"`) {
		if strings.HasPrefix(line, `{"type":"test"`) && len(one) > 0 {
			h, err := evidence.ReadHistory(strings.NewReader(strings.Join(one, "")))
			if err != nil || len(h.Connections) != 1 || h.Test.Sender != "a@d1.example" {
				t.Errorf("%+v %v", h.Test, err)
			}
			read++
			one = nil
		}
		one = append(one, line)
	}
	if read != 10 {
		t.Errorf("%d histories were read", read)
	}
	if _, err := w.ExportHistories(t.Context(), &out, operate.Query{ID: "NOSUCH"}); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("a test that does not exist: %v", err)
	}
	fails := errors.New("no more room")
	if _, err := w.ExportHistories(t.Context(), broken{fails}, operate.Query{}); !errors.Is(err, fails) {
		t.Errorf("a writer that fails: %v", err)
	}
	if _, err := w.ExportCSV(t.Context(), broken{fails}, operate.Query{}); !errors.Is(err, fails) {
		t.Errorf("a writer that fails: %v", err)
	}
}

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

func TestParseQuery(t *testing.T) {
	t.Parallel()
	now := at(0)
	four := 4
	for in, want := range map[string]operate.Query{
		"":                           {},
		"from=24h&to=2026-11-21":     {From: now.Add(-24 * time.Hour), To: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)},
		"from=7d":                    {From: now.Add(-7 * 24 * time.Hour)},
		"from=2026-11-21T08:00:00Z":  {From: at(-120)},
		"from=2026-11-21T08:00":      {From: at(-120)},
		"slot=4&limit=10&state=open": {Slot: &four, Limit: 10, State: "open"},
		"verdict=mixed&domain=x.example&address=a%40x.example": {Verdict: "mixed", Domain: "x.example", Address: "a@x.example"},
		"address=%3C%3E": {Address: "<>"},
	} {
		v, err := url.ParseQuery(in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := operate.ParseQuery(v, now)
		if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got)\n%s", in, err, d)
		}
		if again, err := operate.ParseQuery(got.Values(), now.Add(time.Hour)); err != nil || cmp.Diff(got, again, cmpopts.EquateComparable(netip.Prefix{})) != "" {
			t.Errorf("%s: %v, again %+v", in, err, again)
		}
	}
	for in, field := range map[string]string{
		"network=x": "network", "network=1.2.3.4/33": "network", "verdict=best": "verdict", "state=odd": "state", "from=yesterday": "from", "to=-5h": "to", "from=1h&to=2h": "to",
		"slot=-1": "slot", "slot=x": "slot", "limit=1001": "limit", "address=nobody": "address", "domain=a%40b": "domain", "from=999999999d": "from",
		"id=" + strings.Repeat("x", 500): "id", "domain=" + strings.Repeat("%C3%A4", 300): "domain",
	} {
		v, err := url.ParseQuery(in)
		if err != nil {
			t.Fatal(err)
		}
		_, err = operate.ParseQuery(v, now)
		if bad, ok := errors.AsType[*operate.InvalidError](err); !ok || bad.Field != field {
			t.Errorf("%.40s: %v, want a complaint about %s", in, err, field)
		}
	}
	for _, in := range []string{"unattached=perhaps", "network=x", "limit=x"} {
		v, err := url.ParseQuery(in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := operate.ParseConnectionQuery(v, now); !invalid(err) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// A search for an address in other spellings finds it, and what no page has is a
// clear error.
func TestSearchSpellings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.commit(history.Batch{Tests: []history.TestRecord{
		test("T1", "a@bücher.example", "192.0.2.1", 1), test("T2", "a@xn--bcher-kva.example", "192.0.2.1", 2), test("T3", "", "192.0.2.1", 3),
	}})
	for name, q := range map[string]operate.Query{
		"A-label": {Domain: "xn--bcher-kva.example"}, "U-label": {Domain: "BÜCHER.example"},
	} {
		if p, err := w.Tests(t.Context(), q); err != nil || len(p.Tests) != 2 {
			t.Errorf("%s: %+v %v", name, p, err)
		}
	}
	if p, err := w.Tests(t.Context(), operate.Query{Address: "<>"}); err != nil || len(p.Tests) != 1 || p.Tests[0].ID != "T3" {
		t.Errorf("null reverse-path: %+v %v", p, err)
	}
	for _, err := range []error{
		second(w.Tests(t.Context(), operate.Query{Cursor: "x"})), second(w.Connections(t.Context(), operate.ConnectionQuery{Cursor: "x"})), second(w.Reports(t.Context(), operate.ReportQuery{Cursor: "x"})),
	} {
		if !invalid(err) {
			t.Errorf("a place that no list has: %v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Whatever a query is, it is understood or refused, and understood the same from
// a link.
func FuzzParseQuery(f *testing.F) {
	f.Add("from=24h&network=192.0.2.0/24")
	f.Add("slot=4&verdict=dane&domain=x.example&cursor=AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := url.ParseQuery(s)
		if err != nil {
			return
		}
		q, err := operate.ParseQuery(v, at(0))
		if err != nil {
			if !invalid(err) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if again, err := operate.ParseQuery(q.Values(), at(60)); err != nil || cmp.Diff(q, again, cmpopts.EquateComparable(netip.Prefix{})) != "" {
			t.Errorf("%q: %v\n%+v\n%+v", s, err, q, again)
		}
	})
}
