package webhook

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// State keeps values over restarts. A value is on disk when Save returns. Load
// returns nil for a key that was never saved.
type State interface {
	Load(key string) ([]byte, error)
	Save(ctx context.Context, key string, value []byte) error
}

// Target is a URL of the operator.
type Target struct {
	URL string
	// Secret returns the key of the signatures, see [Key]. It is read for every
	// attempt, since secrets change.
	Secret func() (string, error)
}

// Result is what came of an attempt.
type Result string

// The results.
const (
	Delivered Result = "delivered"
	PutOff    Result = "put_off"
	GivenUp   Result = "given_up"
)

// Options are the parts and settings of a Sender.
type Options struct {
	State   State
	Targets []Target // called for every test that got a mail
	Hosts   []string // that tests may name URLs of; exact names, the port does not matter

	// Dial connects to host:port. Strangers may choose the host, so it must
	// refuse addresses that are not for them.
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	Roots    *x509.CertPool // nil: the system's
	Loopback bool           // http:// to loopback is allowed, for laboratories

	Service string // the zone; stands in the message
	Now     func() time.Time
	Rand    io.Reader // for secrets and jitter
	Logger  *slog.Logger

	// Attempted is told of each attempt; nil: nobody. It must not block.
	Attempted func(r Result, took time.Duration)

	Limits Limits
}

// Limits bound what is kept and done. Zero fields take the default.
type Limits struct {
	Registered int           // tests that have a URL; default and at most 1000
	Pending    int           // messages; default and at most 200: they are stored as one value
	PerHost    int           // pending messages for one host; default 100
	Timeout    time.Duration // of an attempt; default 10 s
	FirstRetry time.Duration // after the first failure, then doubling; default 10 s
	MaxRetry   time.Duration // longest time between attempts; default 4 h
	GiveUp     time.Duration // age at which a message is given up; default 24 h
	Pause      time.Duration // between two attempts at one host; default 1 s
	Parallel   int           // attempts at once, each at another host; default 4
}

const (
	maxURL    = 400                // octets
	maxBody   = 2 << 10            // octets of a message
	maxLog    = 100                // ended deliveries that are remembered
	maxReason = 150                // octets of why an attempt failed
	maxLink   = 300                // octets
	maxText   = 250                // octets of a text in a message
	stale     = 7 * 24 * time.Hour // no test takes that long: its URL is forgotten
	idle      = 24 * time.Hour     // wait without anything pending; something new ends it
)

func (o *Options) defaults() error {
	switch {
	case o.State == nil:
		return errors.New("webhook: option State is missing")
	case o.Dial == nil:
		return errors.New("webhook: option Dial is missing")
	case o.Now == nil:
		return errors.New("webhook: option Now is missing")
	case o.Rand == nil:
		return errors.New("webhook: option Rand is missing")
	}
	for _, t := range o.Targets {
		if _, err := o.parse(t.URL); err != nil {
			return fmt.Errorf("webhook: url of host %q: %w", hostOf(t.URL), err)
		}
		if t.Secret == nil {
			return fmt.Errorf("webhook: url of host %q: option Secret is missing", hostOf(t.URL))
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Attempted == nil {
		o.Attempted = func(Result, time.Duration) {}
	}
	l := &o.Limits
	setDefault(&l.Registered, 1000)
	setDefault(&l.Pending, 200)
	l.Pending, l.Registered = min(l.Pending, 200), min(l.Registered, 1000)
	setDefault(&l.PerHost, 100)
	setDefault(&l.Timeout, 10*time.Second)
	setDefault(&l.FirstRetry, 10*time.Second)
	setDefault(&l.MaxRetry, 4*time.Hour)
	setDefault(&l.GiveUp, 24*time.Hour)
	setDefault(&l.Pause, time.Second)
	setDefault(&l.Parallel, 4)
	return nil
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// parse reads a URL that may be called at all.
func (o *Options) parse(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, fmt.Errorf("the URL is longer than %d octets: use a shorter one", maxURL)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("this is no URL: want https://host/path") // the reason repeats the URL
	case u.User != nil:
		return nil, errors.New("the URL names a user or password: leave that out, messages are signed")
	case u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("the URL names no host: want https://host/path")
	case u.Fragment != "":
		return nil, errors.New("the URL has a fragment (#…), which is never sent: leave it out")
	case u.Scheme == "http" && o.Loopback && isLoopback(u.Hostname()):
	case u.Scheme != "https":
		return nil, errors.New("the URL is not https: use https://host/path")
	}
	return u, nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback() || strings.EqualFold(host, "localhost")
}

// hostOf names a URL in logs: the rest of it may be a secret.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// Check says why a test may not name this URL.
func (s *Sender) Check(raw string) error {
	u, err := s.o.parse(raw)
	if err != nil {
		return err
	}
	host := func(h string) bool {
		return strings.EqualFold(strings.TrimSuffix(h, "."), strings.TrimSuffix(u.Hostname(), "."))
	}
	if !slices.ContainsFunc(s.o.Hosts, host) {
		return errors.New("this host is not one that the operator of this service allows")
	}
	return nil
}
