package wire

import (
	"bytes"
	"io"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

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
	switch verb {
	case "QUIT":
		c.end(evidence.EndingQuit) // also if the client does not wait for 221
	case "BDAT":
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
