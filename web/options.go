package web

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/scenario"
)

// Source answers what the pages show. It must be safe for concurrent use.
type Source interface {
	// Result returns the test behind a capability; false if there is none.
	// Capabilities must hold at least 128 random bits.
	Result(ctx context.Context, capability string) (report.Input, bool, error)
	// Status returns the public state of the service. It holds no personal data.
	Status(ctx context.Context) Status
}

// Certificates returns the certificates of one face, the preferred one first.
// It must be safe for concurrent use and answer from memory.
type Certificates interface {
	Certificates(scenario.Certificate) ([]tls.Certificate, error)
}

// Status is the public state of the service.
type Status struct {
	Ready        bool   // the service can run tests
	NotReady     string // why not
	Running      int    // tests without a verdict
	Queue        int    // reports waiting to be mailed
	ZoneChecked  time.Time
	Unverifiable string   // why our own zone or policy fails; empty if it verifies
	Broken       string   // which of our own servers is not what it has to be; empty if all are
	MX           []string // hosts of et, the most preferred first
}

// Limits bound what clients may use. Zero fields take the default.
type Limits struct {
	Connections       int           // at a time; default 1000
	PerClient         int           // connections of one client (IPv4 address, IPv6 /64); default 30
	PagesPerMinute    int           // of one client; default 120. Policy fetches are allowed ten times as often
	Clients           int           // clients that are remembered; default 10,000
	HeaderTimeout     time.Duration // until the header of a request has come; default 5 s
	ReadTimeout       time.Duration // until a request has come; default 10 s
	WriteTimeout      time.Duration // default 20 s
	IdleTimeout       time.Duration // between requests; default 60 s
	ShutdownTimeout   time.Duration // for requests in progress; default 5 s
	MaxHeaderBytes    int           // default 8 KiB
	RefreshInSeconds  int           // of the page of a running test; default 15
	SourceTimeout     time.Duration // for an answer of Source; default 5 s
	MaxUserAgentBytes int           // kept of a User-Agent; default 200
}

// Options configure a Server.
type Options struct {
	Zone         string
	Slots        int // default 1
	Source       Source
	Certificates Certificates

	// Fetched is told of every request for a policy, after it was answered;
	// status 0 means that the answer could not be sent. It must not block.
	Fetched func(evidence.PolicyFetch)

	Version string // of the program
	Limits  Limits
	Now     func() time.Time // default time.Now
	Logger  *slog.Logger     // default: discard
}

func (o *Options) defaults() error {
	if o.Zone = scenario.Canonical(o.Zone); o.Zone == "" {
		return errors.New("web: zone is empty: set it to the zone of this service, e.g. sink.example")
	}
	if o.Source == nil || o.Certificates == nil {
		return errors.New("web: Source and Certificates are required")
	}
	if o.Fetched == nil {
		o.Fetched = func(evidence.PolicyFetch) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	orDefault(&o.Slots, 1)
	o.Limits.defaults()
	return nil
}

func (l *Limits) defaults() {
	orDefault(&l.Connections, 1000)
	orDefault(&l.PerClient, 30)
	orDefault(&l.PagesPerMinute, 120)
	orDefault(&l.Clients, 10_000)
	orDefault(&l.HeaderTimeout, 5*time.Second)
	orDefault(&l.ReadTimeout, 10*time.Second)
	orDefault(&l.WriteTimeout, 20*time.Second)
	orDefault(&l.IdleTimeout, time.Minute)
	orDefault(&l.ShutdownTimeout, 5*time.Second)
	orDefault(&l.MaxHeaderBytes, 8<<10)
	orDefault(&l.RefreshInSeconds, 15)
	orDefault(&l.SourceTimeout, 5*time.Second)
	orDefault(&l.MaxUserAgentBytes, 200)
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
