// Command tlsink is an active downgrade-testing mail sink: it tells which
// outbound TLS policy a mail server really enforces.
//
// This file and its neighbours hold the subcommands and the wiring; it is the
// only place that sees every package.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
)

// commandLines is what can be said on the command line.
type commandLines struct {
	Demo    demoCmd    `cmd:"" help:"Show the whole service at work, on loopback, with senders of every policy."`
	Serve   serveCmd   `cmd:"" help:"Run the sink."`
	Doctor  doctorCmd  `cmd:"" help:"Check a deployed sink from the outside in, and say what to do."`
	Check   checkCmd   `cmd:"" help:"Analyse domains as receivers: DANE, MTA-STS, TLS, certificates, DNSSEC."`
	Test    testCmd    `cmd:"" help:"Test a mail system against a running tlsink, and exit by the verdict: for cron and CI."`
	Watch   watchCmd   `cmd:"" help:"Follow a test until it is over."`
	Headers headersCmd `cmd:"" help:"Tell the way of a mail, and which steps claim encryption, from its header."`
	Config  configCmd  `cmd:"" help:"Check a configuration file, or print one to start with."`
	Backup  backupCmd  `cmd:"" help:"Save keys, evidence and queue, while the sink runs or not."`
	Restore restoreCmd `cmd:"" help:"Put a backup into an empty data_dir."`
	Reload  reloadCmd  `cmd:"" help:"Have the running sink read its configuration again, like SIGHUP."`
	Infer   inferCmd   `cmd:"" help:"Infer a sender's policy from recorded histories (JSON Lines)."`
	History historyCmd `cmd:"" help:"Look at the tests of the running sink."`
	Tests   testsCmd   `cmd:"" help:"Search, explain, export and delete the tests of the running sink."`
	Queue   queueCmd   `cmd:"" help:"Look at the queue of reports; retry and drop."`
	Blocks  blocksCmd  `cmd:"" help:"Refuse clients and senders."`
	Slots   slotsCmd   `cmd:"" help:"List the slots that tests can lease."`
	Purge   purgeCmd   `cmd:"" help:"Delete old evidence now."`
	Actions actionsCmd `cmd:"" help:"List what operators changed."`
	Inbox   inboxCmd   `cmd:"" help:"Read mail to postmaster and abuse."`
	Forget  forgetCmd  `cmd:"" help:"Delete everything of a sender, on request."`
	Console consoleCmd `cmd:"" help:"Set the password of the operator's console."`
	Keys    keysCmd    `cmd:"" help:"Look at keys and certificates, and replace keys."`
	Zone    zoneCmd    `cmd:"" help:"Print what the parent zone has to publish; look at the keys of the zone, and replace them."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

func main() {
	// A binary with a file capability would print no stack when it crashes.
	debug.SetTraceback("single")
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		fmt.Fprintln(os.Stderr, "tlsink: second signal, ended at once")
		os.Exit(1)
	}()
	os.Exit(run(&cli.Env{Ctx: ctx, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}, os.Args[1:]))
}

// run executes one command line and returns the exit status: 0 success,
// 1 a negative result or a failure, 2 a wrong command line.
func run(e *cli.Env, args []string) (status int) {
	var c commandLines
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("tlsink"),
		kong.Description("Does a mail server really protect the mail it sends? An active downgrade-testing mail sink."),
		kong.Writers(e.Stdout, e.Stderr),
		kong.Exit(func(n int) { exited = n; panic(errExited) }),
		kong.UsageOnError(),
		kong.Bind(e),
	)
	if err != nil {
		fmt.Fprintln(e.Stderr, "tlsink:", err)
		return 2
	}
	defer func() {
		// kong ends the process after --help by its Exit hook.
		if r := recover(); r != nil {
			if r != errExited { //nolint:errorlint // the very value that was thrown above
				panic(r)
			}
			status = exited
		}
	}()
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(e.Stderr, "tlsink: %v\nhint: tlsink --help\n", err)
		return 2
	}
	if err := k.Run(); err != nil {
		if x, ok := errors.AsType[cli.ExitError](err); ok {
			return int(x)
		}
		fmt.Fprintln(e.Stderr, "tlsink:", err)
		return 1
	}
	return 0
}

var errExited = errors.New("exited")
