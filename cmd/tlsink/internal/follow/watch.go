package follow

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tlsink/tlsink/client"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/live"
)

// The exit status of `tlsink watch` and `tlsink test`.
const (
	Met         = 0 // a verdict, and it is as required
	NotMet      = 1 // it is not; for watch: the test ended without one
	Usage       = 2
	Unavailable = 3 // undetermined, out of time, interrupted, or the server cannot be reached
)

// APIFlags say how a server is asked.
type APIFlags struct {
	Roots string `help:"Root certificates (PEM) instead of those of the system." type:"path" placeholder:"FILE"`

	Dial func(ctx context.Context, network, address string) (net.Conn, error) `kong:"-"` // nil: the network
}

func (f APIFlags) client(server string) (*client.Client, error) {
	roots, err := rootsOf(f.Roots)
	if err != nil {
		return nil, err
	}
	return newClient(server, roots, f.Dial)
}

func rootsOf(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // those of the system
	}
	return config.ReadRoots(file)
}

func newClient(server string, roots *x509.CertPool, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*client.Client, error) {
	return client.New(client.Options{
		Server: server, Roots: roots, Dial: dial, UserAgent: "tlsink/" + cli.ModuleVersion(),
		Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), //nolint:gosec // jitter
	})
}

// WatchCmd follows a test until it is over.
type WatchCmd struct {
	Test     string `arg:"" help:"Link of a test; or with --server what stands in it behind /t/; or the id of a test of the sink on this host, e.g. 7KQ2PX."`
	Server   string `help:"Where the test runs, if TEST is no link." placeholder:"URL"`
	Language string `enum:",en,de" default:"" help:"Of texts: en, de. Default: that of the test." placeholder:"LANGUAGE"`
	JSON     bool   `name:"json" help:"Print each change as one line of JSON."`
	control.Flag
	APIFlags
}

// Help implements kong.HelpProvider.
func (WatchCmd) Help() string {
	return `Exits with 0 once the test is over and there is a verdict, with 1 if it
ended without one, with 2 if the command line is wrong, with 3 if the test
could not be followed to its end.`
}

// Run follows a test.
func (c *WatchCmd) Run(e *cli.Env) error {
	cl, capability, err := c.find(e.Ctx)
	if err != nil {
		return stopTest(e, err)
	}
	view := newTestView(e.Stdout, c.JSON, time.Now)
	last, err := followTest(e.Ctx, cl, capability, c.Language, view)
	view.end()
	switch {
	case err != nil:
		return stopTest(e, err)
	case last.Verdict == nil || !last.Verdict.Conclusive:
		return cli.ExitError(NotMet)
	}
	return nil
}

// usageError is a wrong command line.
type usageError struct{ error }

// stopTest ends with a message. Status 1 would say what the test did not.
func stopTest(e *cli.Env, err error) error {
	fmt.Fprintln(e.Stderr, "tlsink:", cli.Printable(strings.ReplaceAll(err.Error(), "\n", "; ")))
	if _, ok := errors.AsType[usageError](err); ok {
		return cli.ExitError(Usage)
	}
	return cli.ExitError(Unavailable)
}

// find returns who knows the test, and its capability.
func (c *WatchCmd) find(ctx context.Context) (*client.Client, string, error) {
	server, capability := c.Server, c.Test
	switch {
	case strings.Contains(c.Test, "://"):
		var err error
		if server, capability, err = client.ParseLink(c.Test); err != nil {
			return nil, "", usageError{err}
		}
		if c.Server != "" && strings.TrimSuffix(c.Server, "/") != server {
			return nil, "", usageError{fmt.Errorf("--server %q: the link is of another server: leave one of them out", c.Server)}
		}
	case server == "":
		return c.local(ctx)
	}
	cl, err := c.client(server)
	if err != nil {
		return nil, "", usageError{err}
	}
	return cl, capability, nil
}

// local asks the sink on this host, through its control socket.
func (c *WatchCmd) local(ctx context.Context) (*client.Client, string, error) {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return nil, "", usageError{fmt.Errorf("%w (TEST is no link, and there is no --server, so the sink on this host is asked)", err)}
	}
	b, err := control.Ask(ctx, cfg.DataDir, http.MethodGet, "/tests/"+url.PathEscape(strings.ToUpper(c.Test))+"/link")
	if err != nil {
		return nil, "", fmt.Errorf("test %q: %w", c.Test, err)
	}
	link := strings.TrimSpace(string(b))
	if strings.Contains(link, "://") {
		if _, link, err = client.ParseLink(link); err != nil {
			return nil, "", err
		}
	}
	socket := cfg.Path(control.Socket)
	cl, err := newClient("http://localhost", nil, func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	})
	return cl, link, err
}

// followTest shows what becomes of a test, and returns how it stood at last. An
// error may come with a status: how far it was.
func followTest(ctx context.Context, cl *client.Client, capability, language string, view testView) (last *live.Status, err error) {
	type step struct {
		st  *live.Status
		err error
	}
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	steps := make(chan step)
	go func() {
		defer close(steps)
		for st, err := range cl.Follow(following, capability, language, func(err error, pause time.Duration) { view.trouble(err, pause) }) {
			select {
			case steps <- step{st, err}:
			case <-following.Done():
				return
			}
		}
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case next, ok := <-steps:
			switch {
			case !ok && ctx.Err() != nil:
				return last, errInterrupted
			case !ok && last == nil:
				return nil, errors.New("the server tells nothing about this test")
			case !ok:
				return last, nil
			case next.err != nil && ctx.Err() != nil:
				return last, errInterrupted
			case next.err != nil:
				return last, next.err
			}
			last = next.st
			if err := view.show(last); err != nil {
				return last, fmt.Errorf("print: %w", err)
			}
		case <-tick.C:
			view.tick()
		}
	}
}

var errInterrupted = errors.New("interrupted")

// testView shows a test that is followed. Its methods may be called at once.
type testView interface {
	show(st *live.Status) error
	tick() // a second has passed
	trouble(err error, pause time.Duration)
	end()
}

func newTestView(w io.Writer, asJSON bool, now func() time.Time) testView {
	switch {
	case asJSON:
		return &jsonView{w: w}
	case cli.IsTerminal(w):
		return &screenView{w: w, now: now, size: terminalSize(w)}
	}
	return &lineView{w: w}
}
