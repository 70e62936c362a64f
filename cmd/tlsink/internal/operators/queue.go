package operators

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
	"github.com/tlsink/tlsink/operate"
)

// QueueCmd looks at the queue of reports.
type QueueCmd struct {
	List   queueListCmd   `cmd:"" default:"withargs" help:"List reports that wait, or all."`
	Retry  queueRetryCmd  `cmd:"" help:"Try reports now, also those that were given up."`
	Drop   queueDropCmd   `cmd:"" help:"Take reports out of the queue."`
	Limits queueLimitsCmd `cmd:"" help:"List who has got so many reports that a limit is near or reached."`

	Webhooks queueWebhooksCmd `cmd:"" help:"List calls of webhooks."`
}

type queueListCmd struct {
	control.Flag
	All  bool `help:"Also those that were sent or given up."`
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists reports.
func (c *queueListCmd) Run(e *cli.Env) error {
	v := url.Values{"limit": {"1000"}}
	if !c.All {
		v.Set("pending", "true")
	}
	list := []operate.ReportRow{}
	more, err := eachPage(e, c.Flag, "/queue", v, mostListed, func(p operate.ReportPage) string {
		list = append(list, p.Reports...)
		return p.Next
	})
	if err != nil {
		return err
	}
	if more {
		fmt.Fprintf(e.Stderr, "there are more than these %d\n", len(list))
	}
	if c.JSON {
		return cli.WriteJSON(e.Stdout, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(e.Stderr, "no report waits")
		return nil
	}
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REPORT\tTO\tSTATE\tATTEMPTS\tCREATED (UTC)\tDUE (UTC)\tLAST ERROR")
	for _, r := range list {
		fmt.Fprintf(w, "%s\t<%s>\t%s\t%d\t%s\t%s\t%.100s\n", cli.Printable(r.ID), cli.Printable(r.To), r.State, r.Attempts, cli.Date(r.Created), cli.Date(r.Due), cmp.Or(cli.Printable(r.LastError), "-"))
	}
	return w.Flush()
}

type queueRetryCmd struct {
	control.Flag
	Reports []string `arg:"" help:"Reports; they are named like their tests."`
}

// Run retries reports.
func (c *queueRetryCmd) Run(e *cli.Env) error {
	return forEach(c.Flag, e, c.Reports, http.MethodPost, "/retry", "is due now")
}

type queueDropCmd struct {
	control.Flag
	Reports []string `arg:"" help:"Reports; they are named like their tests."`
}

// Run drops reports.
func (c *queueDropCmd) Run(e *cli.Env) error {
	return forEach(c.Flag, e, c.Reports, http.MethodDelete, "", "is dropped")
}

// forEach does the same to several reports, and fails if one of them did.
func forEach(c control.Flag, e *cli.Env, ids []string, method, rest, done string) error {
	var failed error
	for _, id := range ids {
		if _, err := c.Ask(e, method, "/queue/"+url.PathEscape(id)+rest); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		fmt.Fprintf(e.Stdout, "report %s %s\n", cli.Printable(strings.ToUpper(id)), done)
	}
	return failed
}

type queueLimitsCmd struct {
	control.Flag
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists limits that are used.
func (c *queueLimitsCmd) Run(e *cli.Env) error {
	var list []operate.Limit
	if done, err := c.List(e, "/limits", c.JSON, &list); done || err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(e.Stderr, "no limit is near")
		return nil
	}
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LIMIT\tWHO\tUSED\tOF\tUNTIL (UTC)")
	for _, l := range list {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", cli.Printable(l.What), cmp.Or(cli.Printable(l.Who), "-"), l.Count, l.Limit, cli.Date(l.Until))
	}
	return w.Flush()
}

type queueWebhooksCmd struct {
	control.Flag
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists calls of webhooks.
func (c *queueWebhooksCmd) Run(e *cli.Env) error {
	var list []operate.Delivery
	if done, err := c.List(e, "/webhooks", c.JSON, &list); done || err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(e.Stderr, "no webhook was called")
		return nil
	}
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MESSAGE\tTEST\tHOST\tSTATE\tATTEMPTS\tCREATED (UTC)\tDUE (UTC)\tLAST ERROR")
	for _, d := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%.100s\n", cli.Printable(d.ID), cli.Printable(d.Test), cli.Printable(d.Host), d.State, d.Attempts, cli.Date(d.Created), cli.Date(d.Due), cmp.Or(cli.Printable(d.LastError), "-"))
	}
	return w.Flush()
}
