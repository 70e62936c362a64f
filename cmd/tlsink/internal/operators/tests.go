package operators

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/operate"
)

// TestsCmd searches, explains, exports and deletes tests.
type TestsCmd struct {
	List   testsSearchCmd `cmd:"" help:"List tests, the newest first."`
	Search testsSearchCmd `cmd:"" help:"Search tests; all conditions have to hold."`
	Show   testsShowCmd   `cmd:"" help:"Show what is known of a test."`
	Why    testsWhyCmd    `cmd:"" help:"Say why each connection of a test belongs to it."`
	Delete testsDeleteCmd `cmd:"" help:"Delete tests with their evidence and reports."`
	Export testsExportCmd `cmd:"" help:"Print many tests: their histories as JSON Lines, or a table as CSV."`
}

// selection chooses tests.
type selection struct {
	Domain  string `help:"Domain of the sender, with its subdomains." placeholder:"DOMAIN"`
	Address string `help:"Address of the sender." placeholder:"ADDRESS"`
	Network string `help:"Address or network of a client." placeholder:"NETWORK"`
	Verdict string `help:"Name of a policy, mixed or undetermined." placeholder:"NAME"`
	State   string `help:"running, concluded, acked, closed; open or over." placeholder:"STATE"`
	From    string `help:"Opened at this time or later: a time, a day (UTC), or how long ago, e.g. 24h or 7d." placeholder:"TIME"`
	To      string `help:"Opened before this time." placeholder:"TIME"`
	Slot    string `help:"Number of the slot." placeholder:"NUMBER"`
}

func (s selection) values() url.Values {
	v := make(url.Values)
	for field, value := range map[string]string{
		"domain": s.Domain, "address": s.Address, "network": s.Network, "verdict": s.Verdict, "state": s.State, "from": s.From, "to": s.To, "slot": s.Slot,
	} {
		if value != "" {
			v.Set(field, value)
		}
	}
	return v
}

type testsSearchCmd struct {
	control.Flag
	selection
	Limit  int    `default:"50" help:"At most so many."`
	Cursor string `help:"Go on where an earlier list ended." placeholder:"PLACE"`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Run lists tests.
func (c *testsSearchCmd) Run(e *cli.Env) error {
	v := c.values()
	v.Set("limit", strconv.Itoa(c.Limit))
	if c.Cursor != "" {
		v.Set("cursor", c.Cursor)
	}
	b, err := c.Ask(e, http.MethodGet, "/tests?"+v.Encode())
	if err != nil {
		return err
	}
	if c.JSON {
		_, err := e.Stdout.Write(cli.PlainJSON(b))
		return err
	}
	var page operate.TestPage
	if err := json.Unmarshal(b, &page); err != nil {
		return fmt.Errorf("answer of the running service: %w", err)
	}
	if len(page.Tests) > 0 || page.Next == "" {
		none := noTests
		if len(c.values()) > 0 {
			none = "no test matches"
		}
		err = printTests(e, page.Tests, none)
	}
	switch {
	case page.Cut:
		fmt.Fprintf(e.Stderr, "older tests were not looked at; go on with --cursor %s\n", page.Next)
	case page.Next != "":
		fmt.Fprintf(e.Stderr, "there are more: --cursor %s\n", page.Next)
	}
	return err
}

const noTests = "no tests: mail to the test addresses starts one"

// printTests prints a table, or says what it means that there are none.
func printTests(e *cli.Env, tests []operate.TestRow, none string) error {
	return table[operate.TestRow]{
		none: none,
		head: "TEST\tSTARTED (UTC)\tSENDER\tSTATE\tPOLICY\tATTEMPTS\tREPORT",
		row: func(t operate.TestRow) string {
			return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%d\t%.60s", t.ID, t.Started.UTC().Format(time.DateTime), cli.Printable(t.Sender), t.State, cmp.Or(cli.Printable(t.Policy), "-"), t.Attempts, cli.Printable(t.Report))
		},
	}.print(e, tests)
}

type testsShowCmd struct {
	control.Flag
	Test string `arg:"" help:"Test, e.g. 7KQ2PX."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// Run shows a test.
func (c *testsShowCmd) Run(e *cli.Env) error {
	b, err := c.Ask(e, http.MethodGet, testPath(c.Test, ""))
	if err != nil {
		return err
	}
	if c.JSON {
		_, err := e.Stdout.Write(cli.PlainJSON(b))
		return err
	}
	var t control.TestDetail
	if err := json.Unmarshal(b, &t); err != nil {
		return fmt.Errorf("answer of the running service: %w", err)
	}
	return printDetail(e.Stdout, t)
}

func printDetail(out io.Writer, t control.TestDetail) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", what, cli.Printable(fmt.Sprintf(format, args...)))
	}
	row := t.Row
	line("test", "%s, slot %d", row.ID, row.Slot)
	line("state", "%s", row.State)
	line("sender", "<%s>", row.Sender)
	line("clients", "%s", strings.Join(t.Clients, " "))
	line("Message-IDs", "%s", strings.Join(t.MessageIDs, " "))
	line("started", "%s", row.Started.UTC().Format(time.DateTime))
	line("last seen", "%s", row.LastSeen.UTC().Format(time.DateTime))
	if !row.Ended.IsZero() {
		line("ended", "%s", row.Ended.UTC().Format(time.DateTime))
	}
	line("verdict", "%s after %d attempts", cli.Verdict(t.Verdict.Policy, t.Verdict.Candidates), t.Verdict.Attempts)
	for _, r := range t.Verdict.Reasons {
		line("  because", "%s", r.Text)
	}
	for _, f := range t.Verdict.Findings {
		line("  finding", "%s", f.Text)
	}
	for _, m := range t.Verdict.Missing {
		line("  missing", "server %d, certificate %s", m.Face, cmp.Or(string(m.Certificate), "any"))
	}
	if t.Provider != nil {
		line("provider", "%s, of %d tests", t.Provider.Policy, t.Provider.Tests)
	}
	line("evidence", "%d connections, %d left out, %d queries, %d policy fetches, %d states", t.Connections, t.LeftOut, t.Queries, t.Fetches, t.States)
	line("report", "%s", row.Report)
	line("page", "%s", cmp.Or(row.Link, "-"))
	return w.Flush()
}

type testsWhyCmd struct {
	control.Flag
	Test string `arg:"" help:"Test, e.g. 7KQ2PX."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// Run explains attributions.
func (c *testsWhyCmd) Run(e *cli.Env) error {
	b, err := c.Ask(e, http.MethodGet, testPath(c.Test, "/why"))
	if err != nil {
		return err
	}
	if c.JSON {
		_, err := e.Stdout.Write(cli.PlainJSON(b))
		return err
	}
	var x operate.Explanation
	if err := json.Unmarshal(b, &x); err != nil {
		return fmt.Errorf("answer of the running service: %w", err)
	}
	fmt.Fprintln(e.Stdout, cli.Printable(x.Text))
	for _, w := range x.Connections {
		fmt.Fprintf(e.Stdout, "\n%s  %s  %s  by %s\n", cli.Printable(string(w.Connection)), w.Start.UTC().Format(time.DateTime), cli.Printable(w.Client), cmp.Or(cli.Printable(string(w.By)), "nothing"))
		printWhy(e.Stdout, w)
	}
	return nil
}

func printWhy(w io.Writer, y operate.Why) {
	fmt.Fprintf(w, "  %s\n", cli.Printable(y.Text))
	for _, o := range y.Others {
		could := "could not own it"
		if o.Could {
			could = "could own it"
		}
		fmt.Fprintf(w, "  test %s %s: %s\n", cli.Printable(o.Test), could, cli.Printable(o.Text))
	}
	if y.More > 0 {
		fmt.Fprintf(w, "  and %d more tests of this client\n", y.More)
	}
}

type testsDeleteCmd struct {
	control.Flag
	Tests []string `arg:"" help:"Tests, e.g. 7KQ2PX."`
	Yes   bool     `help:"Do not ask."`
}

// Run deletes tests.
func (c *testsDeleteCmd) Run(e *cli.Env) error {
	if err := cli.Confirm(e, fmt.Sprintf("Delete %s with all evidence and reports", cli.Counts(len(c.Tests), "test")), c.Yes); err != nil {
		return err
	}
	return each(e, c.Tests, func(id string) (string, error) {
		b, err := c.Ask(e, http.MethodDelete, testPath(id, ""))
		return fmt.Sprintf("%s: %s records deleted", cli.Printable(strings.ToUpper(id)), strings.TrimSpace(string(b))), err
	})
}

type testsExportCmd struct {
	control.Flag
	selection
	Format string   `enum:"jsonl,csv" default:"jsonl" help:"jsonl: whole histories, one after the other. csv: a row for each test."`
	Tests  []string `arg:"" optional:"" help:"Tests; without any, those that the flags choose."`
}

// Run prints histories, or a table.
func (c *testsExportCmd) Run(e *cli.Env) error {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	v := c.values()
	if len(c.Tests) > 0 && len(v) > 0 {
		return errors.New("name tests, or choose them with flags, not both")
	}
	if len(c.Tests) > 1 && c.Format == "csv" {
		return errors.New("a table of several tests: choose them with flags")
	}
	v.Set("format", c.Format)
	for _, id := range append(c.Tests, "")[:max(1, len(c.Tests))] {
		if v.Del("id"); id != "" {
			v.Set("id", id)
		}
		r, err := control.Stream(e.Ctx, cfg.DataDir, http.MethodGet, "/export?"+v.Encode())
		if err != nil {
			return err
		}
		err = copyLines(e.Stdout, r)
		if err := errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("export is not complete: %w", err)
		}
	}
	return nil
}

// copyLines copies text with lines of any length, fit for a terminal and the
// same to programs that read JSON. CSV has nothing that it would change.
func copyLines(w io.Writer, r io.Reader) error {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if _, e := w.Write(cli.PlainJSON(line)); e != nil {
			return e
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// SlotsCmd lists the slots.
type SlotsCmd struct {
	control.Flag
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists slots.
func (c *SlotsCmd) Run(e *cli.Env) error {
	var list []operate.Slot
	if done, err := c.List(e, "/slots", c.JSON, &list); done || err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b operate.Slot) int { return cmp.Compare(a.Slot, b.Slot) })
	return table[operate.Slot]{
		none: "no slot can be leased: slots = 1, or none is set up",
		head: "SLOT\tSTATE\tSINCE (UTC)\tUNTIL (UTC)\tTEST",
		row: func(s operate.Slot) string {
			return fmt.Sprintf("%d\t%s\t%s\t%s\t%s", s.Slot, cli.Printable(s.State), cli.Date(s.Since), cli.Date(s.Until), cmp.Or(cli.Printable(s.Test), "-"))
		},
	}.print(e, list)
}
