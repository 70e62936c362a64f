package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/tlsink/tlsink/operate"
)

type queueCmd struct {
	List   queueListCmd   `cmd:"" default:"withargs" help:"List reports that wait, or all."`
	Retry  queueRetryCmd  `cmd:"" help:"Try reports now, also those that were given up."`
	Drop   queueDropCmd   `cmd:"" help:"Take reports out of the queue."`
	Limits queueLimitsCmd `cmd:"" help:"List who has got so many reports that a limit is near or reached."`

	Webhooks queueWebhooksCmd `cmd:"" help:"List calls of webhooks."`
}

type queueListCmd struct {
	configFlag
	All  bool `help:"Also those that were sent or given up."`
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists reports.
func (c *queueListCmd) Run(e *env) error {
	v := url.Values{"limit": {"1000"}}
	if !c.All {
		v.Set("pending", "true")
	}
	list := []operate.ReportRow{}
	more, err := eachPage(e, c.configFlag, "/queue", v, mostListed, func(p operate.ReportPage) string {
		list = append(list, p.Reports...)
		return p.Next
	})
	if err != nil {
		return err
	}
	if more {
		fmt.Fprintf(e.stderr, "there are more than these %d\n", len(list))
	}
	if c.JSON {
		return writeJSON(e.stdout, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(e.stderr, "no report waits")
		return nil
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REPORT\tTO\tSTATE\tATTEMPTS\tCREATED (UTC)\tDUE (UTC)\tLAST ERROR")
	for _, r := range list {
		fmt.Fprintf(w, "%s\t<%s>\t%s\t%d\t%s\t%s\t%.100s\n", printable(r.ID), printable(r.To), r.State, r.Attempts, date(r.Created), date(r.Due), cmp.Or(printable(r.LastError), "-"))
	}
	return w.Flush()
}

type queueRetryCmd struct {
	configFlag
	Reports []string `arg:"" help:"Reports; they are named like their tests."`
}

// Run retries reports.
func (c *queueRetryCmd) Run(e *env) error {
	return c.forEach(e, c.Reports, http.MethodPost, "/retry", "is due now")
}

type queueDropCmd struct {
	configFlag
	Reports []string `arg:"" help:"Reports; they are named like their tests."`
}

// Run drops reports.
func (c *queueDropCmd) Run(e *env) error {
	return c.forEach(e, c.Reports, http.MethodDelete, "", "is dropped")
}

// forEach does the same to several reports, and fails if one of them did.
func (c configFlag) forEach(e *env, ids []string, method, rest, done string) error {
	var failed error
	for _, id := range ids {
		if _, err := c.ask(e, method, "/queue/"+url.PathEscape(id)+rest); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		fmt.Fprintf(e.stdout, "report %s %s\n", printable(strings.ToUpper(id)), done)
	}
	return failed
}

type queueLimitsCmd struct {
	configFlag
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists limits that are used.
func (c *queueLimitsCmd) Run(e *env) error {
	var list []operate.Limit
	if done, err := c.list(e, "/limits", c.JSON, &list); done || err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(e.stderr, "no limit is near")
		return nil
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LIMIT\tWHO\tUSED\tOF\tUNTIL (UTC)")
	for _, l := range list {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", printable(l.What), cmp.Or(printable(l.Who), "-"), l.Count, l.Limit, date(l.Until))
	}
	return w.Flush()
}

// list asks for a list; done says that it was printed as JSON.
func (c configFlag) list(e *env, path string, asJSON bool, to any) (done bool, err error) {
	b, err := c.ask(e, http.MethodGet, path)
	if err != nil {
		return false, err
	}
	if asJSON {
		_, err := e.stdout.Write(plainJSON(b))
		return true, err
	}
	if err := json.Unmarshal(b, to); err != nil {
		return false, fmt.Errorf("answer of the running service: %w", err)
	}
	return false, nil
}

type queueWebhooksCmd struct {
	configFlag
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists calls of webhooks.
func (c *queueWebhooksCmd) Run(e *env) error {
	var list []operate.Delivery
	if done, err := c.list(e, "/webhooks", c.JSON, &list); done || err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(e.stderr, "no webhook was called")
		return nil
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MESSAGE\tTEST\tHOST\tSTATE\tATTEMPTS\tCREATED (UTC)\tDUE (UTC)\tLAST ERROR")
	for _, d := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%.100s\n", printable(d.ID), printable(d.Test), printable(d.Host), d.State, d.Attempts, date(d.Created), date(d.Due), cmp.Or(printable(d.LastError), "-"))
	}
	return w.Flush()
}
