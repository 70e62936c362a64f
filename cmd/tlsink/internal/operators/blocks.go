package operators

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
	"github.com/tlsink/tlsink/operate"
)

// BlocksCmd refuses clients and senders.
type BlocksCmd struct {
	List   blocksListCmd   `cmd:"" default:"withargs" help:"List what is blocked."`
	Add    blocksAddCmd    `cmd:"" help:"Refuse clients of a network, senders of a domain, or one sender."`
	Remove blocksRemoveCmd `cmd:"" help:"End blocks."`
}

type blocksListCmd struct {
	control.Flag
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists blocks.
func (c *blocksListCmd) Run(e *cli.Env) error {
	return table[operate.Block]{
		none: "nothing is blocked",
		head: "BLOCK\tKIND\tWHAT\tSINCE (UTC)\tUNTIL (UTC)\tREASON",
		row: func(b operate.Block) string {
			return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", cli.Printable(b.ID), b.Kind, cli.Printable(b.Value), cli.Date(b.Since), cli.Date(b.Until), cmp.Or(cli.Printable(b.Reason), "-"))
		},
	}.ask(c.Flag, e, "/blocks", c.JSON)
}

type blocksAddCmd struct {
	control.Flag
	What   string        `arg:"" help:"IP address, network (192.0.2.0/24), domain (spam.example, with its subdomains) or mail address."`
	Reason string        `required:"" help:"Why; only operators see it." placeholder:"TEXT"`
	For    time.Duration `help:"How long. Default: until removed." placeholder:"DURATION"`
	Wide   bool          `help:"Also what blocks very many: a large part of all addresses, or a whole top-level domain."`
}

// Run adds a block.
func (c *blocksAddCmd) Run(e *cli.Env) error {
	v := url.Values{"what": {c.What}, "reason": {c.Reason}}
	if c.For < 0 {
		return fmt.Errorf("--for %v: want a positive duration, e.g. 24h", c.For)
	}
	if c.For > 0 {
		v.Set("until", time.Now().Add(c.For).UTC().Format(time.RFC3339Nano))
	}
	if c.Wide {
		v.Set("wide", "true")
	}
	b, err := c.Ask(e, http.MethodPost, "/blocks?"+v.Encode())
	if err != nil {
		return err
	}
	var block operate.Block
	if err := json.Unmarshal(b, &block); err != nil {
		return fmt.Errorf("answer of the running service: %w", err)
	}
	fmt.Fprintf(e.Stdout, "%s: %s %s is blocked\n", cli.Printable(block.ID), block.Kind, cli.Printable(block.Value))
	return nil
}

type blocksRemoveCmd struct {
	control.Flag
	Blocks []string `arg:"" help:"Blocks, as \x60tlsink blocks\x60 names them."`
}

// Run ends blocks.
func (c *blocksRemoveCmd) Run(e *cli.Env) error {
	return each(e, c.Blocks, func(id string) (string, error) {
		_, err := c.Ask(e, http.MethodDelete, "/blocks/"+url.PathEscape(id))
		return cli.Printable(id) + " is no longer blocked", err
	})
}

// ActionsCmd lists what operators did.
type ActionsCmd struct {
	control.Flag
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists actions.
func (c *ActionsCmd) Run(e *cli.Env) error {
	return table[operate.AuditRecord]{
		none: "no operator has changed anything yet",
		head: "TIME (UTC)\tWHO\tACTION\tOBJECT\tRECORDS\tDETAIL",
		row: func(r operate.AuditRecord) string {
			return fmt.Sprintf("%s\t%s\t%s\t%s\t%d\t%s", cli.Date(r.Time), cli.Printable(strings.TrimSpace(r.Actor.Kind+" "+r.Actor.Name)), cli.Printable(r.Action),
				cmp.Or(cli.Printable(r.Object), "-"), r.Count, cmp.Or(cli.Printable(strings.TrimSpace(r.Detail+" "+r.Error)), "-"))
		},
	}.ask(c.Flag, e, "/actions", c.JSON)
}
