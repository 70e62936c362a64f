package operators

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
	"github.com/tlsink/tlsink/config"
)

// The keys of the service: those of certificates, which TLSA records name, and
// those of the zone, which the parent's DS record names.

// KeysCmd looks at keys and certificates, and replaces keys.
type KeysCmd struct {
	List   keysListCmd   `cmd:"" default:"withargs" help:"List keys and certificates, and what is planned for them."`
	Roll   keysRollCmd   `cmd:"" help:"Replace keys of mail hosts: TLSA record first, key later, so that no sender ever fails to match."`
	Cancel keysCancelCmd `cmd:"" help:"Take back rolls whose new key is not in use yet."`
}

type keysListCmd struct {
	control.Flag
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists keys.
func (c *keysListCmd) Run(e *cli.Env) error {
	b, err := c.Ask(e, http.MethodGet, "/keys")
	if err != nil {
		return err
	}
	if c.JSON {
		_, err := e.Stdout.Write(b)
		return err
	}
	var keys []certs.KeyStatus
	if err := json.Unmarshal(b, &keys); err != nil {
		return fmt.Errorf("answer of the running service: %w", err)
	}
	cfg, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	return printKeys(e.Stdout, cfg.Zone, cfg.Slots, keys)
}

type keysRollCmd struct {
	control.Flag
	Hosts []string `arg:"" optional:"" help:"Hosts, e.g. mx04.et. Default: all that have matching TLSA records."`
}

// Run begins key rolls.
func (c *keysRollCmd) Run(e *cli.Env) error {
	hosts, err := changeKeys(c.Flag, e, http.MethodPost, c.Hosts)
	if err == nil {
		fmt.Fprintf(e.Stdout, "keys are being rolled: %s\n`tlsink keys list` shows how far.\n", strings.Join(hosts, ", "))
	}
	return err
}

type keysCancelCmd struct {
	control.Flag
	Hosts []string `arg:"" optional:"" help:"Hosts. Default: all that can be taken back."`
}

// Run takes key rolls back.
func (c *keysCancelCmd) Run(e *cli.Env) error {
	hosts, err := changeKeys(c.Flag, e, http.MethodDelete, c.Hosts)
	if err == nil {
		fmt.Fprintf(e.Stdout, "taken back: %s\n", cmp.Or(strings.Join(hosts, ", "), "nothing, no key is being rolled"))
	}
	return err
}

func changeKeys(c control.Flag, e *cli.Env, method string, hosts []string) (changed []string, err error) {
	b, err := c.Ask(e, method, "/keys/rolls?"+url.Values{"host": hosts}.Encode())
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &changed); err != nil {
		return nil, fmt.Errorf("answer of the running service: %w", err)
	}
	return changed, nil
}

// ZoneCmd is about the keys of the zone and what its parent publishes.
type ZoneCmd struct {
	Show    zoneShowCmd    `cmd:"" default:"withargs" help:"Print the NS, glue and DS records that the parent zone has to publish."`
	Status  zoneStatusCmd  `cmd:"" help:"Print the keys of the zone, and what a roll waits for."`
	Roll    zoneRollCmd    `cmd:"" help:"Replace a key of the zone."`
	Cancel  zoneCancelCmd  `cmd:"" help:"Go back to the old key."`
	Confirm zoneConfirmCmd `cmd:"" help:"Confirm that the parent zone has the new DS record, where that can't be seen from here."`
}

type zoneShowCmd struct{ control.Flag }

// Run prints what the parent zone has to publish.
func (c *zoneShowCmd) Run(e *cli.Env) error { return c.Print(e, http.MethodGet, "/zone") }

type zoneStatusCmd struct{ control.Flag }

// Run prints the keys of the zone.
func (c *zoneStatusCmd) Run(e *cli.Env) error { return c.Print(e, http.MethodGet, "/zone/roll") }

type zoneRollCmd struct {
	control.Flag
	Role string `enum:",csk,ksk,zsk" default:"" help:"Key to replace: csk, ksk or zsk. Default: the one that the DS record names. zsk in a zone with one key gives it a second."`
}

// Run begins a roll of a key of the zone.
func (c *zoneRollCmd) Run(e *cli.Env) error {
	return c.Print(e, http.MethodPost, "/zone/roll?role="+url.QueryEscape(c.Role))
}

type zoneCancelCmd struct{ control.Flag }

// Run takes a roll back.
func (c *zoneCancelCmd) Run(e *cli.Env) error { return c.Print(e, http.MethodDelete, "/zone/roll") }

type zoneConfirmCmd struct{ control.Flag }

// Run confirms the new DS record.
func (c *zoneConfirmCmd) Run(e *cli.Env) error { return c.Print(e, http.MethodPut, "/zone/roll/ds") }
