package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"regexp"
	"strings"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/scenario"
)

type configCmd struct {
	Check   configCheckCmd   `cmd:"" help:"Say everything that is wrong with a configuration file."`
	Example configExampleCmd `cmd:"" help:"Print a configuration file with every setting."`
}

type configCheckCmd struct {
	Config string `default:"/etc/tlsink/tlsink.toml" help:"Configuration file." type:"path" placeholder:"FILE"`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// checked is the result of a check.
type checked struct {
	File     string           `json:"file"`
	OK       bool             `json:"ok"`
	Problems []config.Problem `json:"problems"`
	Warnings []config.Problem `json:"warnings"`
}

// Run checks a file and what it names on this host. Whether ports are free is
// for serve to see: a running service has them.
func (c *configCheckCmd) Run(e *cli.Env) error {
	result := checked{File: c.Config, Problems: []config.Problem{}, Warnings: []config.Problem{}}
	cfg, err := config.Load(c.Config)
	if err != nil {
		result.Problems = append(result.Problems, config.Problems(err)...)
	}
	if _, ok := errors.AsType[*config.Error](err); ok || err == nil { // it could be read
		result.Problems = append(result.Problems, cfg.CheckHost(config.ThisHost())...)
		result.Warnings = append(result.Warnings, cfg.Warnings(config.ThisHost())...)
	}
	result.OK = len(result.Problems) == 0
	if c.JSON {
		enc := json.NewEncoder(e.Stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(result); err != nil {
			return err
		}
	} else {
		result.print(e)
	}
	if !result.OK {
		return cli.ExitError(1)
	}
	return nil
}

func (r *checked) print(e *cli.Env) {
	for _, p := range r.Problems {
		fmt.Fprintf(e.Stdout, "wrong:   %v\n", p)
	}
	for _, p := range r.Warnings {
		fmt.Fprintf(e.Stdout, "warning: %v\n", p)
	}
	switch {
	case !r.OK:
		fmt.Fprintf(e.Stdout, "%s: %s, %s\n", r.File, cli.Counts(len(r.Problems), "problem"), cli.Counts(len(r.Warnings), "warning"))
	case len(r.Warnings) > 0:
		fmt.Fprintf(e.Stdout, "%s: can be used, %s\n", r.File, cli.Counts(len(r.Warnings), "warning"))
	default:
		fmt.Fprintf(e.Stdout, "%s: ok\n", r.File)
	}
}

type configExampleCmd struct {
	Zone    string       `help:"DNS zone that is delegated to this host, e.g. sink.example.org." placeholder:"NAME"`
	Address []netip.Addr `help:"Public address of this host; repeat it for IPv6." placeholder:"IP"`
	DataDir string       `help:"Folder for keys and evidence." placeholder:"DIR"`
	ACME    bool         `name:"acme" help:"Certificates of Let's Encrypt. You have read its terms of service and agree."`
	Email   string       `help:"Where the CA may write to." placeholder:"ADDRESS"`
}

// Run prints the example.
func (c *configExampleCmd) Run(e *cli.Env) error {
	text, err := c.text()
	if err == nil {
		_, err = fmt.Fprint(e.Stdout, text)
	}
	return err
}

// text returns the example with what is given filled in, and all else as it is.
func (c *configExampleCmd) text() (string, error) {
	text := config.Example()
	set := func(key string, value any) {
		line := regexp.MustCompile(`(?m)^(?:# )?` + regexp.QuoteMeta(key) + ` = .*$`)
		done := false // its first line only
		text = line.ReplaceAllStringFunc(text, func(old string) string {
			if done {
				return old
			}
			done = true
			return fmt.Sprintf("%s = %s", key, value)
		})
	}
	if c.Zone != "" {
		zone := scenario.Canonical(c.Zone)
		if !config.IsZoneName(zone) {
			return "", fmt.Errorf("--zone %q: want letters, digits and '-', as in \"sink.example.org\"", c.Zone)
		}
		text = regexp.MustCompile(`\bsink\.example\b`).ReplaceAllLiteralString(text, zone)
	}
	if len(c.Address) > 0 {
		var list []string
		for _, a := range c.Address {
			list = append(list, fmt.Sprintf("%q", a.Unmap()))
		}
		set("addresses", "["+strings.Join(list, ", ")+"]")
	}
	if c.DataDir != "" {
		set("data_dir", tomlString(c.DataDir))
	}
	if c.ACME {
		set("ca", `"acme"`)
		set("agree_terms", "true")
	}
	if c.Email != "" {
		if p, err := mail.ParseAddress(c.Email); err != nil || p.Address != c.Email {
			return "", fmt.Errorf("--email %q: want an address, as in \"you@example.org\"", c.Email)
		}
		set("email", tomlString(c.Email))
	}
	return text, nil
}

// tomlString quotes s: what JSON writes is a basic string of TOML, too.
func tomlString(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""` // strings always can be
	}
	return string(b)
}
