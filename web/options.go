package web

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
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

// Live tells how tests stand. It must be safe for concurrent use. An empty
// language stands for that of the test.
type Live interface {
	// Status returns how the test behind a capability stands; false if there is none.
	Status(ctx context.Context, capability string, l report.Language) (*live.Status, bool, error)
	// Watch follows a test until the watcher is closed.
	Watch(ctx context.Context, capability string, l report.Language) (Watcher, bool, error)
}

// Watcher follows one test.
type Watcher interface {
	// Next waits for the first or for another status than it returned last, and
	// returns the newest one. It ends with ctx.
	Next(ctx context.Context) (*live.Status, error)
	Close()
}

// Leases starts tests. It must be safe for concurrent use.
type Leases interface {
	// Start leases a slot, or queues for one. It returns an error that wraps
	// ErrBusy or ErrTooMany if it does not want to.
	Start(ctx context.Context, client netip.Addr, language string) (capability string, err error)
	// Cancel gives up a test that no mail has come for yet. The error wraps
	// ErrNothing if there is none.
	Cancel(ctx context.Context, capability string) error
}

// What Leases answer.
var (
	ErrBusy    = errors.New("web: too many people wait for a slot")
	ErrTooMany = errors.New("web: this network has too many tests that wait for their mail")
	ErrNothing = errors.New("web: nothing to give up")
)

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
	Slots        int    // that can be leased; 0: not told
	FreeSlots    int
	Queue        int // reports waiting to be mailed
	ZoneChecked  time.Time
	Unverifiable string   // why our own zone or policy fails; empty if it verifies
	Broken       string   // which of our own servers is not what it has to be; empty if all are
	MX           []string // hosts of et, the most preferred first
}

// Limits bound what clients may use. Zero fields take the default.
type Limits struct {
	Connections       int           // at a time; default 2000
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

	MaxBody          int64         // octets of a request to API or Console; default 64 KiB. Forms have 4 KiB
	StartsPerHour    int           // of tests, by one client; default 20
	Streams          int           // pages that are followed live, at a time; default 1000
	StreamsPerClient int           // of them, of one client; default 20
	KeepAlive        time.Duration // between comments in a stream; default 15 s
	StreamTime       time.Duration // of one stream; then the page asks again; default 1 h
}

// Privacy is what the privacy page and the consent on the front page tell: the
// real settings of the service.
type Privacy struct {
	Operator string // who runs the service; may be empty
	Contact  string // mail address or https URL; may be empty

	Retention  time.Duration // of tests, evidence and results
	Wait       time.Duration // for the first mail of a test that was started here
	Quarantine time.Duration // how long the addresses of a test are kept to it

	Reports         bool     // results are mailed to authenticated senders
	ReportsPerDay   int      // at most, to one address; 0: no limit is told
	MailboxMessages int      // kept of the mail to postmaster and abuse; 0: none
	Inbound         bool     // the sender's domain is looked at as a receiver
	NetworkZones    []string // DNS zones of others that are asked whose network an address is
	Statistics      bool     // counts of verdicts are public
	Providers       []string // that are named in them
	Webhooks        bool     // the operator is told of verdicts by another program
	WebhookHosts    []string // where a test may ask for that
	LogsAddresses   bool     // the log holds addresses of clients
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

	Live       Live         // nil: pages show results only, and no events
	Leases     Leases       // nil: tests are started by plain mail only
	Privacy    Privacy      // what is told about data
	API        http.Handler // of /api/; nil: 404. Like the next two it bounds its own time
	Console    http.Handler // of /console/
	Statistics http.Handler // of /statistics and what begins with it

	// Blocked tells why a client may neither start a test nor see a page; nil: none is.
	Blocked func(netip.Addr) (why string, blocked bool)

	// Ready tells whether tests are possible, and why not; nil: Source does.
	Ready func() (ready bool, why string)

	// Served is told of every request that was answered. The route is never
	// what a stranger wrote. It must not block; nil: nobody is told.
	Served func(route, method string, status int, took time.Duration)

	Version string // of the program
	Limits  Limits
	Now     func() time.Time // default time.Now
	Rand    io.Reader        // of the ids of requests; default crypto/rand
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
	if o.Blocked == nil {
		o.Blocked = func(netip.Addr) (string, bool) { return "", false }
	}
	if o.Served == nil {
		o.Served = func(string, string, int, time.Duration) {}
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
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
	orDefault(&l.Connections, 2000)
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
	orDefault(&l.MaxBody, 64<<10)
	orDefault(&l.StartsPerHour, 20)
	orDefault(&l.Streams, 1000)
	orDefault(&l.StreamsPerClient, 20)
	orDefault(&l.KeepAlive, 15*time.Second)
	orDefault(&l.StreamTime, time.Hour)
}

func orDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
