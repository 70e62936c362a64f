package inbound

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound/network"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/inbound/records"
)

// Resolver looks up names and says what DNSSEC proves; *dnssec.Resolver and
// *dnssec.Trusting are such. It must end when ctx does.
type Resolver interface {
	Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, error)
}

// Prober looks at one server; *probe.Prober is one. It is called from several
// goroutines, but never twice at a time for one address, and must end when ctx
// does: what it has not done by then is untested.
type Prober interface {
	Probe(ctx context.Context, addr netip.AddrPort, host string, names []string, domain string) probe.Result
	// Certificate is a second look at a server, under another name: at its
	// certificate alone.
	Certificate(ctx context.Context, addr netip.AddrPort, host string, names []string) probe.Result
}

// Records reads what a domain publishes about its mail; *records.Reader is one.
// Its methods are called at the same time, and must end when ctx does.
type Records interface {
	SPF(ctx context.Context, domain string) records.SPF
	DMARC(ctx context.Context, domain string) records.DMARC
	TLSRPT(ctx context.Context, domain string) records.TLSRPT
	MTASTS(ctx context.Context, domain string) records.MTASTS
}

// Dial connects to an address, host:port.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Options configure an [Analyzer]. Resolver and HELO are needed. Zero values
// of limits mean the defaults.
type Options struct {
	Resolver Resolver
	Roots    *x509.CertPool // the public CAs; nil: those of the system
	Dial     Dial           // nil: the network
	// Allowed says which addresses may be connected to; [Public] by default.
	Allowed func(netip.Addr) bool
	Network network.Lookup // nil: networks are not named
	HELO    string         // the name that our connections come with

	Now      func() time.Time // time.Now by default
	Logger   *slog.Logger
	Progress func(text string) // called by one goroutine at a time; may be nil

	// Pause between two connections to one server; 0 is the default of package
	// probe, negative is none.
	Pause time.Duration

	// Timeout bounds one analysis, 5 min; ServerTimeout what one server may take
	// of it, 2 min.
	Timeout, ServerTimeout time.Duration
	MaxHosts               int // MX hosts that are looked at; 16
	MaxServers             int // servers, which are hosts at addresses, that are connected to; 32
	MaxLookups             int // DNS lookups of one analysis; 256
	MaxRunning             int // analyses at a time, others wait; 4
	Parallel               int // servers at a time of one analysis; 4
	// MaxLooks is how often one address is looked at within an hour, over all
	// domains and names, 60; its network (IPv4 /24, IPv6 /48) four times as often.
	// What is more is not tested. Negative: no limit.
	MaxLooks int

	// CacheFor is how long an analysis is remembered, 1 h; RetryAfter the same
	// for one that is not complete, 1 min; CacheEntries how many, 250. Negative
	// durations mean not at all.
	CacheFor, RetryAfter time.Duration
	CacheEntries         int

	// Prober and NewRecords replace the packages probe and records, for tests.
	// NewRecords is called once for each analysis, whose lookups are counted.
	Prober     Prober
	NewRecords func(Resolver) Records
}

// New returns an analyzer that has nothing in memory, or an error that names
// the option that is wrong.
func New(o Options) (*Analyzer, error) {
	switch {
	case o.Resolver == nil:
		return nil, errors.New("inbound: no resolver")
	case o.HELO == "":
		return nil, errors.New("inbound: no name for EHLO (HELO)")
	}
	o.setDefaults()
	if err := o.setParts(); err != nil {
		return nil, err
	}
	return &Analyzer{
		opts:    o,
		slots:   make(chan struct{}, o.MaxRunning),
		flights: make(map[string]*flight),
		cache:   make(map[string]cached),
		busy:    newLocks(),
		budget:  newBudget(o.MaxLooks, o.Now),
	}, nil
}

func (o *Options) setDefaults() {
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.Allowed == nil {
		o.Allowed = Public
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&o.Timeout, 5 * time.Minute}, {&o.ServerTimeout, 2 * time.Minute}, {&o.CacheFor, time.Hour}, {&o.RetryAfter, time.Minute}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.MaxLooks == 0 {
		o.MaxLooks = 60
	}
	for _, n := range []struct {
		field *int
		value int
	}{{&o.MaxHosts, 16}, {&o.MaxServers, 32}, {&o.MaxLookups, 256}, {&o.MaxRunning, 4}, {&o.Parallel, 4}, {&o.CacheEntries, 250}} {
		if *n.field <= 0 {
			*n.field = n.value
		}
	}
}
