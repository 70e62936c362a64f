package probe

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// maxConnections is how many one probe makes at most: two for the dialogue, one
// for each TLS version, one for forward secrecy.
const maxConnections = 8

// Options of a Prober. HELO is required.
type Options struct {
	Dial  func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer
	Roots *x509.CertPool                                                       // nil: those of the system
	HELO  string                                                               // our name in EHLO
	Now   func() time.Time                                                     // nil: time.Now; judges certificates
	Rand  io.Reader                                                            // nil: crypto/rand; safe for concurrent use
	// Pause between two connections; 0 is half a second, negative is none.
	Pause    time.Duration
	Timeouts Timeouts
}

// Timeouts limit the steps of a probe; zero values are the defaults.
type Timeouts struct {
	Total     time.Duration // one server: 60 s
	Dial      time.Duration // 10 s
	Greeting  time.Duration // 30 s; servers delay it on purpose
	Command   time.Duration // each reply: 15 s
	Handshake time.Duration // 10 s
}

func (t *Timeouts) defaults() {
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&t.Total, time.Minute},
		{&t.Dial, 10 * time.Second},
		{&t.Greeting, 30 * time.Second},
		{&t.Command, 15 * time.Second},
		{&t.Handshake, 10 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
}

// Prober looks at SMTP servers. It is safe for concurrent use.
type Prober struct {
	opts Options
}

// New returns a Prober. It fails if HELO is no host name.
func New(opts Options) (*Prober, error) {
	if !isHostName(opts.HELO) {
		return nil, fmt.Errorf("HELO %q: want the host name of this machine, e.g. probe.example.org", opts.HELO)
	}
	if opts.Dial == nil {
		opts.Dial = new(net.Dialer).DialContext
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Rand == nil {
		opts.Rand = rand.Reader
	}
	if opts.Pause == 0 {
		opts.Pause = time.Second / 2
	}
	opts.Timeouts.defaults()
	return &Prober{opts: opts}, nil
}

// isHostName reports whether s can stand in a command: a host name, or an
// address literal's inside.
func isHostName(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune("-._:[]", r)
	})
}

// pause waits between two connections, or until ctx ends.
func (p *Prober) pause(ctx context.Context) error {
	if p.opts.Pause <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(p.opts.Pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// errTotal ends a probe whose time is up.
var errTotal = errors.New("the time for one server is over")
