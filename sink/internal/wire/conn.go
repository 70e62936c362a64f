package wire

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

// Limits bound what a client may do. All must be positive.
type Limits struct {
	Line         int           // octets of a command line, with its line end
	Errors       int           // replies of 500 and above before we end the session
	Commands     int           // commands before we end the session
	Command      time.Duration // wait for a complete command line
	Data         time.Duration // wait for the next octets of a message
	Handshake    time.Duration // a TLS handshake
	Write        time.Duration // a write
	Session      time.Duration // everything
	SilenceAfter time.Duration // silence after which Handler.Idle is asked, again and again
	Linger       time.Duration // after we ended the session: for the client to read why
}

// Handler is told what happens and decides. Its methods are called from the
// engine's goroutine, one at a time.
type Handler interface {
	// Command sees a command before the engine does and may answer it instead.
	// verb is upper case, empty for a line that is no command.
	Command(verb, arg string) *Reply
	// Rewrite may replace the line of a command that the engine would misread.
	Rewrite(verb, arg, line string) string
	// Keywords are added to the reply to EHLO.
	Keywords() []string
	// StartTLS is told of a well-formed STARTTLS command; a Reply refuses it.
	StartTLS() *Reply
	// TLSConfig returns a configuration for this connection alone, which
	// chooses the certificate in GetCertificate.
	TLSConfig() *tls.Config
	// Handshake is told the outcome of a handshake.
	Handshake(Handshake)
	// Replied is told of each reply, with the verb that it answers: "" for the
	// greeting, "." for a message.
	Replied(verb string, code int)
	// Idle is asked while the client is silent between commands. A Reply, 421,
	// ends the session.
	Idle() *Reply
	// Busy reports whether a transaction is open.
	Busy() bool
	// Anomaly is told of violations of protocol, often the same one many times.
	Anomaly(text string)
}

// Handshake is the outcome of a TLS handshake.
type Handshake struct {
	Err         error  // nil: the client's Finished came
	Certificate bool   // ours was sent
	Alert       string // the fatal alert that the client sent, if any
	State       tls.ConnectionState
}

type state int

const (
	inCommand state = iota
	inData
	inBdat
	dead
)

// Conn is the connection that the engine serves. Stop and Abort may be called
// from any goroutine, Ending and Alert after Done; everything else belongs to
// the engine.
type Conn struct {
	raw     net.Conn
	tap     *tap
	tls     *tls.Conn // nil in plaintext
	br      *bufio.Reader
	limits  Limits
	handler Handler

	state     state
	pending   []byte // rest of a command line that did not fit
	chunk     int64  // octets of BDAT still to come
	message   message
	verb      string // that the engine answers now
	multiline bool   // within a multi-line reply
	needEHLO  bool   // TLS is up, EHLO has not come again
	errors    int
	commands  int

	out        []byte // replies not yet written
	partial    []byte // of a reply line
	lastRead   bool   // the engine was told that there is nothing more
	sessionEnd time.Time
	alert      string

	stopping atomic.Bool
	closing  sync.Once
	done     chan struct{}

	mu     sync.Mutex // guards ending
	ending evidence.Ending
}

// New returns a Conn for raw, whose deadlines it takes over.
func New(raw net.Conn, limits Limits, h Handler) *Conn {
	return &Conn{
		raw: raw, br: bufio.NewReaderSize(raw, max(limits.Line, 512)), limits: limits, handler: h,
		sessionEnd: time.Now().Add(limits.Session), done: make(chan struct{}),
	}
}

// Done is closed when the engine has left the connection, which is closed then.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Ending says how the connection ended.
func (c *Conn) Ending() evidence.Ending {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending
}

// Alert returns the fatal TLS alert that ended the connection, "" without one.
func (c *Conn) Alert() string { return c.alert }

// Secure reports whether TLS is up.
func (c *Conn) Secure() bool { return c.tls != nil }

// Stop ends the session with 421 as soon as no transaction is open.
func (c *Conn) Stop() {
	c.stopping.Store(true)
	c.raw.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a closed connection has stopped
}

// Abort closes the connection at once.
func (c *Conn) Abort() {
	c.end(evidence.EndingServer)
	c.raw.Close() // whoever reads or writes will tell
}

// end records how the connection ended; the first one counts.
func (c *Conn) end(e evidence.Ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending == "" {
		c.ending = e
	}
}

// Read gives the engine what it may see next: one command line, or octets of
// the message that it reads now.
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if len(c.pending) > 0 {
		n := copy(b, c.pending)
		c.pending = c.pending[n:]
		return n, nil
	}
	switch c.state {
	case inData:
		return c.readMessage(b)
	case inBdat:
		return c.readChunk(b)
	case inCommand:
		if line := c.nextCommand(); line != nil {
			n := copy(b, line)
			c.pending = line[n:]
			return n, nil
		}
	}
	c.lastRead = true
	return 0, io.EOF
}

// Close is called by the engine, at times twice.
func (c *Conn) Close() error {
	var err error
	c.closing.Do(func() {
		c.flush()
		c.end(evidence.EndingServer)
		c.state = dead
		if e := c.Ending(); e == evidence.EndingServer || e == evidence.EndingTimeout {
			c.linger()
		}
		err = c.transport().Close()
	})
	if c.lastRead {
		select {
		case <-c.done:
		default:
			close(c.done)
		}
	}
	return err
}

// LocalAddr returns our address.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr returns the address of the client.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetDeadline does nothing: Conn owns the deadlines. The engine does not
// refresh its own while it reads a message.
func (c *Conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, see SetDeadline.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, see SetDeadline.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }
