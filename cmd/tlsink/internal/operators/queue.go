package operators

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"

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
	return table[operate.ReportRow]{
		none: "no report waits",
		head: "REPORT\tTO\tSTATE\tATTEMPTS\tCREATED (UTC)\tDUE (UTC)\tLAST ERROR",
		row: func(r operate.ReportRow) string {
			return fmt.Sprintf("%s\t<%s>\t%s\t%d\t%s\t%s\t%.100s", cli.Printable(r.ID), cli.Printable(r.To), r.State, r.Attempts, cli.Date(r.Created), cli.Date(r.Due), cmp.Or(cli.Printable(r.LastError), "-"))
		},
	}.print(e, list)
}

type queueRetryCmd struct {
	control.Flag
	Reports []string `arg:"" help:"Reports; they are named like their tests."`
}

// Run retries reports.
func (c *queueRetryCmd) Run(e *cli.Env) error {
	return each(e, c.Reports, func(id string) (string, error) {
		_, err := c.Ask(e, http.MethodPost, reportPath(id)+"/retry")
		return fmt.Sprintf("report %s is due now", cli.Printable(strings.ToUpper(id))), err
	})
}

type queueDropCmd struct {
	control.Flag
	Reports []string `arg:"" help:"Reports; they are named like their tests."`
}

// Run drops reports.
func (c *queueDropCmd) Run(e *cli.Env) error {
	return each(e, c.Reports, func(id string) (string, error) {
		_, err := c.Ask(e, http.MethodDelete, reportPath(id))
		return fmt.Sprintf("report %s is dropped", cli.Printable(strings.ToUpper(id))), err
	})
}

func reportPath(id string) string { return "/queue/" + url.PathEscape(id) }

type queueLimitsCmd struct {
	control.Flag
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists limits that are used.
func (c *queueLimitsCmd) Run(e *cli.Env) error {
	return table[operate.Limit]{
		none: "no limit is near",
		head: "LIMIT\tWHO\tUSED\tOF\tUNTIL (UTC)",
		row: func(l operate.Limit) string {
			return fmt.Sprintf("%s\t%s\t%d\t%d\t%s", cli.Printable(l.What), cmp.Or(cli.Printable(l.Who), "-"), l.Count, l.Limit, cli.Date(l.Until))
		},
	}.ask(c.Flag, e, "/limits", c.JSON)
}

type queueWebhooksCmd struct {
	control.Flag
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists calls of webhooks.
func (c *queueWebhooksCmd) Run(e *cli.Env) error {
	return table[operate.Delivery]{
		none: "no webhook was called",
		head: "MESSAGE\tTEST\tHOST\tSTATE\tATTEMPTS\tCREATED (UTC)\tDUE (UTC)\tLAST ERROR",
		row: func(d operate.Delivery) string {
			return fmt.Sprintf("%s\t%s\t%s\t%s\t%d\t%s\t%s\t%.100s", cli.Printable(d.ID), cli.Printable(d.Test), cli.Printable(d.Host), d.State, d.Attempts, cli.Date(d.Created), cli.Date(d.Due), cmp.Or(cli.Printable(d.LastError), "-"))
		},
	}.ask(c.Flag, e, "/webhooks", c.JSON)
}
