package assess

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/scenario"
)

// Timing holds every duration of a test. Compressing time means changing
// these, and nothing else.
type Timing struct {
	Downgrade time.Duration // STARTTLS is withheld from a new client for so long; default 3 min
	Rotation  time.Duration // between changes of the MX order; default 5 min
	Settle    time.Duration // unprotected verdicts not before; default 10 min
	Silence   time.Duration // absence counts only after; default 30 min
	Margin    time.Duration // an MX order holds for certain only after; default 2 min
	Attempt   time.Duration // connections that follow each other within it are one attempt; default 10 s
	Close     time.Duration // a test ends with what is known; default 8 h
	Forget    time.Duration // a client without connection starts afresh; default 24 h
	DateSkew  time.Duration // how far a sender's clock may be ahead; default 2 min
	GiveUp    time.Duration // a report that can't be delivered is dropped; default 5 days
}

// WithDefaults replaces zero durations.
func (t Timing) WithDefaults() Timing {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.Downgrade, 3*time.Minute)
	def(&t.Rotation, 5*time.Minute)
	def(&t.Settle, 10*time.Minute)
	def(&t.Silence, 30*time.Minute)
	def(&t.Margin, 2*time.Minute)
	def(&t.Attempt, 10*time.Second)
	def(&t.Close, 8*time.Hour)
	def(&t.Forget, 24*time.Hour)
	def(&t.DateSkew, 2*time.Minute)
	def(&t.GiveUp, 5*24*time.Hour)
	return t
}

// Check reports a duration that makes no sense, by the name it has in the
// configuration.
func (t Timing) Check() error {
	for _, d := range []struct {
		name string
		v    time.Duration
	}{
		{"downgrade", t.Downgrade},
		{"rotation", t.Rotation},
		{"settle", t.Settle},
		{"silence", t.Silence},
		{"margin", t.Margin},
		{"attempt", t.Attempt},
		{"close", t.Close},
		{"forget", t.Forget},
		{"date_skew", t.DateSkew},
		{"give_up", t.GiveUp},
	} {
		if d.v < 0 {
			return fmt.Errorf("timing.%s is %v: want a positive duration", d.name, d.v)
		}
	}
	if t = t.WithDefaults(); t.Close <= t.Downgrade {
		return fmt.Errorf("timing.close is %v: want more than timing.downgrade (%v)", t.Close, t.Downgrade)
	}
	return nil
}

func (t Timing) evidence() *evidence.Timing {
	return &evidence.Timing{
		Settle: evidence.Duration(t.Settle), Silence: evidence.Duration(t.Silence),
		Margin: evidence.Duration(t.Margin), Attempt: evidence.Duration(t.Attempt),
	}
}

// Store is where evidence is kept. *history.Store is one.
type Store interface {
	Begin(ctx context.Context, b history.Batch) (wait func(context.Context) error, err error)
	Submit(b history.Batch)
	Tests(ctx context.Context, f history.TestFilter) ([]history.TestRecord, error)
	ByMessageID(id string) ([]history.TestRecord, error)
	ByCapability(capability string) (history.TestRecord, error)
	Test(id string) (history.TestRecord, error)
	History(testID string) (evidence.History, error)
	Connections(ctx context.Context, f history.ConnectionFilter) ([]history.ConnectionRecord, error)
	DeletePerson(ctx context.Context, addr string) (int, error)
}

// Limits bound what clients can make us remember. A zero field means its
// default.
type Limits struct {
	Clients     int // default 20,000
	Tests       int // running at once; default 10,000
	Connections int // kept in memory for a test, and for a client under test; default 10,000
	Loose       int // kept for any other client; default 100
	PerClient   int // tests running for one client; default 100
}

func (l Limits) withDefaults() Limits {
	def := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	def(&l.Clients, 20_000)
	def(&l.Tests, 10_000)
	def(&l.Connections, 10_000)
	def(&l.Loose, 100)
	def(&l.PerClient, 100)
	return l
}

// Options are what an Assessor needs. Zone, Slots, Store, Now, Rand and Logger
// are required.
type Options struct {
	Zone  string
	Slots int
	Store Store
	// Downgrade is from which connections STARTTLS is withheld; default Timed.
	Downgrade Downgrade
	// Own holds the local addresses that only one of the test domains publishes.
	// A connection to any other may be for et, for ut or for the service host.
	Own    map[netip.Addr]scenario.Domain
	Timing Timing
	Limits Limits
	Now    func() time.Time
	Rand   io.Reader // for capabilities and test ids: crypto/rand
	Logger *slog.Logger

	// Queries returns the DNS queries since a time.
	Queries func(since time.Time) []evidence.Query
	// Decided is told that a verdict was reached, after what it rests on. It must
	// not block, nor call the Assessor.
	Decided func()
	// ResultURL makes the link to a result page; it appears in replies.
	ResultURL func(capability string) string

	// Claim says what the test of a mail to a token at a leased slot is called;
	// ok is false if the token has no lease. nil: no slot is leased.
	Claim func(slot int, token string) (id, capability string, ok bool)
	// Used is told of a slot whose names a sender used. Changed is told of a test
	// that has changed: a connection, its phase, its verdict, its state. Ended is
	// told of a test that was acked or closed. None of them may block, or call the
	// Assessor.
	Used    func(slot int)
	Changed func(testID string)
	Ended   func(testID string)
	// Blocked says whether a client is refused, and why; the text goes to the
	// client behind 421. It must not block.
	Blocked func(netip.Addr) (why string, blocked bool)
}

// withDefaults fills in what may be left out.
func (o Options) withDefaults() Options {
	o.Timing, o.Limits = o.Timing.WithDefaults(), o.Limits.withDefaults()
	if o.Queries == nil {
		o.Queries = func(time.Time) []evidence.Query { return nil }
	}
	if o.Decided == nil {
		o.Decided = func() {}
	}
	if o.ResultURL == nil {
		o.ResultURL = func(string) string { return "" }
	}
	if o.Claim == nil {
		o.Claim = func(int, string) (string, string, bool) { return "", "", false }
	}
	if o.Used == nil {
		o.Used = func(int) {}
	}
	if o.Changed == nil {
		o.Changed = func(string) {}
	}
	if o.Ended == nil {
		o.Ended = func(string) {}
	}
	if o.Blocked == nil {
		o.Blocked = func(netip.Addr) (string, bool) { return "", false }
	}
	return o
}

func (o Options) check() error {
	switch {
	case o.Zone == "":
		return errors.New("assess: no zone")
	case o.Slots < 1:
		return fmt.Errorf("assess: %d slots: want at least 1", o.Slots)
	case o.Store == nil || o.Now == nil || o.Rand == nil || o.Logger == nil:
		return errors.New("assess: Store, Now, Rand and Logger are required")
	}
	return cmp.Or(o.Downgrade.Check(o.Own), o.Timing.Check())
}
