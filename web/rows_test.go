package web

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
)

// twelve connections of one attempt that say the same, a second apart.
func twelve() *live.Status {
	st := &live.Status{State: live.Running, Language: "en"}
	for i := range 12 {
		st.Connections = append(st.Connections, live.Connection{
			Number: i + 1, Time: time.Date(2026, 11, 22, 10, 0, i, 0, time.UTC), Server: 1, Outcome: live.Refused, Client: "192.0.2.10",
			Text: "Your provider left.", Follows: i > 0, Details: []string{"alert: bad certificate"},
		})
	}
	return st
}

// spans are the numbers of the connections of each row.
func spans(rows []row) (out []string) {
	for _, r := range rows {
		out = append(out, fmt.Sprintf("%d-%d", r.first, r.last))
	}
	return out
}

func TestRowsThatSayTheSameAreOne(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*live.Connection) // of the sixth
		want   []string
	}{
		{"all alike", func(*live.Connection) {}, []string{"1-12"}},
		{"another greeting", func(c *live.Connection) { c.Name = "other.example" }, []string{"1-12"}},
		{"another attempt", func(c *live.Connection) { c.Follows = false }, []string{"1-5", "6-12"}},
		{"another server", func(c *live.Connection) { c.Server = 2 }, []string{"1-5", "6-6", "7-12"}},
		{"another outcome", func(c *live.Connection) { c.Outcome = live.Contacted }, []string{"1-5", "6-6", "7-12"}},
		{"another text", func(c *live.Connection) { c.Text = "It left." }, []string{"1-5", "6-6", "7-12"}},
		{"another client", func(c *live.Connection) { c.Client = "192.0.2.11" }, []string{"1-5", "6-6", "7-12"}},
		{"still open", func(c *live.Connection) { c.Open = true }, []string{"1-5", "6-6", "7-12"}},
	} {
		st := twelve()
		c.change(&st.Connections[5])
		rows, err := rowsOf(st, englishWords(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := spans(rows); !slices.Equal(got, c.want) {
			t.Errorf("%s: rows %v, want %v", c.name, got, c.want)
		}
	}
}

// A row of several says how often, and from when to when; its details have each
// text once.
func TestRowOfSeveral(t *testing.T) {
	st := twelve()
	st.Connections[3].Name, st.Connections[7].Name = "a.example", "b.example"
	for l, want := range map[report.Language][]string{
		report.English: {"<strong>12 times</strong>", ">10:00:00</time>–<time", ">10:00:11</time>", "<dd>1–12</dd>", "<bdi>a.example</bdi>, <bdi>b.example</bdi>"},
		report.German:  {"<strong>12-mal</strong>"},
	} {
		rows, err := rowsOf(st, wordsOf(l), nil)
		if err != nil {
			t.Fatal(err)
		}
		got := string(rows[0].html)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %q in\n%s", l, w, got)
			}
		}
		if n := strings.Count(got, "bad certificate"); n != 1 {
			t.Errorf("%s: a detail is there %d times:\n%s", l, n, got)
		}
	}
	for i := range 60 {
		st.Connections[i%12].Details = append(st.Connections[i%12].Details, fmt.Sprintf("detail %d", i))
	}
	rows, err := rowsOf(st, englishWords(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(rows[0].html); strings.Count(got, "detail ") != 15 || !strings.Contains(got, "<li><bdi>…</bdi></li></ul>") {
		t.Errorf("very many details:\n%s", got)
	}
	st.Connections, st.Connections[0].Details = st.Connections[:1], nil
	rows, err = rowsOf(st, englishWords(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(rows[0].html); strings.Contains(got, "times") || strings.Contains(got, "–") {
		t.Errorf("a row of one:\n%s", got)
	}
}

// Rows are rendered again if one of their connections changes, if there is one
// more, or one less, and only then.
func TestRowsAreKept(t *testing.T) {
	before := twelve()
	before.Connections[5].Follows = false
	for _, c := range []struct {
		name   string
		change func(*live.Status)
		kept   []bool
	}{
		{"nothing", func(*live.Status) {}, []bool{true, true}},
		{"a detail", func(st *live.Status) { st.Connections[8].Details = []string{"new"} }, []bool{true, false}},
		{"one more", func(st *live.Status) {
			next := st.Connections[11]
			next.Number++
			st.Connections = append(st.Connections, next)
		}, []bool{true, false}},
		{"the oldest left the list", func(st *live.Status) { st.Connections = st.Connections[1:] }, []bool{false, true}},
		{"the last is of another test", func(st *live.Status) { st.Connections = st.Connections[:11] }, []bool{true, false}},
		{"now one attempt", func(st *live.Status) { st.Connections[5].Follows = true }, []bool{false}},
	} {
		rows, err := rowsOf(before, englishWords(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			rows[i].html = "kept"
		}
		now := twelve()
		now.Connections[5].Follows = false
		c.change(now)
		again, err := rowsOf(now, englishWords(), &rendering{status: before, rows: rows})
		if err != nil {
			t.Fatal(err)
		}
		var kept []bool
		for _, r := range again {
			kept = append(kept, r.html == "kept")
		}
		if !slices.Equal(kept, c.kept) {
			t.Errorf("%s: kept %v, want %v", c.name, kept, c.kept)
		}
	}
}
