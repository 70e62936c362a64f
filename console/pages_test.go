package console_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/tlsink/tlsink/console"
	"github.com/tlsink/tlsink/operate"
)

func escape(s string) string { return url.QueryEscape(s) }

// with returns the same desk with a console of other options.
func (d *desk) with(t *testing.T, change func(*console.Options)) *desk {
	t.Helper()
	o := console.Options{Zone: zone, Operator: d.operator, PasswordFile: d.file, Now: d.clock, Logger: logTo(d.log)}
	change(&o)
	h, err := console.New(o)
	if err != nil {
		t.Fatal(err)
	}
	d.handler = h
	return d
}

// TestPages: every page says what it is for.
func TestPages(t *testing.T) {
	t.Parallel()
	d := full(t)
	in := d.in(t)
	for path, parts := range map[string][]string{
		"/console/":                          {"Open tests", "failed", "expired certificate", "T1", "joe@sender.example", "quarantined", "2026-03-02 12:00:00", "T7 <span class=\"small\">no mail yet"},
		"/console/tests":                     {"T2", "slot 3", "so far", "Older ones may match", "?cursor=older", "/console/export/tests.csv"},
		"/console/tests/T1":                  {"so far", "Why this verdict", "A certificate that does not match TLSA was refused.", "/console/connections/c1", "server 7", "451 later", "&lt;1@sender.example&gt;", `class="r-`},
		"/console/tests/T2":                  {"https://sink.example/t/mfrggzdfmztwq2lknnwg23tpobyxe43u", `rel="noreferrer"`},
		"/console/tests/T1/connections":      {"The slot is its own.", "Left out", "1–50 of 120", "c49", "?page=2", "could not own it", "Transcript", "TLS_AES_128_GCM_SHA256", "bad certificate", "REPLY"},
		"/console/tests/T1/evidence":         {"_25._tcp.mx06.et3.sink.example. TLSA", "3 times", "Postfix/STS", "mx04 (10), mx05 (20), mx06 (30)", "not verifiable: no DS", "broken: mx05"},
		"/console/tests/T1/compare?with=t2":  {"between T2 and T1: nothing", "What changed between T2 and T1"},
		"/console/connections":               {"c500", "It said nothing.", "Why it belongs to no test"},
		"/console/connections/c1":            {"It came from an address of the test.", "/console/blocks?what=192.0.2.1", "mx05.et3.sink.example"},
		"/console/check":                     {"the certificate has expired", "look at the log of certificates", "can not be tested", "Broken since", "3 results, 1 of them wrong"},
		"/console/queue":                     {"451 4.7.1 try again later", `action="/console/queue/T1/retry"`, `action="/console/queue/T1/drop"`, "hooks.example", "?cursor=more"},
		"/console/blocks":                    {"198.51.100.0/24", "scans", "200 (reached)"},
		"/console/blocks?what=192.0.2.9":     {`value="192.0.2.9"`},
		"/console/person":                    {"Show what would be deleted"},
		"/console/retention":                 {"30 days", "12 MiB", "2026-01-31"},
		"/console/log":                       {"test deleted", "3f2a11aa", "T0"},
		"/console/tests?done=purged&n=4":     {"4 tests and connections were deleted."},
		"/console/tests?done=unknown&n=4":    {"All tests"},
		"/console/connections?all=1&from=7d": {"All connections"},
	} {
		w := in.get(path)
		for i, part := range parts {
			if part == "REPLY" {
				parts[i] = "250 ok"
			}
		}
		expect(t, path, w, http.StatusOK, parts...)
		checkPage2(t, path, w.Body.String())
	}
}

// checkPage2 looks at what people with a keyboard or a screen reader need.
func checkPage2(t *testing.T, what, page string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	ids, labels, heads := make(map[string]int), make(map[string]bool), 0
	var inputs, refers []string
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if id := attr(n, "id"); id != "" {
			ids[id]++
		}
		refers = append(refers, strings.Fields(attr(n, "aria-labelledby")+" "+attr(n, "aria-describedby"))...)
		switch n.Data {
		case "h1":
			heads++
		case "label":
			labels[attr(n, "for")] = true
		case "input", "select":
			if kind := attr(n, "type"); kind != "hidden" && attr(n, "aria-hidden") == "" {
				inputs = append(inputs, attr(n, "id"))
			}
		case "html":
			if attr(n, "lang") != "en" {
				t.Errorf("%s: no language", what)
			}
		case "table":
			if p := n.Parent; strings.Contains(attr(n, "class"), "c-table") && (attr(p, "tabindex") != "0" || attr(p, "role") != "region") {
				t.Errorf("%s: a table that can not be scrolled by keyboard", what)
			}
		}
	}
	for id, n := range ids {
		if n > 1 && !strings.HasPrefix(id, "r-") {
			t.Errorf("%s: %d elements with id %s", what, n, id)
		}
	}
	for _, id := range inputs {
		if !labels[id] {
			t.Errorf("%s: no label for %q", what, id)
		}
	}
	for _, id := range refers {
		if ids[id] == 0 {
			t.Errorf("%s: %q is referred to, but is not there", what, id)
		}
	}
	if heads != 1 {
		t.Errorf("%s: %d h1", what, heads)
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	d := full(t)
	in := d.in(t)
	w := in.get("/console/tests?domain=sender.example&verdict=dane&state=open&network=192.0.2.0%2F24&from=2026-02-01&slot=3&cursor=abc&unknown=x")
	expect(t, "search", w, http.StatusOK, `value="sender.example"`, `<option selected>dane</option>`, `<option selected>open</option>`, "First page")
	q := d.operator.queries[0]
	if q.Domain != "sender.example" || q.Verdict != "dane" || q.State != "open" || q.Network.String() != "192.0.2.0/24" || !q.From.Equal(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)) || *q.Slot != 3 || q.Cursor != "abc" || q.Limit != 50 {
		t.Errorf("query %+v", q)
	}
	links := w.Body.String()
	for _, want := range []string{"/console/export/tests.csv?domain=sender.example&amp;", "cursor=older"} {
		if !strings.Contains(links, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	for query, problem := range map[string]string{
		"network=nonsense": "network", "from=yesterday": "from", "verdict=perfect": "verdict", "state=gone": "state", "slot=x": "slot", "address=joe": "address",
		"domain=a%40b": "domain", "from=2026-02-01&to=2026-01-01": "to",
	} {
		w := in.get("/console/tests?" + query)
		expect(t, query, w, http.StatusBadRequest, `role="alert">`+problem)
		if strings.Contains(w.Body.String(), "joe@sender.example") {
			t.Errorf("%s: it lists tests", query)
		}
		expect(t, "export "+query, in.get("/console/export/tests.csv?"+query), http.StatusBadRequest, problem)
	}
	in.get("/console/connections?network=192.0.2.1")
	in.get("/console/connections?all=1&cursor=c")
	expect(t, "bad network", in.get("/console/connections?network=x"), http.StatusBadRequest, `role="alert">network`)
	if q := d.operator.connQueries; len(q) != 2 || !q[0].Unattached || q[0].Network.String() != "192.0.2.1/32" || q[1].Unattached || q[1].Cursor != "c" {
		t.Errorf("queries %+v", q)
	}
}

func TestManyConnections(t *testing.T) {
	t.Parallel()
	d := full(t)
	test := d.operator.test["T1"]
	for i := 120; i < 10_000; i++ {
		test.Input.History.Connections = append(test.Input.History.Connections, connectionNo(i))
	}
	d.operator.test["T1"] = test
	in := d.in(t)
	const most = 1 << 20
	for path, part := range map[string]string{
		"/console/tests/T1":                      "Connections (10000)",
		"/console/tests/T1/connections":          "1–50 of 10000",
		"/console/tests/T1/connections?page=200": "9951–10000 of 10000",
	} {
		w := in.get(path)
		expect(t, path, w, http.StatusOK, part)
		if n := w.Body.Len(); n > most {
			t.Errorf("%s: %d octets", path, n)
		}
	}
}

func TestExports(t *testing.T) {
	t.Parallel()
	d := full(t)
	in := d.in(t)
	for path, kind := range map[string]string{"tests.csv": "text/csv; charset=utf-8", "histories.jsonl": "application/jsonl"} {
		w := in.get("/console/export/" + path + "?domain=sender.example&cursor=x&limit=1")
		expect(t, path, w, http.StatusOK, "joe@sender.example")
		if got := w.Header(); got.Get("Content-Type") != kind || got.Get("Content-Disposition") != `attachment; filename="tlsink-`+path+`"` || got.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", path, got)
		}
		if q := d.operator.queries[len(d.operator.queries)-1]; q.Domain != "sender.example" || q.Cursor != "" || q.Limit != 0 {
			t.Errorf("%s: query %+v", path, q)
		}
	}
	d.operator.export = func(io.Writer) error { return errors.New("the disk is gone") }
	expect(t, "failed before the first line", in.get("/console/export/tests.csv"), http.StatusInternalServerError, "did not work")
	d.operator.export = func(w io.Writer) error {
		_, err := io.WriteString(w, "id\n")
		return errors.Join(err, errors.New("the disk is gone"))
	}
	defer func() {
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // the very value
			t.Errorf("failed after the first line: %v, want the response to be cut", p)
		}
	}()
	in.get("/console/export/tests.csv")
}

func TestPerson(t *testing.T) {
	t.Parallel()
	d := full(t)
	in := d.in(t)
	w := in.submit(t, "/console/person", "address", " joe@sender.example ")
	expect(t, "preview", w, http.StatusOK, "What would be deleted of joe@sender.example", `href="/console/tests/T1"`, "Delete everything of joe@sender.example")
	if len(d.operator.did) > 0 {
		t.Fatalf("the preview did %q", d.operator.did)
	}
	w = in.submit(t, "/console/person/delete", "address", "joe@sender.example", "confirm", "joe@sender.example")
	expectRedirect(t, "delete", w, "/console/person?done=person-deleted&n=13")
	expect(t, "after", in.get(w.Header().Get("Location")), http.StatusOK, "(13 records)")
	if !slices.Equal(d.operator.did, []string{"forget joe@sender.example"}) {
		t.Errorf("did %q", d.operator.did)
	}
	if strings.Contains(d.log.String(), "joe") {
		t.Errorf("the log names the person: %s", d.log)
	}
}

func TestBlockAndPurge(t *testing.T) {
	t.Parallel()
	d := full(t)
	in := d.in(t)
	in.submit(t, "/console/blocks", "what", "spam.example", "reason", "spam", "until", "2026-03-31", "wide", "yes")
	in.submit(t, "/console/blocks", "what", "192.0.2.1")
	want := []operate.BlockRequest{{What: "spam.example", Reason: "spam", Until: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC), Wide: true}, {What: "192.0.2.1"}}
	if !slices.Equal(d.operator.blocked, want) {
		t.Errorf("blocked %+v", d.operator.blocked)
	}
	in.submit(t, "/console/retention/purge", "days", "3", "confirm", "delete")
	if got := d.operator.purged; len(got) != 1 || !got[0].Equal(start.AddDate(0, 0, -3)) {
		t.Errorf("purged before %v", got)
	}
}

// TestLongLists: what is long comes in pages.
func TestLongLists(t *testing.T) {
	t.Parallel()
	d := full(t)
	for i := range 1000 {
		d.operator.audit = append(d.operator.audit, operate.AuditRecord{Time: start, Action: fmt.Sprintf("action %d.", i)})
		d.operator.blocks = append(d.operator.blocks, operate.Block{ID: fmt.Sprint(i), Value: fmt.Sprintf("spam%d.example", i)})
	}
	in := d.in(t)
	for path, parts := range map[string][]string{
		"/console/log":            {"1–50 of 1001", "?page=2", "action 48."},
		"/console/log?page=21":    {"1001–1001 of 1001", "?page=20", "action 999."},
		"/console/blocks?page=21": {"1001–1001 of 1001", "spam999.example"},
	} {
		expect(t, path, in.get(path), http.StatusOK, parts...)
	}
}
