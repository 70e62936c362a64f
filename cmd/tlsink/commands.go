package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/tlsink/tlsink/history"
)

// configFlag names the configuration of the service that is asked.
type configFlag struct {
	Config string `required:"" help:"Configuration file of the running service." type:"path" placeholder:"FILE"`
}

func (c configFlag) ask(e *env, method, path string) ([]byte, error) {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return nil, err
	}
	return control(e.ctx, cfg.DataDir, method, path)
}

type historyCmd struct {
	List   historyListCmd   `cmd:"" help:"List the tests, the newest first."`
	Show   historyShowCmd   `cmd:"" help:"Show the report of a test."`
	Export historyExportCmd `cmd:"" help:"Print the history of a test as JSON Lines."`
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
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TEST\tSTARTED\tSENDER\tSTATE\tPOLICY\tATTEMPTS\tREPORT")
	for _, t := range tests {
		fmt.Fprintf(w, "%s\t%s\t%q\t%s\t%s\t%d\t%.60s\n", t.ID, t.Started.Format(time.DateTime), t.Sender, t.State, t.Policy, t.Attempts, t.Report)
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
	b, err := c.ask(e, http.MethodGet, "/inbox")
	if err != nil {
		return err
	}
	var list []history.MailboxItem
	if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("answer of the running service: %w", err)
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MESSAGE\tRECEIVED\tFROM\tTO\tOCTETS")
	for _, m := range list {
		fmt.Fprintf(w, "%s\t%s\t%q\t%q\t%d\n", m.ID, m.Time.Format(time.DateTime), m.From, m.To, m.Size)
	}
	return w.Flush()
}

type zoneCmd struct{ configFlag }

// Run prints what the parent zone has to publish.
func (c *zoneCmd) Run(e *env) error {
	b, err := c.ask(e, http.MethodGet, "/zone")
	if err == nil {
		_, err = e.stdout.Write(b)
	}
	return err
}
