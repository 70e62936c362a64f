package cli

import (
	"errors"
	"fmt"

	"github.com/alecthomas/kong"
)

// Run executes one command line of commands, a struct with a field for each as
// kong reads it. It returns the exit status: 0 success, 1 a negative result or a
// failure, 2 a wrong command line.
func Run(e *Env, commands any, args []string) (status int) {
	exited := -1
	parser, err := kong.New(commands,
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
		if x, ok := errors.AsType[ExitError](err); ok {
			return int(x)
		}
		fmt.Fprintln(e.Stderr, "tlsink:", err)
		return 1
	}
	return 0
}

var errExited = errors.New("exited")
