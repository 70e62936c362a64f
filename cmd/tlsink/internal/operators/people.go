package operators

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/operate"
)

// InboxCmd reads mail to postmaster and abuse.
type InboxCmd struct {
	control.Flag
	Message string `arg:"" optional:"" help:"Message to print; without one, the messages are listed."`
	Delete  bool   `help:"Delete the message."`
}

// Run lists, prints or deletes mail to postmaster and abuse.
func (c *InboxCmd) Run(e *cli.Env) error {
	if c.Message != "" {
		method := http.MethodGet
		if c.Delete {
			method = http.MethodDelete
		}
		b, err := c.Ask(e, method, "/inbox/"+url.PathEscape(c.Message))
		if err == nil {
			_, err = e.Stdout.Write(b)
		}
		return err
	}
	if c.Delete {
		return errors.New("--delete: name the message to delete; `tlsink inbox` lists them")
	}
	return table[history.MailboxItem]{
		none: "no mail to postmaster or abuse",
		head: "MESSAGE\tRECEIVED (UTC)\tFROM\tTO\tOCTETS",
		row: func(m history.MailboxItem) string {
			return fmt.Sprintf("%s\t%s\t<%s>\t%s\t%d", m.ID, m.Time.UTC().Format(time.DateTime), cli.Printable(m.From), cli.Printable(strings.Join(m.To, ", ")), m.Size)
		},
	}.ask(c.Flag, e, "/inbox", false)
}

// ForgetCmd deletes everything of a sender.
type ForgetCmd struct {
	control.Flag
	Address string `arg:"" help:"Mail address of the sender."`
	DryRun  bool   `help:"Only say what would be deleted."`
	Yes     bool   `help:"Do not ask, on a terminal."`
}

// Run deletes what is kept of a sender: tests, connections, reports, mail to
// postmaster. Without a terminal it does not ask: requests are worked off by
// scripts.
func (c *ForgetCmd) Run(e *cli.Env) error {
	if !strings.Contains(c.Address, "@") {
		return fmt.Errorf("address %q is not local-part@domain", c.Address)
	}
	path := "/people/" + url.PathEscape(c.Address)
	if c.DryRun || !c.Yes && cli.Interactive(e.Stdin) {
		b, err := c.Ask(e, http.MethodGet, path)
		if err != nil {
			return err
		}
		var p operate.Preview
		if err := json.Unmarshal(b, &p); err != nil {
			return fmt.Errorf("answer of the running service: %w", err)
		}
		more := ""
		if p.More {
			more = " and more"
		}
		fmt.Fprintf(e.Stdout, "%s%s, %s, %s to postmaster, and connections\n", cli.Counts(len(p.Tests), "test"), more, cli.Counts(p.Reports, "report"), cli.Counts(p.Mailbox, "mail"))
		if c.DryRun {
			return nil
		}
		if err := cli.Confirm(e, "Delete everything of this address", false); err != nil {
			return err
		}
	}
	b, err := c.Ask(e, http.MethodDelete, path)
	if err != nil {
		return err
	}
	var f operate.Forgotten
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("answer of the running service: %w", err)
	}
	fmt.Fprintf(e.Stdout, "%d records deleted\n", f.Records)
	return nil
}

// PurgeCmd deletes old evidence.
type PurgeCmd struct {
	control.Flag
	OlderThan string `help:"Delete what had its last activity longer ago, e.g. 7d or 12h. Default: retention_days." placeholder:"AGE"`
	DryRun    bool   `help:"Only say what is kept."`
	Yes       bool   `help:"Do not ask."`
}

// Run deletes old evidence.
func (c *PurgeCmd) Run(e *cli.Env) error {
	if c.DryRun {
		return c.show(e)
	}
	v, what := make(url.Values), "what is older than retention_days"
	if c.OlderThan != "" {
		q, err := operate.ParseQuery(url.Values{"from": {c.OlderThan}}, time.Now())
		if err != nil || !strings.ContainsAny(c.OlderThan, "dhms") {
			return fmt.Errorf("--older-than %q: want an age such as 7d or 12h", c.OlderThan)
		}
		v.Set("before", q.From.UTC().Format(time.RFC3339Nano))
		what = "what is older than " + c.OlderThan
	}
	if err := cli.Confirm(e, "Delete "+what+"; running tests and pending reports stay", c.Yes); err != nil {
		return err
	}
	b, err := c.Ask(e, http.MethodPost, "/purge?"+v.Encode())
	if err == nil {
		fmt.Fprintf(e.Stdout, "%s tests and connections deleted\n", strings.TrimSpace(string(b)))
	}
	return err
}

// show says what is kept.
func (c *PurgeCmd) show(e *cli.Env) error {
	var k operate.Retention
	if _, err := c.List(e, "/retention", false, &k); err != nil {
		return err
	}
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "kept after the last activity\t%s\n", cli.Counts(k.Days, "day"))
	fmt.Fprintf(w, "tests\t%d, the oldest of %s\n", k.Stats.Tests, cli.Date(k.OldestTest))
	fmt.Fprintf(w, "connections\t%d, the oldest of %s\n", k.Stats.Connections, cli.Date(k.OldestConnection))
	fmt.Fprintf(w, "file\t%d MiB, %d MiB of them free\n", k.Stats.FileBytes>>20, k.Stats.FreeBytes>>20)
	return w.Flush()
}
