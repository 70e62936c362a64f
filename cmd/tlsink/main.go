// Command tlsink is an active downgrade-testing mail sink: it tells which
// outbound TLS policy a mail server really enforces.
//
// This file and its neighbours hold the wiring (service.go) and the commands that
// run it, and are the only place that sees every package. The other commands are
// in internal: they meet a service from outside, or need none.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/backups"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/domaincheck"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/follow"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/headers"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/operators"
)

// commandLines is what can be said on the command line.
type commandLines struct {
	Demo    demoCmd              `cmd:"" help:"Show the whole service at work, on loopback, with senders of every policy."`
	Serve   serveCmd             `cmd:"" help:"Run the sink."`
	Doctor  doctorCmd            `cmd:"" help:"Check a deployed sink from the outside in, and say what to do."`
	Check   domaincheck.Cmd      `cmd:"" help:"Analyse domains as receivers: DANE, MTA-STS, TLS, certificates, DNSSEC."`
	Test    follow.TestCmd       `cmd:"" help:"Test a mail system against a running tlsink, and exit by the verdict: for cron and CI."`
	Watch   follow.WatchCmd      `cmd:"" help:"Follow a test until it is over."`
	Headers headers.Cmd          `cmd:"" help:"Tell the way of a mail, and which steps claim encryption, from its header."`
	Config  configCmd            `cmd:"" help:"Check a configuration file, or print one to start with."`
	Backup  backups.BackupCmd    `cmd:"" help:"Save keys, evidence and queue, while the sink runs or not."`
	Restore backups.RestoreCmd   `cmd:"" help:"Put a backup into an empty data_dir."`
	Reload  reloadCmd            `cmd:"" help:"Have the running sink read its configuration again, like SIGHUP."`
	Infer   inferCmd             `cmd:"" help:"Infer a sender's policy from recorded histories (JSON Lines)."`
	History operators.HistoryCmd `cmd:"" help:"Look at the tests of the running sink."`
	Tests   operators.TestsCmd   `cmd:"" help:"Search, explain, export and delete the tests of the running sink."`
	Queue   operators.QueueCmd   `cmd:"" help:"Look at the queue of reports; retry and drop."`
	Blocks  operators.BlocksCmd  `cmd:"" help:"Refuse clients and senders."`
	Slots   operators.SlotsCmd   `cmd:"" help:"List the slots that tests can lease."`
	Purge   operators.PurgeCmd   `cmd:"" help:"Delete old evidence now."`
	Actions operators.ActionsCmd `cmd:"" help:"List what operators changed."`
	Inbox   operators.InboxCmd   `cmd:"" help:"Read mail to postmaster and abuse."`
	Forget  operators.ForgetCmd  `cmd:"" help:"Delete everything of a sender, on request."`
	Console operators.ConsoleCmd `cmd:"" help:"Set the password of the operator's console."`
	Keys    operators.KeysCmd    `cmd:"" help:"Look at keys and certificates, and replace keys."`
	Zone    operators.ZoneCmd    `cmd:"" help:"Print what the parent zone has to publish; look at the keys of the zone, and replace them."`
	Version versionCmd           `cmd:"" help:"Print the version."`
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

// run executes one command line and returns the exit status.
func run(e *cli.Env, args []string) int { return cli.Run(e, &commandLines{}, args) }
