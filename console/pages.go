package console

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tlsink/tlsink/operate"
)

// pages lists what a session can ask for. Only patterns with POST change
// anything.
func (c *console) pages() map[string]visitor {
	return map[string]visitor{
		"GET /console/{$}":         c.overview,
		"POST /console/logout":     c.logout,
		"POST /console/logout-all": c.logoutAll,

		"GET /console/tests":                  c.tests,
		"GET /console/tests/{id}":             c.test,
		"GET /console/tests/{id}/connections": c.testConnections,
		"GET /console/tests/{id}/evidence":    c.testEvidence,
		"GET /console/tests/{id}/compare":     c.compare,
		"GET /console/tests/{id}/delete":      c.deleteTestPage,
		"POST /console/tests/{id}/delete":     c.deleteTest,

		"GET /console/connections":      c.connections,
		"GET /console/connections/{id}": c.connection,

		"GET /console/check": c.check,

		"GET /console/queue":                  c.queue,
		"POST /console/queue/{id}/retry":      c.queueAction(Operator.RetryReport, "report-retried"),
		"POST /console/queue/{id}/drop":       c.queueAction(Operator.DropReport, "report-dropped"),
		"POST /console/deliveries/{id}/retry": c.queueAction(Operator.RetryDelivery, "delivery-retried"),
		"POST /console/deliveries/{id}/drop":  c.queueAction(Operator.DropDelivery, "delivery-dropped"),

		"GET /console/blocks":              c.blocks,
		"POST /console/blocks":             c.addBlock,
		"POST /console/blocks/{id}/remove": c.removeBlock,

		"GET /console/person":         c.person,
		"POST /console/person":        c.previewPerson,
		"POST /console/person/delete": c.deletePerson,

		"GET /console/retention":        c.retention,
		"POST /console/retention/purge": c.purge,

		"GET /console/log": c.auditLog,

		"GET /console/export/tests.csv":       c.exportCSV,
		"GET /console/export/histories.jsonl": c.exportHistories,
	}
}

// done is what an action leads to: its page, with a word about it. Nothing
// that a person wrote goes into the address.
func done(v *visit, path, what string, n int) error {
	to := path + "?done=" + url.QueryEscape(what)
	if n >= 0 {
		to += "&n=" + strconv.Itoa(n)
	}
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
	return nil
}

// doneText says what was done. It knows its own words only.
func doneText(query url.Values) string {
	text := map[string]string{
		"test-deleted":     "The test was deleted (# records).",
		"report-retried":   "The report will be sent again at once.",
		"report-dropped":   "The report was dropped.",
		"delivery-retried": "The notification will be sent again at once.",
		"delivery-dropped": "The notification was dropped.",
		"blocked":          "The block is in force.",
		"unblocked":        "The block was removed.",
		"person-deleted":   "Everything that was kept of this person was deleted (# records).",
		"purged":           "# tests and connections were deleted.",
	}[query.Get("done")]
	n, err := strconv.Atoi(query.Get("n"))
	if strings.Contains(text, "#") && (err != nil || n < 0) {
		return ""
	}
	return strings.ReplaceAll(text, "#", strconv.Itoa(n))
}

func (c *console) overview(v *visit) error {
	o, err := c.o.Operator.Overview(v.r.Context())
	if err != nil {
		return err
	}
	type sessionRow struct {
		ID, Client, Created, Used string
		Own                       bool
	}
	body := struct {
		operate.Overview
		Now      string
		Sessions []sessionRow
	}{Overview: o, Now: stamp(c.o.Now())}
	for _, s := range c.sessions.list() {
		body.Sessions = append(body.Sessions, sessionRow{s.id, s.client.String(), stamp(s.created), stamp(s.used), s.id == v.session.id})
	}
	return c.show(v, http.StatusOK, page{Title: "Overview", Name: "overview", Here: Path, Body: body})
}

func (c *console) check(v *visit) error {
	result, ok := c.o.Operator.SelfCheck()
	body := struct {
		operate.SelfCheck
		None      bool
		Wrong, Of int
	}{SelfCheck: result, None: !ok || result.At.IsZero(), Of: len(result.Results)}
	// What is wrong comes first: with many slots there are many results.
	rank := map[string]int{"wrong": -2, "cannot": -1}
	body.Results = slices.Clone(result.Results)
	slices.SortStableFunc(body.Results, func(a, b operate.CheckResult) int { return rank[a.Status] - rank[b.Status] })
	for _, r := range body.Results {
		if r.Status == "wrong" {
			body.Wrong++
		}
	}
	return c.show(v, http.StatusOK, page{Title: "Self-check", Name: "check", Here: "/console/check", Body: body})
}

// auditLog shows the audit log, the newest first, page by page.
func (c *console) auditLog(v *visit) error {
	list, err := c.o.Operator.Audit()
	if err != nil {
		return err
	}
	part, pages, err := paged(v, list, c.o.Limits.RowsPerPage)
	if err != nil {
		return err
	}
	body := struct {
		Records []operate.AuditRecord
		Pages   pageLinks
	}{part, pages}
	return c.show(v, http.StatusOK, page{Title: "Audit log", Name: "log", Here: "/console/log", Body: body})
}

// pageLinks lead through a list that is in memory.
type pageLinks struct {
	Page, Of, Total int
	From, To        int // counted from 1
	Before, After   string
}

// paged returns the part of list that the address asks for with page=N.
func paged[T any](v *visit, list []T, size int) ([]T, pageLinks, error) {
	of := max(1, (len(list)+size-1)/size)
	n := 1
	if text := v.r.URL.Query().Get("page"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 {
			return nil, pageLinks{}, badInput{"page: want a number from 1 on."}
		}
	}
	if n > of {
		return nil, pageLinks{}, errNotFound
	}
	from, to := (n-1)*size, min(n*size, len(list))
	p := pageLinks{Page: n, Of: of, Total: len(list), From: from + 1, To: to}
	if n > 1 {
		p.Before = "?page=" + strconv.Itoa(n-1)
	}
	if n < of {
		p.After = "?page=" + strconv.Itoa(n+1)
	}
	return list[from:to], p, nil
}

// conflictText returns why an action is not possible, or "".
func conflictText(err error) string {
	if errors.Is(err, operate.ErrConflict) {
		return "This is not possible: " + err.Error() + "."
	}
	return ""
}
