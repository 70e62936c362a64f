package api

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
)

// What an implementation of the interfaces below returns, wrapped or not, so
// that clients learn what to do.
var (
	// ErrBusy says that everything is in use, for everybody.
	ErrBusy = errors.New("busy")
	// ErrTooMany says that this client's network has as much as it may.
	ErrTooMany = errors.New("too many")
	// ErrStarted says that a test cannot be given up any more.
	ErrStarted = errors.New("started")
)

// Live tells how tests stand. It must be safe for concurrent use.
type Live interface {
	// Status returns the test behind a capability; false if there is none.
	Status(ctx context.Context, capability string, l report.Language) (*live.Status, bool, error)
	// Watch follows it. It returns ErrBusy if too many do.
	Watch(ctx context.Context, capability string, l report.Language) (Watcher, bool, error)
}

// Watcher follows one test.
type Watcher interface {
	// Next returns the first status at once, and then each time what has become
	// of it, as soon as it changed.
	Next(ctx context.Context) (*live.Status, error)
	Close()
}

// Leases gives tests addresses of their own. It must be safe for concurrent
// use.
type Leases interface {
	// Start returns a new test, or ErrBusy or ErrTooMany.
	Start(ctx context.Context, client netip.Addr, language string) (capability string, err error)
	// Cancel gives up one that no mail has come to, or returns ErrStarted.
	Cancel(ctx context.Context, capability string) error
}

// Results has what was found. It must be safe for concurrent use.
type Results interface {
	// Result returns the test behind a capability; false if there is none, or no
	// mail has come yet.
	Result(ctx context.Context, capability string) (report.Input, bool, error)
}

// Webhooks calls the URLs that tests were started with. It must be safe for
// concurrent use.
type Webhooks interface {
	// Check says why a URL is not allowed, in a sentence for its owner.
	Check(url string) error
	// Register has url called when the test is over. The secret is the key of
	// the signatures. It returns ErrBusy if too many are registered.
	Register(ctx context.Context, testID, url string) (secret string, err error)
}

// Options configure the API.
type Options struct {
	Live     Live
	Leases   Leases
	Results  Results
	Webhooks Webhooks // nil: tests have none

	// Link returns the result page of a capability, e.g. https://sink.example/t/…
	Link func(capability string) string

	Limits Limits
	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // default: discard
}

// Limits bound what clients may use. Zero fields take the default.
type Limits struct {
	Answer    time.Duration // for the parts behind the API; default 10 s
	Wait      time.Duration // longest wait for a change; default 60 s
	Heartbeat time.Duration // of a stream in which nothing happens; default 15 s
	Stream    time.Duration // age at which a stream ends; its client comes again. Default 1 h
	Write     time.Duration // for one event to be taken; default 20 s
	Heavy     int           // reports and histories that are made at once; default 4
	PerClient int           // streams and waits of one client at once; default 20
}

// maxBody bounds the body of a request, in octets.
const maxBody = 4 << 10

func (o *Options) defaults() error {
	switch {
	case o.Live == nil || o.Leases == nil || o.Results == nil:
		return errors.New("api: Live, Leases and Results are required")
	case o.Link == nil:
		return errors.New("api: Link is required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &o.Limits
	orDefault(&l.Answer, 10*time.Second)
	orDefault(&l.Wait, time.Minute)
	orDefault(&l.Heartbeat, 15*time.Second)
	orDefault(&l.Stream, time.Hour)
	orDefault(&l.Write, 20*time.Second)
	orDefault(&l.Heavy, 4)
	orDefault(&l.PerClient, 20)
	return nil
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// isCapability reports whether s can be one. What is none is not looked up.
func isCapability(s string) bool {
	const least, most = 16, 64
	return len(s) >= least && len(s) <= most && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
