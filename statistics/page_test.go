package statistics_test

import (
	"encoding/csv"
	"encoding/xml"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/statistics"
)

func TestListedProviders(t *testing.T) {
	own := func(verdict string, inbound statistics.Colour) statistics.Test {
		return statistics.Test{Verdict: verdict, Conclusive: verdict != "undetermined", First: true, Own: true, Provider: "mx.example", Inbound: inbound}
	}
	many := func(n int, t statistics.Test) []statistics.Test {
		var out []statistics.Test
		for range n {
			out = append(out, t)
		}
		return out
	}
	row := statistics.Listed{Name: "Example Mail", Domain: "mx.example", Month: "2026-11", Senders: 3}
	green, best, differ := row, row, row
	green.Outbound, green.Verdicts, green.Inbound = statistics.Green, []string{"dane"}, statistics.Green
	best.Outbound, best.Verdicts, best.Inbound, best.Senders = statistics.Green, []string{"dane"}, statistics.White, 5
	differ.Outbound = statistics.Grey
	for name, c := range map[string]struct {
		tests []statistics.Test
		want  []statistics.Listed
	}{
		"two senders":         {many(2, own("dane", "green")), nil},
		"three senders":       {many(3, own("dane", "green")), []statistics.Listed{green}},
		"repeated tests":      {append(many(2, own("dane", "green")), many(9, statistics.Test{Verdict: "dane", Conclusive: true, Own: true, Provider: "mx.example"})...), nil},
		"not from its hosts":  {many(9, statistics.Test{Verdict: "none", Conclusive: true, First: true, Provider: "mx.example"}), nil},
		"undetermined":        {many(9, own("undetermined", "")), nil},
		"best inbound colour": {append(many(3, own("dane", "white")), many(2, own("dane", "green"))...), []statistics.Listed{best}},
		"senders differ":      {append(many(3, own("dane", "")), own("may", "")), []statistics.Listed{differ}},
		"another provider":    {many(9, statistics.Test{Verdict: "dane", Conclusive: true, First: true, Own: true, Provider: "else.example"}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			m, clock := newMemory(), &clock{start()}
			for _, one := range c.tests {
				m.add(1, start(), one)
			}
			s := open(t, m, clock, statistics.Provider{Name: "Example Mail", Domain: "mx.example"})
			sweep(t, s)
			if d := cmp.Diff(c.want, published(t, s, clock).Table); d != "" {
				t.Errorf("table (-want +got):\n%s", d)
			}
		})
	}
}

// Every verdict has a colour, and a stronger one never a worse colour.
func TestOutboundColours(t *testing.T) {
	rank := map[statistics.Colour]int{statistics.Red: 0, statistics.Yellow: 1, statistics.White: 2, statistics.Green: 3}
	last := 0
	for _, n := range policyinfer.Names() {
		r, ok := rank[statistics.OutboundColour(string(n))]
		if !ok || r < last {
			t.Errorf("%s is %s", n, statistics.OutboundColour(string(n)))
		}
		last = r
	}
	for _, n := range []policyinfer.Name{policyinfer.Mixed, policyinfer.Undetermined, "?"} {
		if got := statistics.OutboundColour(string(n)); got != statistics.Grey {
			t.Errorf("%s is %s", n, got)
		}
	}
}

// full is a collector with something in every table, and hostile names.
func full(t *testing.T) *statistics.Collector {
	t.Helper()
	m, c := newMemory(), &clock{start()}
	for _, n := range append(policyinfer.Names(), policyinfer.Mixed, policyinfer.Undetermined) {
		m.add(7, start(), statistics.Test{Verdict: string(n), Conclusive: true, Engine: "3", First: true, Provider: `"><script>x</script>.example`, Country: "=1"})
	}
	m.add(6, start(), statistics.Test{Verdict: "dane", Conclusive: true, Engine: "3", First: true, Own: true, Provider: "mx.example", Inbound: statistics.White, Country: "DE"})
	s := open(t, m, c, statistics.Provider{Name: "<Mail> & Co", Domain: "mx.example"})
	sweep(t, s)
	published(t, s, c)
	return s
}

func get(t *testing.T, s *statistics.Collector, path, language string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Accept-Language", language)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("%s: status %d", path, w.Code)
	}
	return w
}

func TestPage(t *testing.T) {
	s := full(t)
	for _, c := range []struct{ path, accept, lang, title string }{
		{"/statistics", "", "en", "By provider"},
		{"/statistics", "de-AT,de;q=0.9", "de", "Nach Anbieter"},
		{"/statistics?l=de", "en", "de", "Nach Land"},
		{"/statistics?l=en", "de", "en", "By country"},
	} {
		page := get(t, s, c.path, c.accept).Body.String()
		for _, want := range []string{`<html lang="` + c.lang + `">`, c.title, "&lt;Mail&gt; &amp; Co", "2026-11", `role="img"`, `<th scope="row">`, `aria-labelledby="months-chart-name months-chart-text"`} {
			if !strings.Contains(page, want) {
				t.Errorf("%s (%s) has no %q", c.path, c.accept, want)
			}
		}
		// A strict content policy refuses these; and names are those of strangers.
		for _, never := range []string{"<script", " style=", "<style", "onload", "javascript:", "http://", "ZgotmplZ"} {
			if strings.Contains(strings.ReplaceAll(page, "http://www.w3.org/2000/svg", ""), never) {
				t.Errorf("%s (%s) has %q", c.path, c.accept, never)
			}
		}
		balanced(t, page)
	}
}

// balanced fails if the elements of a page are not nested properly.
func balanced(t *testing.T, page string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict = true
	d.Entity = xml.HTMLEntity
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("page: %v", err)
			return
		}
	}
}

func TestEmptyPage(t *testing.T) {
	s := open(t, newMemory(), &clock{start()})
	page := get(t, s, "/statistics", "").Body.String()
	if !strings.Contains(page, "Nothing has been counted yet.") || strings.Contains(page, "<table") {
		t.Errorf("page without numbers:\n%s", page)
	}
	balanced(t, page)
}

// The CSV has the numbers of the page, and no cell that a spreadsheet would run
// without quotes: what strangers choose is checked before it is counted.
func TestCSV(t *testing.T) {
	s := full(t)
	w := get(t, s, "/statistics.csv", "")
	if got := w.Header().Get("Content-Type"); got != "text/csv; charset=utf-8" {
		t.Errorf("type %q", got)
	}
	records, err := csv.NewReader(w.Body).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]bool)
	for _, r := range records {
		got[strings.Join(r, "|")] = true
		if strings.ContainsAny(r[1][:1], "=+-@") {
			t.Errorf("record %q begins like a formula", r)
		}
	}
	for _, want := range []string{"table|group|verdict|number", "month|2026-11|dane|10", "provider|mx.example|dane|5", "country|DE|dane|5", "listed-outbound|mx.example|green|5", "listed-inbound|mx.example|white|5", "engine|2026-11|3|"} {
		if !got[want] {
			t.Errorf("CSV has no %s:\n%v", want, records)
		}
	}
}

func TestOnlyGet(t *testing.T) {
	s := open(t, newMemory(), &clock{start()})
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/statistics", nil))
	if w.Code != 405 {
		t.Errorf("POST: status %d", w.Code)
	}
}
