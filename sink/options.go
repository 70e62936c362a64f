package sink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// Treatment is how a connection is treated. STARTTLS is offered iff Phase is
// evidence.Secure.
type Treatment struct {
	Phase evidence.Phase
	// Destination is the test domain that has the local address to itself; empty
	// or unknown if none has. Recipients and SNI tell more.
	Destination scenario.Domain
}

// Reply is an SMTP reply. A zero Enhanced stands for X.0.0. Text becomes one
// line of printable US-ASCII.
type Reply struct {
	Code     int
	Enhanced [3]int // RFC 3463
	Text     string
}

// Director decides how connections are treated. Its methods are called from
// many goroutines, for one connection one at a time. All but Message must work
// from memory and not block.
type Director interface {
	// Accepted is called for each connection that our own limits admit. An
	// error refuses it: its text goes to the client behind 421, and no other
	// method is called for it.
	Accepted(id evidence.ConnID, local, client netip.AddrPort) (Treatment, error)
	// Phase returns the phase of the connection now. It is asked at EHLO, before
	// MAIL, and now and then while the client is silent.
	Phase(id evidence.ConnID) evidence.Phase
	// ClientHello chooses the certificate; sni is as sent, "" without one.
	// Without SNI, or with a name that is no mail host of ours, it must choose
	// a default certificate. The handshake may still fail before it is sent.
	ClientHello(id evidence.ConnID, sni string) scenario.Certificate
	// Message is called when a whole message for a test was read: the last of
	// snapshot.Transactions, with Data set and without reply. It returns the
	// reply once the snapshot is safely stored. ctx ends when the connection
	// has to.
	Message(ctx context.Context, snapshot evidence.Connection) Reply
	// Closed is called exactly once for each successful Accepted, unless the
	// connection turns out to be a probe (Prober).
	Closed(final evidence.Connection)
}

// Prober is an optional ability of a Director: to know probes of our own.
type Prober interface {
	// Probe is asked at the first EHLO or HELO of a connection. If it knows the
	// name, the connection leaves the Director as if it had never come, and no
	// other method is called for it. It must work from memory and not block.
	Probe(id evidence.ConnID, hello string) (Probe, bool)
}

// Probe is how a probe of our own is treated, for its whole connection. It can't
// hand over mail, and leaves no record.
type Probe struct {
	Phase       evidence.Phase
	Certificate func(sni string) scenario.Certificate // see Director.ClientHello
}

// Certificates returns the key pairs behind a certificate of the sink, one
// ECDSA and one RSA. It is asked in every handshake and must not block.
type Certificates interface {
	Certificates(scenario.Certificate) ([]tls.Certificate, error)
}

// Inspector reads a message while it streams in and fills MessageID,
// Addressed, TLSRequiredNo and Message of tx. An error never loses the
// evidence that the message came. It need not read to the end.
type Inspector interface {
	Inspect(ctx context.Context, client netip.Addr, helo string, tx *evidence.Transaction, message io.Reader) error
}

// Mailbox stores mail to postmaster, abuse and the report addresses. It must
// not keep what it read if reading message fails. After an error the client is
// answered 452.
type Mailbox interface {
	Deliver(ctx context.Context, from string, rcpts []string, message io.Reader) error
}

// Limits bound what clients may do. A zero field means its default.
type Limits struct {
	Connections    int           // open at once; default 1000
	PerClient      int           // open at once from an IPv4 address or IPv6 /64; default 20
	MessageSize    int64         // octets, advertised as SIZE (RFC 1870); default 10 MiB
	Line           int           // octets of a command line; default 2048
	Recipients     int           // of a transaction; default 100
	Transactions   int           // of a session; default 20
	Commands       int           // of a session; default 1000
	Errors         int           // replies of 500 and above in a session; default 20
	Records        int           // replies kept of a connection; of EHLO names, anomalies, refused recipients, and recipients of a transaction an eighth of it, each once; default 256
	SessionTime    time.Duration // of a connection in all; default 30 min
	CommandTimeout time.Duration // for a command line; default 5 min (RFC 5321 §4.5.3.2.7)
	DataTimeout    time.Duration // without any octet of a message; default 3 min (RFC 5321 §4.5.3.2.5)
	Handshake      time.Duration // of TLS; default 1 min
	WriteTimeout   time.Duration // default 1 min
	SilenceAfter   time.Duration // silence after which a session that has served its purpose is ended; default 2 s
	Drain          time.Duration // for transactions in progress at shutdown; default 20 s
	Linger         time.Duration // for the client to read our last reply; default 1 s
}

func or[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (l Limits) withDefaults() Limits {
	or(&l.Connections, 1000)
	or(&l.PerClient, 20)
	or(&l.MessageSize, 10<<20)
	or(&l.Line, 2048)
	or(&l.Recipients, 100)
	or(&l.Transactions, 20)
	or(&l.Commands, 1000)
	or(&l.Errors, 20)
	or(&l.Records, 256)
	or(&l.SessionTime, 30*time.Minute)
	or(&l.CommandTimeout, 5*time.Minute)
	or(&l.DataTimeout, 3*time.Minute)
	or(&l.Handshake, time.Minute)
	or(&l.WriteTimeout, time.Minute)
	or(&l.SilenceAfter, 2*time.Second)
	or(&l.Drain, 20*time.Second)
	or(&l.Linger, time.Second)
	return l
}

func (l Limits) check() error {
	for name, v := range map[string]int64{
		"Connections": int64(l.Connections), "PerClient": int64(l.PerClient), "MessageSize": l.MessageSize,
		"Recipients": int64(l.Recipients), "Transactions": int64(l.Transactions), "Commands": int64(l.Commands),
		"Errors": int64(l.Errors), "SessionTime": int64(l.SessionTime), "CommandTimeout": int64(l.CommandTimeout),
		"DataTimeout": int64(l.DataTimeout), "Handshake": int64(l.Handshake), "WriteTimeout": int64(l.WriteTimeout),
		"SilenceAfter": int64(l.SilenceAfter), "Drain": int64(l.Drain), "Linger": int64(l.Linger),
	} {
		if v < 0 {
			return fmt.Errorf("sink: limit %s is %d: want a positive value, or 0 for the default", name, v)
		}
	}
	if l.Line < 512 || l.Line > 64<<10 {
		return fmt.Errorf("sink: limit Line is %d: want 512 to 65536 octets (RFC 5321 §4.5.3.1.4)", l.Line)
	}
	if l.Records < 8 {
		return fmt.Errorf("sink: limit Records is %d: want at least 8", l.Records)
	}
	return nil
}

// Observer measures. Its methods are called from many goroutines and must not
// block.
type Observer interface {
	// Greeted is told how long after accept the greeting was sent.
	Greeted(after time.Duration)
	// Handshake is told how long TLS took from STARTTLS on, the version ("1.3", ""
	// if none was agreed), and what came of it: finished; alert, by the client; failed.
	Handshake(took time.Duration, version, result string)
	// Refused is told of a connection that was sent away: by our own limits
	// ("limit") or by the Director ("director").
	Refused(reason string)
}

// unobserved is the Observer that measures nothing.
type unobserved struct{}

func (unobserved) Greeted(time.Duration)                   {}
func (unobserved) Handshake(time.Duration, string, string) {}
func (unobserved) Refused(string)                          {}

// Options are what a Server needs. All but Hostname, Leased, Observer and Limits
// are required.
type Options struct {
	Zone         string
	Slots        int    // number of slots, at least 1
	Hostname     string // in the greeting; default scenario.ServiceHost(Zone)
	Director     Director
	Certificates Certificates
	Inspector    Inspector
	Mailbox      Mailbox
	// Leased reports whether mail to a token (scenario.ParseToken), in lower case,
	// is accepted at a slot above 0. It must work from memory. nil: no slot is leased.
	Leased   func(slot int, token string) bool
	Observer Observer
	NewID    func() evidence.ConnID // must be safe for concurrent use
	Now      func() time.Time       // for the record; deadlines use the system clock
	Logger   *slog.Logger
	Limits   Limits
}

func (o *Options) check() error {
	o.Zone = scenario.Canonical(o.Zone)
	o.Limits = o.Limits.withDefaults()
	if o.Hostname == "" {
		o.Hostname = scenario.ServiceHost(o.Zone)
	}
	if o.Leased == nil {
		o.Leased = func(int, string) bool { return false }
	}
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	switch {
	case o.Zone == "":
		return errors.New("sink: option Zone is empty: name the delegated zone, e.g. sink.example")
	case o.Slots < 1:
		return fmt.Errorf("sink: option Slots is %d: want at least 1", o.Slots)
	case o.Director == nil:
		return errors.New("sink: option Director is missing")
	case o.Certificates == nil:
		return errors.New("sink: option Certificates is missing")
	case o.Inspector == nil:
		return errors.New("sink: option Inspector is missing")
	case o.Mailbox == nil:
		return errors.New("sink: option Mailbox is missing")
	case o.NewID == nil:
		return errors.New("sink: option NewID is missing")
	case o.Now == nil:
		return errors.New("sink: option Now is missing")
	case o.Logger == nil:
		return errors.New("sink: option Logger is missing")
	}
	return o.Limits.check()
}
