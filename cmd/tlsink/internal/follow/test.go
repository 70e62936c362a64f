package follow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"os"
	"strings"
	"time"

	"github.com/tlsink/tlsink/client"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/policyinfer"
)

// TestCmd runs a test and exits by its verdict.
type TestCmd struct {
	Server   string        `required:"" help:"The tlsink that runs the test, e.g. https://sink.example." placeholder:"URL"`
	Require  []string      `sep:"none" help:"What the verdict has to be: protected or names of policies, separated by commas; any of them will do. May be repeated: then all have to be met. dane is met by dane, dane-only, dane+mta-sts; mta-sts by mta-sts, dane+mta-sts." placeholder:"POLICIES"`
	Language string        `enum:"en,de" default:"en" help:"Of texts: en, de." placeholder:"LANGUAGE"`
	Timeout  time.Duration `default:"8h" help:"How long to wait for the verdict."`
	JUnit    string        `name:"junit" help:"Write the result as JUnit XML." type:"path" placeholder:"FILE"`
	JSON     bool          `name:"json" help:"Print each change as one line of JSON."`
	Sendmail string        `help:"Hand a test mail from this address to sendmail(1) of this host." placeholder:"FROM"`
	Send     string        `help:"Hand a test mail to this shell command, on its standard input. TLSINK_TO names its recipients." placeholder:"COMMAND"`
	From     string        `help:"From of the mail for --send. Default: left to the command." placeholder:"ADDRESS"`
	Webhook  string        `help:"Have this URL called when the test is over. The server's operator must have listed its host; the key of the signatures is printed to standard error." placeholder:"URL"`
	APIFlags
}

// Help implements kong.HelpProvider.
func (TestCmd) Help() string {
	return `Starts a test, prints its two addresses, and waits until it is over.

Exits with 0 if all requirements are met, with 1 if one is not, with 2 if the
command line is wrong, with 3 if there is no conclusive verdict, the time is
up, or the server cannot be reached. Without --require a conclusive verdict
will do. Interrupted, it gives the addresses back if no mail has come yet.`
}

// Run makes one test.
func (c *TestCmd) Run(e *cli.Env) error {
	requirements, err := c.usage()
	if err != nil {
		return stopTest(e, usageError{err})
	}
	cl, err := c.client(c.Server)
	if err != nil {
		return stopTest(e, usageError{err})
	}
	ctx, cancel := context.WithTimeoutCause(e.Ctx, c.Timeout, errTimeUp)
	defer cancel()
	run := &testRun{cmd: c, env: e, client: cl, began: time.Now()}
	outcome, err := run.do(ctx, requirements)
	if outcome != nil && c.JUnit != "" {
		if err := writeJUnitFile(c.JUnit, *outcome); err != nil {
			return stopTest(e, fmt.Errorf("--junit: %w", err))
		}
	}
	switch {
	case err != nil:
		return stopTest(e, err)
	case outcome.status() != Met:
		return cli.ExitError(outcome.status())
	}
	return nil
}

var errTimeUp = errors.New("the time is up (--timeout)")

func (c *TestCmd) usage() ([]requirement, error) {
	var out []requirement
	for _, text := range c.Require {
		r, err := parseRequirement(text)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	if c.Timeout <= 0 {
		return nil, fmt.Errorf("--timeout %v: want more than nothing, e.g. 8h", c.Timeout)
	}
	if c.Send != "" && c.Sendmail != "" {
		return nil, errors.New("--send and --sendmail: use one of them")
	}
	if c.From != "" && c.Send == "" {
		return nil, errors.New("--from: it is for the mail of --send")
	}
	for _, f := range []struct{ flag, value string }{{"--sendmail", c.Sendmail}, {"--from", c.From}} {
		if f.value == "" {
			continue
		}
		if a, err := mail.ParseAddress(f.value); err != nil || a.Address != f.value || strings.HasPrefix(f.value, "-") {
			return nil, fmt.Errorf("%s %q: want a mail address, e.g. cron@example.org", f.flag, f.value)
		}
	}
	if c.JUnit != "" {
		// Better now than after hours.
		f, err := os.OpenFile(c.JUnit, os.O_WRONLY|os.O_CREATE, 0o644) //nolint:gosec // a report for others to read
		if err != nil {
			return nil, fmt.Errorf("--junit: %w", err)
		}
		return out, f.Close()
	}
	return out, nil
}

// testRun is one run of the command.
type testRun struct {
	cmd    *TestCmd
	env    *cli.Env
	client *client.Client
	began  time.Time
	mailed bool // the addresses were told, and the mail handed over
}

// testOutcome is what came of a test.
type testOutcome struct {
	server       string
	last         *live.Status
	took         time.Duration
	requirements []requirement
	hosts        []policyinfer.HostVerdict // where they differ
	failure      error                     // why it did not come to its end
}

func (r *testRun) do(ctx context.Context, requirements []requirement) (*testOutcome, error) {
	started, err := r.client.Start(ctx, client.Order{Language: r.cmd.Language, Webhook: r.cmd.Webhook})
	if err != nil {
		return &testOutcome{server: r.cmd.Server, requirements: requirements, failure: err}, err
	}
	if started.Webhook != nil {
		fmt.Fprintf(r.env.Stderr, "webhook secret: %s\n", cli.Printable(started.Webhook.Secret))
	}
	fmt.Fprintf(r.env.Stderr, "follow it at %s\n", cli.Printable(started.Link))
	view := &sendingView{run: r, ctx: ctx, testView: newTestView(r.progress(), r.cmd.JSON, time.Now)}
	last, err := followTest(ctx, r.client, started.Capability, r.cmd.Language, view)
	view.end()
	if last == nil {
		last = started.Status
	}
	if errors.Is(err, errInterrupted) && r.env.Ctx.Err() == nil {
		err = errTimeUp
	}
	if err != nil && !last.State.Over() {
		r.giveUp(ctx, started.Capability)
	}
	out := &testOutcome{server: r.cmd.Server, last: last, requirements: requirements, took: time.Since(r.began)}
	if v := last.Verdict; v != nil && v.Conclusive && !last.Unconfirmed {
		if policyinfer.Name(v.Policy) == policyinfer.Mixed {
			out.hosts = r.hosts(ctx, started.Capability)
		}
		if errors.Is(err, errTimeUp) {
			err = nil // it was only waiting for the mail to be handed over
		}
	}
	out.failure = err
	if err == nil {
		err = r.tell(out)
	}
	return out, err
}

// progress is where changes are shown: with JSON they are the result.
func (r *testRun) progress() io.Writer {
	if r.cmd.JSON {
		return r.env.Stdout
	}
	return r.env.Stderr
}

// giveUp gives the addresses back if no mail has come; if one has, the test
// goes on without us.
func (r *testRun) giveUp(ctx context.Context, capability string) {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := r.client.Cancel(ctx, capability); err == nil {
		fmt.Fprintln(r.env.Stderr, "the test was given up")
	}
}

// hosts returns the verdict of each host of a sender whose hosts differ; none if
// it cannot be had.
func (r *testRun) hosts(ctx context.Context, capability string) []policyinfer.HostVerdict {
	b, err := r.client.Report(context.WithoutCancel(ctx), capability)
	var doc struct {
		Verdict policyinfer.Verdict `json:"verdict"`
	}
	if err != nil || json.Unmarshal(b, &doc) != nil {
		return nil
	}
	var out []policyinfer.HostVerdict
	for _, h := range doc.Verdict.Hosts {
		out = append(out, h)
	}
	return out
}

// tell prints the result.
func (r *testRun) tell(o *testOutcome) error {
	if r.cmd.JSON {
		return nil
	}
	_, err := fmt.Fprintln(r.env.Stdout, cli.Printable(verdictText(o.last)))
	for _, q := range o.requirements {
		if err != nil {
			return err
		}
		word := [...]string{answerOpen: "cannot be told", answerYes: "met", answerNo: "not met"}[q.judge(o.last.Verdict, o.hosts)]
		_, err = fmt.Fprintf(r.env.Stdout, "required %s: %s\n", q.text, word)
	}
	return err
}

// status is the exit status.
func (o *testOutcome) status() int {
	if o.failure != nil || o.last.Verdict == nil || !o.last.Verdict.Conclusive || o.last.Unconfirmed {
		return Unavailable
	}
	status := Met
	for _, q := range o.requirements {
		switch q.judge(o.last.Verdict, o.hosts) {
		case answerNo:
			return NotMet
		case answerOpen:
			status = Unavailable
		}
	}
	return status
}
