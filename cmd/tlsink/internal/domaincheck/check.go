package domaincheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/rating"
)

// The exit status of `tlsink check`. The worst of several domains counts, in
// this order.
const (
	checkMet      = 0
	checkUntested = 3 // a required standard could not be tested
	checkUsage    = 2 // an option, or a name on standard input, is wrong
	checkNotMet   = 1 // a required standard is not met
)

// Cmd is the command line.
type Cmd struct {
	Domains []string `arg:"" optional:"" help:"Domains, or mail addresses; - reads them from standard input, one a line."`
	JSON    bool     `name:"json" help:"Print each analysis with its ratings as one line of JSON."`
	Require []string `sep:"," enum:"dane,mta-sts,qualified,tls" help:"Exit with 1 if a domain does not meet this standard, with 3 if that could not be tested: dane, mta-sts, qualified, tls. May be repeated." placeholder:"STANDARD"`
	Rules   bool     `help:"Print the rule of each rating, and where it comes from."`

	Resolver      []string      `sep:"," help:"Recursive resolver to ask; its answers are validated here. Default: those of /etc/resolv.conf." placeholder:"ADDRESS"`
	TrustResolver bool          `help:"Believe what --resolver validates, instead: it is asked twice. Only for one on this host, or on a network that is trusted."`
	TrustAnchor   string        `help:"Trust anchors instead of those of the root zone: DS or DNSKEY records in zone file format." type:"path" placeholder:"FILE"`
	Roots         string        `help:"Root certificates (PEM) instead of those of the system." type:"path" placeholder:"FILE"`
	Networks      string        `help:"Names of networks: a table as of iptoasn.com (ip2asn-combined.tsv, also .gz)." type:"path" placeholder:"FILE"`
	Timeout       time.Duration `default:"5m" help:"Longest time for one domain."`
	From          string        `help:"Name in EHLO. Default: that of this host." placeholder:"NAME"`
	Parallel      int           `default:"4" help:"How many domains at a time."`
	AllowPrivate  bool          `help:"Connect to private and loopback addresses, too: for laboratories, with domains that you trust."`

	dial     inbound.Dial        // nil: the network
	exchange dnssec.ExchangeFunc // nil: the network
}

// Run analyses domains as receivers.
func (c *Cmd) Run(e *cli.Env) error {
	if c.Rules {
		return printRules(e.Stdout)
	}
	if err := c.usage(); err != nil {
		return c.stop(e, checkUsage, err)
	}
	p := &checkProgress{w: e.Stderr, terminal: cli.IsTerminal(e.Stderr), now: time.Now, total: c.total()}
	o, err := c.options()
	if err != nil {
		return c.stop(e, checkUsage, err)
	}
	if err := asksWell(e.Ctx, o.Resolver); err != nil {
		return c.stop(e, checkUntested, err)
	}
	o.Progress = p.step
	analyzer, err := inbound.New(o)
	if err != nil {
		return c.stop(e, checkUsage, err)
	}
	status, err := c.all(e, analyzer, p)
	if err != nil {
		return c.stop(e, worseStatus(status, checkUntested), err)
	}
	if status != checkMet {
		return cli.ExitError(status)
	}
	return nil
}

// stop ends with a message. Status 1 would say that a standard is not met.
func (*Cmd) stop(e *cli.Env, status int, err error) error {
	fmt.Fprintln(e.Stderr, "tlsink:", cli.Printable(strings.ReplaceAll(err.Error(), "\n", "; ")))
	return cli.ExitError(status)
}

// total is how many domains there are; 0 if that is not known.
func (c *Cmd) total() int {
	if slices.Contains(c.Domains, "-") {
		return 0
	}
	return len(c.Domains)
}

// domainResult is the analysis of one domain, or why there is none.
type domainResult struct {
	name     string
	analysis inbound.Analysis
	err      error
}

// all analyses and prints in the order in which domains are named. The status
// is that of the worst; the error ends it.
func (c *Cmd) all(e *cli.Env, a *inbound.Analyzer, p *checkProgress) (status int, err error) {
	ctx, cancel := context.WithCancel(e.Ctx)
	defer cancel()
	out := checkPrinter{w: e.Stdout, colour: takesColour(e.Stdout)}
	results := c.analyses(ctx, a, c.names(e))
	for {
		var r domainResult
		select {
		case <-ctx.Done():
		case next, ok := <-results:
			if !ok {
				p.clear()
				return status, nil
			}
			select {
			case <-ctx.Done():
			case r = <-next:
			}
		}
		p.clear()
		if e.Ctx.Err() != nil {
			return status, errors.New("interrupted")
		}
		if r.err != nil {
			fmt.Fprintln(e.Stderr, "tlsink:", cli.Printable(r.err.Error()))
			status = worseStatus(status, checkUsage)
			continue
		}
		ratings := rating.Rate(r.analysis, rating.Outbound{})
		status = worseStatus(status, c.status(r.analysis, ratings))
		if c.JSON {
			err = printCheckJSON(e.Stdout, r.analysis, ratings)
		} else {
			err = out.domain(r.analysis, ratings)
		}
		if err != nil {
			return status, fmt.Errorf("print the analysis of %s: %w", r.analysis.Domain, err)
		}
		p.done(r.analysis.Domain)
	}
}

// takesColour reports whether colours may be written (no-color.org).
func takesColour(w io.Writer) bool { return cli.IsTerminal(w) && os.Getenv("NO_COLOR") == "" }

// analyses runs a few analyses at a time. Each result comes through a channel of
// its own, so that they stay in order.
func (c *Cmd) analyses(ctx context.Context, a *inbound.Analyzer, names iter.Seq2[string, error]) <-chan chan domainResult {
	const waiting = 64 // results that a slow domain before them may hold up
	out := make(chan chan domainResult, waiting)
	slots := make(chan struct{}, c.Parallel)
	go func() {
		defer close(out)
		for name, err := range names {
			one := make(chan domainResult, 1)
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			go func() {
				defer func() { <-slots }()
				r := domainResult{name: name, err: err}
				if err == nil {
					r.analysis, r.err = a.Analyze(ctx, name)
				}
				one <- r
			}()
			select {
			case out <- one:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// status is the exit status for one domain.
func (c *Cmd) status(a inbound.Analysis, r rating.Ratings) int {
	status := checkMet
	for _, id := range c.Require {
		switch met := r.Standard(id).Met; {
		case met.Failed():
			status = worseStatus(status, checkNotMet)
		case met.Outcome == check.Untested, a.Route == inbound.RouteNone:
			// No mail server at all: as a rule a name with a typing error.
			status = worseStatus(status, checkUntested)
		}
	}
	return status
}

// worseStatus is the one that counts for both: 1 before 2 before 3 before 0.
func worseStatus(a, b int) int {
	if a == checkMet || b == checkMet {
		return max(a, b)
	}
	return min(a, b)
}

// printCheckJSON prints one line.
func printCheckJSON(w io.Writer, a inbound.Analysis, r rating.Ratings) error {
	b, err := json.Marshal(struct {
		Domain   string           `json:"domain"`
		Analysis inbound.Analysis `json:"analysis"`
		Ratings  rating.Ratings   `json:"ratings"`
	}{a.Domain, a, r})
	if err != nil {
		return err
	}
	return cli.WriteJSONLine(w, b)
}
