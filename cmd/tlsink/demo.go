package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/deliver"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
)

type demoCmd struct {
	Timeout time.Duration `default:"60s" help:"Give up after so long."`
	Verbose bool          `help:"Log what the service does."`
}

// Run shows the main job on a fresh machine: the whole service on loopback, a
// sender of every policy at once, and what the service finds out about them.
func (c *demoCmd) Run(e *cli.Env) error {
	log := slog.New(slog.DiscardHandler)
	if c.Verbose {
		log = slog.New(slog.NewTextHandler(e.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	dir, err := os.MkdirTemp("", "tlsink-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(e.Ctx, c.Timeout)
	defer cancel()
	fmt.Fprint(e.Stdout, demoIntroduction)
	d, err := newDemo(ctx, demoConfig(dir), log)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("demo: gave up; missing: the service itself (%w), and so every verdict; allow more with --timeout", err)
	case err != nil:
		return fmt.Errorf("demo: %w", err)
	}
	return d.run(ctx, e.Stdout, cli.IsTerminal(e.Stdout))
}

const demoIntroduction = `tlsink demo: DNS, CA, SMTP and HTTPS of a test service start on loopback, and
one sender of each policy mails to en@et and en@ut. For some seconds the
service hides STARTTLS from them; then it shows hosts with good and bad
certificates and TLSA records, and watches to whom they hand over their mail.

  1 no STARTTLS               4 self-signed, TLSA matches
  2 no SNI: default cert.     5 public CA, TLSA mismatch   7 ut: no DANE, no MTA-STS
  3 self-signed, mismatch     6 public CA, TLSA matches
  ● mail handed over   ○ came and left   · did not come

`

// demoConfig compresses time by settings, and by nothing else.
func demoConfig(dir string) config.Config {
	c := config.Config{
		Zone: demoZone, DataDir: dir,
		Listen: config.Listen{SMTP: []string{"127.0.0.1:0"}, DNS: []string{"127.0.0.1:0"}, HTTP: []string{"127.0.0.1:0"}, HTTPS: []string{"127.0.0.1:0"}},
	}
	c.DNS.Addresses = demoAddresses()
	second := func(n float64) config.Duration { return config.Duration(n * float64(time.Second)) }
	c.DNS.TTL, c.DNS.Private = second(1), true
	c.Timing = config.Timing{
		Downgrade: second(2.5), Rotation: second(1.5), Settle: second(5), Silence: second(5), Margin: second(2), Attempt: second(0.4),
		Close: second(300), DateSkew: second(1), SelfCheck: second(5), ReportRetry: second(1),
	}
	c.SetDefaults()
	return c
}

// demo is the service and its senders.
type demo struct {
	service   *service
	listeners *listeners
	net       *demoNet
	senders   []*demoSender
	mailbox   *demoMailbox
}

func newDemo(ctx context.Context, cfg config.Config, log *slog.Logger) (_ *demo, err error) {
	l, err := listen(ctx, cfg.Listen)
	if err != nil {
		return nil, err
	}
	d := &demo{listeners: l, net: newDemoNet(l)}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	// The CA of the senders' mail servers; that of the sink is for its zone only.
	ca, err := certs.OpenLocalCA(certs.LocalCAOptions{Zone: "example"})
	if err != nil {
		return nil, err
	}
	if d.mailbox, err = newDemoMailbox(ctx, ca); err != nil {
		return nil, err
	}
	d.net.mailbox = d.mailbox.listener.Addr().String()
	resolver, err := d.net.resolver(nil)
	if err != nil {
		return nil, err
	}
	if d.service, err = newService(ctx, cfg, network{resolver: resolver, roots: ca.Pool(), dial: d.net.dialFrom(demoService())}, log); err != nil {
		return nil, err
	}
	l.smtp = d.net.wrap(l.smtp)
	for i, name := range demoPolicies() {
		s, err := newDemoSender(d, i, name)
		if err != nil {
			return nil, err
		}
		d.senders = append(d.senders, s)
	}
	return d, nil
}

// run shows the senders until every one has its verdict and its report.
func (d *demo) run(ctx context.Context, out io.Writer, terminal bool) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	g, serving := errgroup.WithContext(serving)
	g.Go(func() error { return d.service.run(serving, d.listeners) })
	g.Go(func() error { return d.mailbox.serve(serving) })
	for _, s := range d.senders {
		g.Go(func() error { return s.run(serving) })
	}
	var missing []string
	started := time.Now()
	g.Go(func() error {
		defer stop()
		missing = d.watch(serving, &display{out: out, terminal: terminal, started: started})
		return nil
	})
	err := g.Wait()
	switch {
	case err != nil && !errors.Is(err, context.Canceled):
		return fmt.Errorf("demo: %w", err)
	case len(missing) > 0:
		return fmt.Errorf("demo: gave up; missing: %s; allow more with --timeout", strings.Join(missing, "; "))
	}
	return d.conclude(out, time.Since(started))
}

// watch redraws until nothing is missing any more, and returns what is.
func (d *demo) watch(ctx context.Context, show *display) []string {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		var missing []string
		for _, s := range d.senders {
			s.look(ctx, d.service)
			if m := s.missing(d.mailbox); m != "" {
				missing = append(missing, m)
			}
		}
		show.draw(d.senders)
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return missing
		case <-tick.C:
		}
	}
}

// conclude prints one report and the judgement of the service.
func (d *demo) conclude(out io.Writer, took time.Duration) error {
	for _, s := range d.senders {
		if s.name == "dane" {
			fmt.Fprintf(out, "\nThe report that %s got by mail:\n\n%s\n", s.address, indent(d.mailbox.text(s.address)))
		}
	}
	wrong := 0
	for _, s := range d.senders {
		if got := s.view.Verdict.Policy; got != s.want {
			wrong++
			fmt.Fprintf(out, "WRONG: the sender with policy %s was called %s\n", s.want, got)
		}
	}
	if wrong > 0 {
		return cli.ExitError(1)
	}
	fmt.Fprintf(out, "All %d verdicts are the policies that were simulated; %d reports were delivered; %.0f s.\n", len(d.senders), len(d.senders), took.Seconds())
	return nil
}

func indent(s string) string {
	return "  | " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  | ")
}

// demoPolicy is a simulated sender: package deliver's behaviour, and the name
// that the service should find.
type demoPolicy struct {
	label  string
	want   policyinfer.Name
	policy deliver.Policy
}

func demoPolicies() []demoPolicy {
	var out []demoPolicy
	for _, n := range deliver.Names() {
		p, _ := deliver.Named(n)
		label := n
		if n == "verify" {
			label = "verify (no SNI)"
		}
		out = append(out, demoPolicy{label, policyinfer.Name(n), p})
		if n == "mta-sts" {
			p.STS = deliver.STSLazy
			out = append(out, demoPolicy{"mta-sts (lazy)", policyinfer.MTASTS, p})
		}
	}
	return out
}

// look reads what the service knows of the sender.
func (s *demoSender) look(ctx context.Context, svc *service) {
	if s.view.Record.Test.ID == "" {
		records, err := svc.store.Tests(ctx, history.TestFilter{})
		if err != nil {
			return
		}
		for _, r := range records {
			if r.Test.Sender == s.address {
				s.view.Record = r
			}
		}
		if s.view.Record.Test.ID == "" {
			return
		}
	}
	if v, err := svc.assess.View(s.view.Record.Test.ID); err == nil {
		s.view = v
	}
}

// missing says what is still to come; "" if nothing is.
func (s *demoSender) missing(m *demoMailbox) string {
	switch {
	case s.view.Record.Test.ID == "":
		return s.label + ": no mail"
	case s.view.Record.Open() && s.view.Record.Concluded.IsZero():
		return fmt.Sprintf("%s: verdict (so far one of %s)", s.label, cli.Names(s.view.Verdict.Candidates))
	case m.text(s.address) == "":
		return s.label + ": report"
	}
	return ""
}
