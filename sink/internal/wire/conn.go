package wire

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
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
	c.raw.Close()
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

func (c *Conn) readMessage(b []byte) (int, error) {
	if c.br.Buffered() == 0 && !c.fill(time.Now().Add(c.limits.Data)) {
		return 0, io.ErrUnexpectedEOF
	}
	have, _ := c.br.Peek(min(c.br.Buffered(), len(b)))
	n, ended := c.message.scan(have)
	copy(b, have[:n])
	c.br.Discard(n) //nolint:errcheck // n octets are buffered
	if ended {
		c.state, c.verb = inCommand, "."
	}
	return n, nil
}

// readChunk never reports io.EOF: the engine would take a chunk that was cut
// off for a complete one.
func (c *Conn) readChunk(b []byte) (int, error) {
	if c.br.Buffered() == 0 && !c.fill(time.Now().Add(c.limits.Data)) {
		return 0, io.ErrUnexpectedEOF
	}
	n := int(min(int64(len(b)), int64(c.br.Buffered()), c.chunk))
	have, _ := c.br.Peek(n)
	copy(b, have)
	c.br.Discard(n) //nolint:errcheck // n octets are buffered
	if c.chunk -= int64(n); c.chunk == 0 {
		c.state = inCommand
	}
	return n, nil
}

// nextCommand returns the next line for the engine, answering on the way what
// is not for it. nil: the session is over.
func (c *Conn) nextCommand() []byte {
	for c.state == inCommand {
		if r := c.mustEnd(); r != nil {
			c.bye(*r, evidence.EndingServer)
			return nil
		}
		line := c.readLine()
		if line == nil {
			continue // answered, or dead
		}
		c.commands++
		if given := c.dispatch(line); given != nil {
			return given
		}
	}
	return nil
}

// mustEnd says why no further command is read.
func (c *Conn) mustEnd() *Reply {
	switch {
	case c.stopping.Load() && !c.handler.Busy():
		return &Reply{421, [3]int{4, 3, 2}, "Service is shutting down, please try again"}
	case c.errors >= c.limits.Errors:
		return &Reply{421, [3]int{4, 7, 0}, "Too many errors"}
	case c.commands >= c.limits.Commands:
		return &Reply{421, [3]int{4, 7, 0}, "Too many commands"}
	case !time.Now().Before(c.sessionEnd):
		return &Reply{421, [3]int{4, 4, 2}, "Session took too long"}
	}
	return nil
}

// readLine returns a valid command line with its line end; nil if it was
// answered here or none came.
func (c *Conn) readLine() []byte {
	deadline := time.Now().Add(c.limits.Command)
	dropped := 0
	for {
		have, _ := c.br.Peek(c.br.Buffered())
		i := bytes.IndexByte(have, '\n')
		switch {
		case i >= 0 && (dropped > 0 || i+1 > c.limits.Line):
			c.br.Discard(i + 1) //nolint:errcheck // buffered
			c.handler.Anomaly("command line too long")
			c.Answer("", Reply{500, [3]int{5, 5, 2}, "Line too long"})
			return nil
		case i >= 0:
			line := bytes.Clone(have[:i+1])
			c.br.Discard(i + 1) //nolint:errcheck // buffered
			return line
		case len(have) >= c.limits.Line:
			if dropped += len(have); dropped > 16*c.limits.Line {
				c.handler.Anomaly("endless command line")
				c.bye(Reply{421, [3]int{4, 5, 2}, "This is no SMTP"}, evidence.EndingServer)
				return nil
			}
			c.br.Discard(len(have)) //nolint:errcheck // buffered
		}
		if !c.fill(deadline) {
			return nil
		}
	}
}

// dispatch returns the line that the engine gets, nil if it was answered here.
func (c *Conn) dispatch(line []byte) []byte {
	if fault := lineFault(line); fault != "" {
		c.handler.Anomaly(fault)
		c.Answer("", Reply{500, [3]int{5, 5, 2}, "Syntax error: " + fault})
		return nil
	}
	if !bytes.HasSuffix(line, []byte("\r\n")) {
		c.handler.Anomaly("bare LF ends a command line")
	}
	if is, refusal := startTLS(string(line)); is {
		c.startTLS(refusal)
		return nil
	}
	verb, arg := command(string(line))
	if verb == "EHLO" || verb == "HELO" {
		c.needEHLO = c.needEHLO && arg == ""
	}
	if c.needEHLO {
		switch verb {
		case "MAIL", "RCPT", "DATA", "BDAT":
			// RFC 3207 §4.2: the server must forget what it learned before.
			c.Answer(verb, Reply{503, [3]int{5, 5, 1}, "EHLO first: TLS has started"})
			c.skipChunk(verb, arg)
			return nil
		}
	}
	if r := c.handler.Command(verb, arg); r != nil {
		c.Answer(verb, *r)
		c.skipChunk(verb, arg)
		return nil
	}
	c.verb = verb
	if verb == "BDAT" {
		if n, ok := chunkSize(arg); ok && n > 0 {
			c.state, c.chunk = inBdat, n
		}
	}
	return []byte(c.handler.Rewrite(verb, arg, string(line)))
}

// skipChunk drops the octets behind a BDAT that was answered here: they follow
// the command even when it is refused (RFC 3030 §2).
func (c *Conn) skipChunk(verb, arg string) {
	n, ok := chunkSize(arg)
	if verb != "BDAT" || !ok {
		return
	}
	for n > 0 && c.state != dead {
		if c.br.Buffered() == 0 && !c.fill(time.Now().Add(c.limits.Data)) {
			return
		}
		d, _ := c.br.Discard(int(min(n, int64(c.br.Buffered()))))
		n -= int64(d)
	}
}

// fill waits for more octets. It returns false when there will be none; the
// connection is dead then.
func (c *Conn) fill(deadline time.Time) bool {
	if !c.flush() {
		return false
	}
	between := func() bool { return c.state == inCommand && c.br.Buffered() == 0 }
	for {
		next := earlier(deadline, c.sessionEnd)
		if between() {
			next = earlier(next, time.Now().Add(c.limits.SilenceAfter))
		}
		c.raw.SetReadDeadline(next)                      //nolint:errcheck // reading will tell
		c.raw.SetWriteDeadline(next.Add(c.limits.Write)) //nolint:errcheck // crypto/tls answers key updates while it reads
		// Stop raises the flag before it wakes us: here it is seen, or the
		// deadline just set is overridden.
		if r := c.mustEnd(); r != nil && between() {
			c.bye(*r, evidence.EndingServer)
			return false
		}
		_, err := c.br.Peek(c.br.Buffered() + 1)
		if err == nil {
			return true
		}
		if !isTimeout(err) {
			c.broken(err)
			return false
		}
		now := time.Now()
		switch {
		case !now.Before(c.sessionEnd):
			c.bye(Reply{421, [3]int{4, 4, 2}, "Session took too long"}, evidence.EndingServer)
			return false
		case !now.Before(deadline):
			c.bye(Reply{421, [3]int{4, 4, 2}, "Waited too long for you"}, evidence.EndingTimeout)
			return false
		case between():
			if r := c.handler.Idle(); r != nil {
				c.bye(*r, evidence.EndingServer)
				return false
			}
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// broken ends a connection on which reading failed with err.
func (c *Conn) broken(err error) {
	c.alert = remoteAlert(err)
	e := classify(err, c.tap)
	if c.stopping.Load() && e == evidence.EndingTimeout {
		e = evidence.EndingServer
	}
	c.end(e)
	c.state = dead
}

// bye ends the session from our side with a last reply, 421.
func (c *Conn) bye(r Reply, e evidence.Ending) {
	c.end(e)
	c.Answer("", r)
}

// Answer replies to a command in place of the engine. A 421 ends the session.
func (c *Conn) Answer(verb string, r Reply) {
	if c.state == dead {
		return
	}
	c.out = append(c.out, r.String()...)
	c.replied(verb, r.Code)
}

// Write takes replies of the engine, which writes whole lines.
func (c *Conn) Write(b []byte) (int, error) {
	if c.state == dead {
		return len(b), nil
	}
	c.partial = append(c.partial, b...)
	for c.state != dead {
		i := bytes.IndexByte(c.partial, '\n')
		if i < 0 {
			break
		}
		c.replyLine(c.partial[:i+1])
		c.partial = c.partial[i+1:]
	}
	if len(c.partial) == 0 {
		c.partial = nil
	}
	return len(b), nil
}

func (c *Conn) replyLine(line []byte) {
	if len(line) < 4 {
		return
	}
	code := 0
	for _, d := range line[:3] {
		code = code*10 + int(d-'0')
	}
	if line[3] == '-' {
		c.multiline = true
		c.out = append(c.out, line...)
		return
	}
	if c.verb == "EHLO" && code == 250 && c.multiline {
		for _, k := range c.handler.Keywords() {
			c.out = append(append(append(c.out, "250-"...), k...), "\r\n"...)
		}
	}
	c.multiline = false
	c.out = append(c.out, line...)
	c.replied(c.verb, code)
}

// replied follows what a reply means for the state.
func (c *Conn) replied(verb string, code int) {
	c.handler.Replied(verb, code)
	if code >= 500 {
		c.errors++
	}
	switch {
	case code == 354 && verb == "DATA":
		c.state, c.message = inData, message{anomaly: c.handler.Anomaly}
	case code == 221:
		c.flush()
		c.end(evidence.EndingQuit)
		c.state = dead
	case code == 421:
		c.flush()
		c.end(evidence.EndingServer)
		c.state = dead
	}
}

// flush writes the replies that have gathered. RFC 2920 §3.2: at the latest
// before waiting for the client.
func (c *Conn) flush() bool {
	if c.state == dead {
		return false
	}
	if len(c.out) == 0 {
		return true
	}
	c.raw.SetWriteDeadline(time.Now().Add(c.limits.Write)) //nolint:errcheck // writing will tell
	_, err := c.transport().Write(c.out)
	c.out = c.out[:0]
	if err == nil {
		return true
	}
	c.state = dead
	c.unwritable(err)
	return false
}

// unwritable finds out why a write failed. What the client sent before it left
// may still be there, an alert for example.
func (c *Conn) unwritable(err error) {
	c.raw.SetReadDeadline(time.Now().Add(c.limits.Linger)) //nolint:errcheck // reading will tell
	_, rerr := io.CopyN(io.Discard, c.br, 64<<10)
	if rerr != nil && !isTimeout(rerr) && !errors.Is(rerr, io.EOF) {
		c.broken(rerr)
		return
	}
	if errors.Is(rerr, io.EOF) && c.tls != nil {
		c.broken(rerr)
		return
	}
	c.broken(err)
}

func (c *Conn) transport() net.Conn {
	if c.tls != nil {
		return c.tls
	}
	return c.raw
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

// linger lets the client read our last reply: closing with unread input would
// reset the connection and may destroy the reply on its way.
func (c *Conn) linger() {
	half, ok := c.raw.(interface{ CloseWrite() error })
	if !ok {
		return
	}
	c.raw.SetWriteDeadline(time.Now().Add(c.limits.Linger)) //nolint:errcheck // best effort
	if c.tls != nil {
		c.tls.CloseWrite() //nolint:errcheck // best effort
	}
	if half.CloseWrite() != nil {
		return
	}
	c.raw.SetReadDeadline(time.Now().Add(c.limits.Linger)) //nolint:errcheck // best effort
	io.CopyN(io.Discard, c.raw, 1<<20)                     //nolint:errcheck // best effort
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
