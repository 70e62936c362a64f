package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/operate"
)

// configFlag names the configuration of the service that is asked.
type configFlag struct {
	Config string `default:"/etc/tlsink/tlsink.toml" help:"Configuration file of the running service." type:"path" placeholder:"FILE"`
}

func (c configFlag) ask(e *env, method, path string) ([]byte, error) {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return nil, err
	}
	return control(e.ctx, cfg.DataDir, method, path)
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

// writeJSON writes one value, fit for a terminal.
func writeJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = w.Write(append(plainJSON(b), '\n'))
	}
	return err
}

// plainJSON escapes what could steer a terminal: JSON leaves some of it as it is.
func plainJSON(b []byte) []byte {
	if !bytes.ContainsFunc(b, steers) {
		return b
	}
	out := make([]byte, 0, len(b)+64)
	for _, r := range string(b) {
		if !steers(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			out = fmt.Appendf(out, "\\u%04x", u)
		}
	}
	return out
}

func steers(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\r' }

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
	DryRun  bool   `help:"Only say what would be deleted."`
	Yes     bool   `help:"Do not ask, on a terminal."`
}

// Run deletes what is kept of a sender: tests, connections, reports, mail to
// postmaster. Without a terminal it does not ask: requests are worked off by
// scripts.
func (c *forgetCmd) Run(e *env) error {
	if !strings.Contains(c.Address, "@") {
		return fmt.Errorf("address %q is not local-part@domain", c.Address)
	}
	path := "/people/" + url.PathEscape(c.Address)
	if c.DryRun || !c.Yes && interactive(e.stdin) {
		b, err := c.ask(e, http.MethodGet, path)
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
		fmt.Fprintf(e.stdout, "%s%s, %s, %s to postmaster, and connections\n", counts(len(p.Tests), "test"), more, counts(p.Reports, "report"), counts(p.Mailbox, "mail"))
		if c.DryRun {
			return nil
		}
		if err := confirm(e, "Delete everything of this address", false); err != nil {
			return err
		}
	}
	b, err := c.ask(e, http.MethodDelete, path)
	if err != nil {
		return err
	}
	var f operate.Forgotten
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("answer of the running service: %w", err)
	}
	fmt.Fprintf(e.stdout, "%d records deleted\n", f.Records)
	return nil
}

type purgeCmd struct {
	configFlag
	OlderThan string `help:"Delete what had its last activity longer ago, e.g. 7d or 12h. Default: retention_days." placeholder:"AGE"`
	DryRun    bool   `help:"Only say what is kept."`
	Yes       bool   `help:"Do not ask."`
}

// Run deletes old evidence.
func (c *purgeCmd) Run(e *env) error {
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
	if err := confirm(e, "Delete "+what+"; running tests and pending reports stay", c.Yes); err != nil {
		return err
	}
	b, err := c.ask(e, http.MethodPost, "/purge?"+v.Encode())
	if err == nil {
		fmt.Fprintf(e.stdout, "%s tests and connections deleted\n", strings.TrimSpace(string(b)))
	}
	return err
}

// show says what is kept.
func (c *purgeCmd) show(e *env) error {
	var k operate.Retention
	if _, err := c.list(e, "/retention", false, &k); err != nil {
		return err
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "kept after the last activity\t%s\n", counts(k.Days, "day"))
	fmt.Fprintf(w, "tests\t%d, the oldest of %s\n", k.Stats.Tests, date(k.OldestTest))
	fmt.Fprintf(w, "connections\t%d, the oldest of %s\n", k.Stats.Connections, date(k.OldestConnection))
	fmt.Fprintf(w, "file\t%d MiB, %d MiB of them free\n", k.Stats.FileBytes>>20, k.Stats.FreeBytes>>20)
	return w.Flush()
}

// interactive reports whether somebody can be asked.
func interactive(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) //nolint:gosec // a file descriptor
}

// confirm asks before something is lost. Where nobody can be asked, --yes must
// say so.
func confirm(e *env, question string, yes bool) error {
	if yes {
		return nil
	}
	if !interactive(e.stdin) {
		return fmt.Errorf("%s? There is no terminal to ask on: confirm it with --yes", question)
	}
	fmt.Fprintf(e.stderr, "%s? [y/N] ", question)
	line, err := bufio.NewReader(io.LimitReader(e.stdin, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}
