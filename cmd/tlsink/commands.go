package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
)

// configFlag names the configuration of the service that is asked.
type configFlag struct {
	Config string `default:"/etc/tlsink/tlsink.toml" help:"Configuration file of the running service." type:"path" placeholder:"FILE"`
}

func (c configFlag) ask(e *env, method, path string) ([]byte, error) {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return nil, err
	}
	return control(e.ctx, cfg.DataDir, method, path)
}

type historyCmd struct {
	List        historyListCmd        `cmd:"" help:"List the tests, the newest first."`
	Show        historyShowCmd        `cmd:"" help:"Show the report of a test."`
	Export      historyExportCmd      `cmd:"" help:"Print the history of a test as JSON Lines."`
	Connections historyConnectionsCmd `cmd:"" help:"List connections, the newest first, also those of no test."`
}

type historyListCmd struct {
	configFlag
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists tests.
func (c *historyListCmd) Run(e *env) error {
	b, err := c.ask(e, http.MethodGet, "/tests")
	if err != nil {
		return err
	}
	if c.JSON {
		_, err := e.stdout.Write(b)
		return err
	}
	var tests []testLine
	if err := json.Unmarshal(b, &tests); err != nil {
		return fmt.Errorf("answer of the running service: %w", err)
	}
	if len(tests) == 0 {
		fmt.Fprintln(e.stderr, "no tests yet: mail to the test addresses starts one")
		return nil
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TEST\tSTARTED (UTC)\tSENDER\tSTATE\tPOLICY\tATTEMPTS\tREPORT")
	for _, t := range tests {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%.60s\n", t.ID, t.Started.UTC().Format(time.DateTime), printable(t.Sender), t.State, t.Policy, t.Attempts, printable(t.Report))
	}
	return w.Flush()
}

type historyShowCmd struct {
	configFlag
	Test string `arg:"" help:"Test, e.g. 7KQ2PX."`
}

// Run prints a report.
func (c *historyShowCmd) Run(e *env) error {
	b, err := c.ask(e, http.MethodGet, "/tests/"+url.PathEscape(c.Test)+"/report")
	if err == nil {
		_, err = e.stdout.Write(b)
	}
	return err
}

type historyExportCmd struct {
	configFlag
	Test string `arg:"" help:"Test, e.g. 7KQ2PX."`
}

// Run prints a history.
func (c *historyExportCmd) Run(e *env) error {
	b, err := c.ask(e, http.MethodGet, "/tests/"+url.PathEscape(c.Test)+"/history")
	if err == nil {
		_, err = e.stdout.Write(b)
	}
	return err
}

type historyConnectionsCmd struct {
	configFlag
	Since      time.Duration `default:"1h" help:"How far to look back."`
	Unattached bool          `help:"Only those that belong to no test."`
	JSON       bool          `name:"json" help:"Print all that was recorded, as JSON Lines."`
}

// Run lists connections: also those of scanners, and of clients that never
// came as far as a mail.
func (c *historyConnectionsCmd) Run(e *env) error {
	since := time.Now().Add(-c.Since)
	b, err := c.ask(e, http.MethodGet, "/connections?since="+url.QueryEscape(since.Format(time.RFC3339Nano)))
	if err != nil {
		return err
	}
	var list []connectionLine
	if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("answer of the running service: %w", err)
	}
	if c.Unattached {
		list = slices.DeleteFunc(list, func(c connectionLine) bool { return c.Test != "" })
	}
	if c.JSON {
		return printLines(e.stdout, list)
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CONNECTION\tSTARTED (UTC)\tSECONDS\tCLIENT\tNAME\tSERVER\tSTATUS\tENDING\tTEST\tANOMALIES")
	for _, c := range list {
		seconds := "open"
		if c.Ending != evidence.EndingOpen {
			seconds = fmt.Sprintf("%.1f", c.End.Sub(c.Start).Seconds())
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.40s\t%d\t%s\t%s\t%s\t%.120s\n", c.ID, c.Start.UTC().Format(time.DateTime), seconds, c.Client,
			cmp.Or(printable(strings.Join(c.Helo, " ")), "-"), c.Server, c.Status, c.Ending, cmp.Or(c.Test, "-"), printable(strings.Join(c.Anomalies, "; ")))
	}
	return w.Flush()
}

func printLines[T any](w io.Writer, list []T) error {
	enc := json.NewEncoder(w)
	for _, v := range list {
		if err := enc.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

// printable makes text from strangers fit for a terminal and a table.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

type inboxCmd struct {
	configFlag
	Message string `arg:"" optional:"" help:"Message to print; without one, the messages are listed."`
	Delete  bool   `help:"Delete the message."`
}

// Run lists, prints or deletes mail to postmaster and abuse.
func (c *inboxCmd) Run(e *env) error {
	if c.Message != "" {
		method := http.MethodGet
		if c.Delete {
			method = http.MethodDelete
		}
		b, err := c.ask(e, method, "/inbox/"+url.PathEscape(c.Message))
		if err == nil {
			_, err = e.stdout.Write(b)
		}
		return err
	}
	if c.Delete {
		return errors.New("--delete: name the message to delete; `tlsink inbox` lists them")
	}
	b, err := c.ask(e, http.MethodGet, "/inbox")
	if err != nil {
		return err
	}
	var list []history.MailboxItem
	if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("answer of the running service: %w", err)
	}
	if len(list) == 0 {
		fmt.Fprintln(e.stderr, "no mail to postmaster or abuse")
		return nil
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MESSAGE\tRECEIVED (UTC)\tFROM\tTO\tOCTETS")
	for _, m := range list {
		fmt.Fprintf(w, "%s\t%s\t<%s>\t%s\t%d\n", m.ID, m.Time.UTC().Format(time.DateTime), printable(m.From), printable(strings.Join(m.To, ", ")), m.Size)
	}
	return w.Flush()
}

type forgetCmd struct {
	configFlag
	Address string `arg:"" help:"Mail address of the sender."`
}

// Run deletes what is kept of a sender: tests, connections, reports, mail to
// postmaster.
func (c *forgetCmd) Run(e *env) error {
	if !strings.Contains(c.Address, "@") {
		return fmt.Errorf("address %q is not local-part@domain", c.Address)
	}
	b, err := c.ask(e, http.MethodDelete, "/people/"+url.PathEscape(c.Address))
	if err == nil {
		fmt.Fprintf(e.stdout, "%s records deleted\n", strings.TrimSpace(string(b)))
	}
	return err
}
