package operators

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/operate"
)

// HistoryCmd looks at tests and connections.
type HistoryCmd struct {
	List        historyListCmd        `cmd:"" help:"List the tests, the newest first."`
	Show        historyShowCmd        `cmd:"" help:"Show the report of a test."`
	Export      historyExportCmd      `cmd:"" help:"Print the history of a test as JSON Lines."`
	Transcript  historyTranscriptCmd  `cmd:"" help:"Print what was said and shown in the connections of a test."`
	Why         testsWhyCmd           `cmd:"" help:"Say why each connection of a test belongs to it."`
	Connections historyConnectionsCmd `cmd:"" help:"List connections, the newest first, also those of no test."`
	Connection  historyConnectionCmd  `cmd:"" help:"Show one connection, and why it belongs to its test or to none."`
}

// mostListed bounds a listing that has no pages.
const mostListed = 10_000

type historyListCmd struct {
	control.Flag
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists tests.
func (c *historyListCmd) Run(e *cli.Env) error {
	tests := []operate.TestRow{}
	more, err := eachPage(e, c.Flag, "/tests", url.Values{"limit": {"1000"}}, 1000, func(p operate.TestPage) string {
		tests = append(tests, p.Tests...)
		return p.Next
	})
	if err != nil {
		return err
	}
	if more {
		fmt.Fprintln(e.Stderr, "there are more: `tlsink tests search` finds them")
	}
	if c.JSON {
		return cli.WriteJSON(e.Stdout, tests)
	}
	return printTests(e, tests, noTests)
}

// eachPage asks for one page after the other, until there are no more or about most
// of what they list; more says that there are.
func eachPage[T any](e *cli.Env, c control.Flag, path string, v url.Values, most int, add func(T) (next string)) (more bool, err error) {
	limit := 1000
	for n := 0; n < most; n += limit {
		b, err := c.Ask(e, http.MethodGet, path+"?"+v.Encode())
		if err != nil {
			return false, err
		}
		var page T
		if err := json.Unmarshal(b, &page); err != nil {
			return false, fmt.Errorf("answer of the running service: %w", err)
		}
		next := add(page)
		if next == "" {
			return false, nil
		}
		v.Set("cursor", next)
	}
	return true, nil
}

type historyShowCmd struct {
	control.Flag
	Test string `arg:"" help:"Test, e.g. 7KQ2PX."`
}

// Run prints a report.
func (c *historyShowCmd) Run(e *cli.Env) error {
	return c.Print(e, http.MethodGet, testPath(c.Test, "/report"))
}

func testPath(id, rest string) string { return "/tests/" + url.PathEscape(id) + rest }

type historyExportCmd struct {
	control.Flag
	Test string `arg:"" help:"Test, e.g. 7KQ2PX."`
}

// Run prints a history.
func (c *historyExportCmd) Run(e *cli.Env) error {
	b, err := c.Ask(e, http.MethodGet, testPath(c.Test, "/history"))
	if err == nil {
		_, err = e.Stdout.Write(cli.PlainJSON(b))
	}
	return err
}

type historyTranscriptCmd struct {
	control.Flag
	Test string `arg:"" help:"Test, e.g. 7KQ2PX."`
	JSON bool   `name:"json" help:"Print JSON Lines, one for each connection."`
}

// transcript is a connection as it is told.
type transcript struct {
	Connection evidence.ConnID `json:"connection"`
	Lines      []operate.Line  `json:"lines"`
}

// Run tells the connections of a test.
func (c *historyTranscriptCmd) Run(e *cli.Env) error {
	b, err := c.Ask(e, http.MethodGet, testPath(c.Test, "/history"))
	if err != nil {
		return err
	}
	h, err := evidence.ReadHistory(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("answer of the running service: %w", err)
	}
	for _, conn := range h.Connections {
		t := transcript{conn.ID, operate.Transcript(conn)}
		if c.JSON {
			if err := cli.WriteJSON(e.Stdout, t); err != nil {
				return err
			}
			continue
		}
		t.print(e.Stdout, conn.Start)
	}
	return nil
}

func (t transcript) print(w io.Writer, start time.Time) {
	fmt.Fprintf(w, "connection %s, %s UTC\n", cli.Printable(string(t.Connection)), start.UTC().Format(time.DateTime))
	for _, l := range t.Lines {
		fmt.Fprintf(w, "  %-8s %s\n", cli.Printable(l.Kind), cli.Printable(l.Text))
	}
	fmt.Fprintln(w)
}

type historyConnectionsCmd struct {
	control.Flag
	Since      time.Duration `default:"1h" help:"How far to look back."`
	Unattached bool          `help:"Only those that belong to no test, with the reason."`
	Network    string        `help:"Only those of clients in this network, or of this address." placeholder:"NETWORK"`
	JSON       bool          `name:"json" help:"Print all that was recorded, as JSON Lines."`
}

// Run lists connections: also those of scanners, and of clients that never
// came as far as a mail.
func (c *historyConnectionsCmd) Run(e *cli.Env) error {
	v := url.Values{"limit": {"1000"}, "from": {time.Now().Add(-c.Since).UTC().Format(time.RFC3339Nano)}}
	if c.Unattached {
		v.Set("unattached", "true")
	}
	if c.Network != "" {
		v.Set("network", c.Network)
	}
	var list []operate.ConnectionRow
	more, err := eachPage(e, c.Flag, "/connections", v, mostListed, func(p operate.ConnectionPage) string {
		list = append(list, p.Connections...)
		return p.Next
	})
	if err != nil {
		return err
	}
	if more {
		fmt.Fprintln(e.Stderr, "there are more: look back less far with --since, or choose a --network")
	}
	if c.JSON {
		for _, r := range list {
			if err := cli.WriteJSON(e.Stdout, r); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CONNECTION\tSTARTED (UTC)\tSECONDS\tCLIENT\tNAME\tSERVER\tSTATUS\tENDING\tTEST\tANOMALIES")
	for _, c := range list {
		seconds := "open"
		if c.Ending != evidence.EndingOpen {
			seconds = fmt.Sprintf("%.1f", c.End.Sub(c.Start).Seconds())
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.40s\t%d\t%s\t%s\t%s\t%.120s\n", c.ID, c.Start.UTC().Format(time.DateTime), seconds, c.Client,
			cmp.Or(cli.Printable(strings.Join(c.Helo, " ")), "-"), c.Server, c.Status, c.Ending, cmp.Or(c.Test, "-"), cli.Printable(strings.Join(c.Anomalies, "; ")))
	}
	return w.Flush()
}

type historyConnectionCmd struct {
	control.Flag
	Connection string `arg:"" help:"Connection, as \x60tlsink history connections\x60 names it."`
	JSON       bool   `name:"json" help:"Print JSON."`
}

// Run shows a connection.
func (c *historyConnectionCmd) Run(e *cli.Env) error {
	b, err := c.Ask(e, http.MethodGet, "/connections/"+url.PathEscape(c.Connection))
	if err != nil {
		return err
	}
	if c.JSON {
		_, err := e.Stdout.Write(cli.PlainJSON(b))
		return err
	}
	var row operate.ConnectionRow
	if err := json.Unmarshal(b, &row); err != nil {
		return fmt.Errorf("answer of the running service: %w", err)
	}
	transcript{row.ID, operate.Transcript(row.Connection)}.print(e.Stdout, row.Start)
	fmt.Fprintf(e.Stdout, "test: %s\n", cmp.Or(cli.Printable(row.Test), "none"))
	if row.Why != nil {
		printWhy(e.Stdout, *row.Why)
	}
	return nil
}
