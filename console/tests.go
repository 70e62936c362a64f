package console

import (
	"cmp"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/operate"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

// searchFields are the fields of a search, and nothing else of an address.
func searchFields(query url.Values) url.Values {
	return pick(query, "id", "domain", "address", "network", "verdict", "state", "from", "to", "slot", "cursor")
}

// pick takes the fields of that name that hold something.
func pick(query url.Values, names ...string) url.Values {
	out := make(url.Values)
	for _, name := range names {
		if v := strings.TrimSpace(query.Get(name)); v != "" {
			out.Set(name, v)
		}
	}
	return out
}

// more returns the query of the next page of a search; "" after the last one.
func more(fields url.Values, next string) string {
	if next == "" {
		return ""
	}
	fields.Set("cursor", next)
	return "?" + fields.Encode()
}

type searchView struct {
	operate.TestPage
	Form             map[string]string
	Verdicts, States []string
	Searched, Failed bool
	More, First      string // addresses of pages of the list
	CSV, Histories   string // addresses of exports
}

// tests lists what a search found.
func (c *console) tests(v *visit) error {
	fields := searchFields(v.r.URL.Query())
	body := searchView{Form: make(map[string]string), States: []string{"open", "over", report.StateRunning, report.StateConcluded, report.StateAcked, report.StateClosed}}
	for _, n := range append(policyinfer.Names(), policyinfer.Mixed, policyinfer.Undetermined) {
		if !slices.Contains(body.Verdicts, string(n)) {
			body.Verdicts = append(body.Verdicts, string(n))
		}
	}
	for name := range fields {
		body.Form[name] = fields.Get(name)
	}
	p := page{Title: "Tests", Name: "tests", Here: "/console/tests"}
	q, err := operate.ParseQuery(fields, c.o.Now())
	q.Limit = c.o.Limits.RowsPerPage
	if err == nil {
		body.TestPage, err = c.o.Operator.Tests(v.r.Context(), q)
	}
	problem := problemOf(err)
	if problem == "" && err != nil {
		return err
	}
	further := fields.Has("cursor")
	body.More = more(fields, body.Next)
	fields.Del("cursor")
	body.Searched = len(fields) > 0
	suffix := ""
	if body.Searched {
		suffix = "?" + fields.Encode()
	}
	if further {
		body.First = "/console/tests" + suffix
	}
	body.CSV, body.Histories = exportPath+"tests.csv"+suffix, exportPath+"histories.jsonl"+suffix
	p.Body = body
	status := http.StatusOK
	if problem != "" {
		status, p.Problem = http.StatusBadRequest, problem
		body.Failed = true
		p.Body = body
	}
	return c.show(v, status, p)
}

// idPattern says what may be an id of a test or a connection.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func idOf(v *visit) (string, error) {
	id := v.r.PathValue("id")
	if !idPattern.MatchString(id) {
		return "", errNotFound
	}
	return id, nil
}

func (c *console) testOf(v *visit) (operate.Test, error) {
	id, err := idOf(v)
	if err != nil {
		return operate.Test{}, err
	}
	return c.o.Operator.Test(v.r.Context(), id)
}

type testView struct {
	operate.Test
	Tab            string // report, connections or evidence
	Fragment       template.HTML
	Candidates     []policyinfer.Name
	Missing        []string
	Export         string
	Comparable     bool
	Explanation    operate.Explanation
	Connections    []connectionView
	Records        []recordView
	Pages          pageLinks
	Compared       string
	Earlier, Later string // tests that were compared
}

func (c *console) newTestView(t operate.Test, tab string) testView {
	body := testView{Test: t, Tab: tab, Candidates: t.Input.Verdict.Candidates, Comparable: c.o.Compare != nil}
	body.Export = exportPath + "histories.jsonl?" + url.Values{"id": {t.Row.ID}}.Encode()
	for _, m := range t.Input.Verdict.Missing {
		names := make([]string, len(m.TellsApart))
		for i, n := range m.TellsApart {
			names[i] = string(n)
		}
		text := fmt.Sprintf("server %d", m.Face)
		if m.Certificate != "" {
			text += fmt.Sprintf(" with certificate %s", m.Certificate)
		}
		body.Missing = append(body.Missing, text+" would tell apart: "+strings.Join(names, ", "))
	}
	return body
}

// test shows one test: its facts, and the report as its sender gets it.
func (c *console) test(v *visit) error {
	t, err := c.testOf(v)
	if err != nil {
		return err
	}
	body := c.newTestView(t, "report")
	in := t.Input
	in.Link = "" // it stands above, for the operator
	fragment, err := report.Fragment(in)
	if err != nil {
		return fmt.Errorf("report of %s: %w", t.Row.ID, err)
	}
	// The page has a heading of its own. In the report tags are its own only.
	body.Fragment = template.HTML(strings.NewReplacer("<h1 ", "<h2 ", "</h1>", "</h2>").Replace(string(fragment)))
	return c.show(v, http.StatusOK, page{Title: "Test " + t.Row.ID, Name: "test", Here: "/console/tests", Body: body})
}

// testConnections shows every connection of a test, what was said, and why it
// belongs to the test.
func (c *console) testConnections(v *visit) error {
	t, err := c.testOf(v)
	if err != nil {
		return err
	}
	body := c.newTestView(t, "connections")
	part, pages, err := paged(v, t.Input.History.Connections, c.o.Limits.RowsPerPage)
	if err != nil {
		return err
	}
	if body.Explanation, err = c.o.Operator.Why(v.r.Context(), t.Row.ID); err != nil && !isNotFound(err) {
		return err
	}
	why := make(map[evidence.ConnID]operate.Why, len(part))
	for _, w := range body.Explanation.Connections {
		why[w.Connection] = w
	}
	body.Pages = pages
	for _, conn := range part {
		row := operate.ConnectionRow{Connection: conn} // without its test: it is this one
		if w, ok := why[conn.ID]; ok {
			row.Why = &w
		}
		body.Connections = append(body.Connections, newConnectionView(row))
	}
	return c.show(v, http.StatusOK, page{Title: "Test " + t.Row.ID, Name: "test", Here: "/console/tests", Body: body})
}

// recordView is a DNS query, a policy fetch, or a change of what was presented.
type recordView struct {
	Time               time.Time
	Kind, Client, Text string
}

func (c *console) testEvidence(v *visit) error {
	t, err := c.testOf(v)
	if err != nil {
		return err
	}
	body := c.newTestView(t, "evidence")
	if body.Records, body.Pages, err = paged(v, records(t.Input), 4*c.o.Limits.RowsPerPage); err != nil {
		return err
	}
	return c.show(v, http.StatusOK, page{Title: "Test " + t.Row.ID, Name: "test", Here: "/console/tests", Body: body})
}

// records are what a test has beside its connections, in order of time.
func records(in report.Input) []recordView {
	var out []recordView
	query := func(kind string, q evidence.Query) {
		text := q.Name + " " + q.Type + ": " + q.Rcode
		if q.DO {
			text += ", DNSSEC asked for"
		}
		if q.Count > 1 {
			text += fmt.Sprintf(", %d times", q.Count)
		}
		out = append(out, recordView{q.Time, kind, q.Client, text})
	}
	for _, q := range in.History.Queries {
		query("DNS query", q)
	}
	for _, q := range in.Around {
		query("DNS query, maybe of another test", q)
	}
	for _, f := range in.History.Fetches {
		out = append(out, recordView{f.Time, "Policy fetch", f.Client, fmt.Sprintf("%s: status %d, %s", f.Host, f.Status, cmp.Or(f.UserAgent, "no user agent"))})
	}
	for _, s := range in.History.States {
		out = append(out, recordView{s.Time, "Presented", "", stateText(s)})
	}
	slices.SortStableFunc(out, func(a, b recordView) int { return a.Time.Compare(b.Time) })
	return out
}

func stateText(s evidence.State) string {
	var parts []string
	if s.Phase != "" {
		parts = append(parts, "phase "+string(s.Phase))
	}
	if len(s.MX) > 0 {
		hosts := make([]string, 0, len(s.MX))
		for h := range s.MX {
			hosts = append(hosts, h)
		}
		slices.SortFunc(hosts, func(a, b string) int { return cmp.Or(cmp.Compare(s.MX[a], s.MX[b]), strings.Compare(a, b)) })
		for i, h := range hosts {
			hosts[i] = fmt.Sprintf("%s (%d)", h, s.MX[h])
		}
		parts = append(parts, "MX order "+strings.Join(hosts, ", "))
	} else {
		parts = append(parts, "MX order unknown")
	}
	if s.Unverifiable != "" {
		parts = append(parts, "not verifiable: "+s.Unverifiable)
	}
	if s.Broken != "" {
		parts = append(parts, "broken: "+s.Broken)
	}
	return strings.Join(parts, "; ")
}

// compare shows what changed between this test and another one.
func (c *console) compare(v *visit) error {
	if c.o.Compare == nil {
		return errNotFound
	}
	t, err := c.testOf(v)
	if err != nil {
		return err
	}
	with := strings.TrimSpace(v.r.URL.Query().Get("with"))
	if !idPattern.MatchString(with) {
		return badInput{"Compare with: want the id of a test, e.g. 7KQ2PX."}
	}
	other, err := c.o.Operator.Test(v.r.Context(), strings.ToUpper(with))
	if isNotFound(err) {
		return badInput{"Compare with: there is no test " + with + "."}
	}
	if err != nil {
		return err
	}
	earlier, later := other, t
	if later.Row.Started.Before(earlier.Row.Started) {
		earlier, later = later, earlier
	}
	body := c.newTestView(t, "compare")
	body.Earlier, body.Later = earlier.Row.ID, later.Row.ID
	body.Compared = c.o.Compare(earlier.Input, later.Input)
	return c.show(v, http.StatusOK, page{Title: "Test " + t.Row.ID, Name: "test", Here: "/console/tests", Body: body})
}

func (c *console) deleteTestPage(v *visit) error { return c.showDeleteTest(v, http.StatusOK, "") }

func (c *console) showDeleteTest(v *visit, status int, problem string) error {
	t, err := c.testOf(v)
	if err != nil {
		return err
	}
	body := c.newTestView(t, "delete")
	return c.show(v, status, page{Title: "Test " + t.Row.ID, Name: "test", Here: "/console/tests", Problem: problem, Body: body})
}

func (c *console) deleteTest(v *visit) error {
	id, err := idOf(v)
	if err != nil {
		return err
	}
	if !strings.EqualFold(strings.TrimSpace(v.r.PostForm.Get("confirm")), id) {
		return c.showDeleteTest(v, http.StatusBadRequest, "Nothing was deleted: type the id of the test to confirm.")
	}
	n, err := c.o.Operator.DeleteTest(v.r.Context(), v.actor(), id)
	if err != nil {
		return err
	}
	return done(v, "/console/tests", "test-deleted", n)
}
