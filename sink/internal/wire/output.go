package wire

import (
	"bytes"
	"io"
	"net"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

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
	rest := b
	if len(c.partial) > 0 {
		rest = append(c.partial, b...)
	}
	for c.state != dead {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		c.replyLine(rest[:i+1])
		rest = rest[i+1:]
	}
	c.partial = append([]byte(nil), rest...) // none, as a rule
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
	case code == 221, code == 421: // after QUIT the ending is known already
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
	if _, rerr := io.CopyN(io.Discard, c.br, 64<<10); rerr != nil && !isTimeout(rerr) {
		err = rerr
	}
	c.broken(err)
}

func (c *Conn) transport() net.Conn {
	if c.tls != nil {
		return c.tls
	}
	return c.raw
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
