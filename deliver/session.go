package deliver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

const dataBlock = 64 << 10

// session is one connection to a server.
//
// go-smtp's client speaks SMTP on both sides of STARTTLS. STARTTLS itself is
// done here: the library can't send its own EHLO name first, go on in
// plaintext, or leave without a word or with QUIT after the handshake.
type session struct {
	s   *Sender
	d   demands
	env Envelope

	try     Try
	refused []RecipientReply
}

// run makes the connection and fills in try.
func (x *session) run(ctx context.Context) {
	dialing, cancel := context.WithTimeout(ctx, x.s.opts.Timeouts.Dial)
	conn, err := x.s.opts.Dial(dialing, "tcp", x.try.Address)
	cancel()
	if err != nil {
		x.end(Unreachable, err)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	x.talk(ctx, conn)
	if x.try.Outcome != Delivered && ctx.Err() != nil {
		x.try.Err = errors.Join(x.try.Err, context.Cause(ctx))
	}
}

func (x *session) end(o Outcome, err error) {
	x.try.Outcome, x.try.Err = o, err
}

// fail ends with the error of a command: a reply, or a broken connection.
func (x *session) fail(err error) {
	var reply *smtp.SMTPError
	// A reply that fits neither the command nor a refusal is no protocol.
	if !errors.As(err, &reply) || reply.Code < 400 || reply.Code > 599 {
		x.end(Broken, err)
		return
	}
	x.try.Code, x.try.Reply = reply.Code, replyText(reply)
	x.end(Rejected, nil)
}

func replyText(e *smtp.SMTPError) string {
	text := strings.ReplaceAll(e.Message, "\n", " ")
	if e.EnhancedCode == (smtp.EnhancedCode{}) || e.EnhancedCode == smtp.NoEnhancedCode {
		return fmt.Sprintf("%d %s", e.Code, text)
	}
	return fmt.Sprintf("%d %d.%d.%d %s", e.Code, e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2], text)
}

// client returns an SMTP client that has said EHLO.
func (x *session) client(conn net.Conn) (*smtp.Client, error) {
	c := smtp.NewClient(conn)
	c.CommandTimeout, c.SubmissionTimeout = x.s.opts.Timeouts.Greeting, x.s.opts.Timeouts.DataEnd
	err := c.Hello(x.s.opts.LocalName)
	c.CommandTimeout = x.s.opts.Timeouts.Command
	return c, err
}

func (x *session) talk(ctx context.Context, conn net.Conn) {
	c, err := x.client(conn)
	if err != nil {
		x.fail(err)
		if x.try.Outcome == Rejected {
			x.quit(conn)
		}
		return
	}
	offered, _ := c.Extension("STARTTLS")
	if x.d.useTLS && (offered || x.d.mustTLS && x.s.policy.UnadvertisedStartTLS) {
		reply, err := x.startTLS(conn)
		switch {
		case err == nil:
			x.talkTLS(ctx, conn)
			return
		case reply == nil:
			x.end(FailedTLS, err)
			return
		case x.d.mustTLS:
			x.try.Code, x.try.Reply = reply.Code, reply.Error()
		}
	}
	if x.d.mustTLS {
		x.end(MissingTLS, errors.New("STARTTLS is not offered"))
		x.quit(conn)
		return
	}
	x.transact(conn, c)
}

// startTLS sends the command; reply is the refusal, if that was the answer.
func (x *session) startTLS(conn net.Conn) (reply *textproto.Error, err error) {
	x.deadline(conn, x.s.opts.Timeouts.Handshake)
	if _, err := io.WriteString(conn, "STARTTLS\r\n"); err != nil {
		return nil, err
	}
	r := bufio.NewReader(io.LimitReader(conn, 16<<10))
	if _, _, err := textproto.NewReader(r).ReadResponse(220); err != nil {
		errors.As(err, &reply)
		return reply, err
	}
	// RFC 3207 §6: what was sent in plaintext behind the reply is an injection.
	if r.Buffered() > 0 {
		return nil, errors.New("the server sent plaintext after its reply to STARTTLS")
	}
	return nil, nil
}

// deadline limits the next step. Deadlines are of the connection's clock, not
// of Now.
func (x *session) deadline(conn net.Conn, d time.Duration) {
	_ = conn.SetDeadline(time.Now().Add(d))
}

func (x *session) talkTLS(ctx context.Context, plain net.Conn) {
	alert := x.s.policy.Refusal == RefuseByAlert
	config := &tls.Config{
		ServerName: x.d.sni, // empty: no SNI
		MinVersion: tls.VersionTLS12,
		// The certificate is judged by the rules of this sender: here, or after
		// the handshake, according to how it refuses.
		InsecureSkipVerify: true,
		Time:               x.s.opts.Now,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if !alert {
				return nil
			}
			if _, err := x.d.verify(x.s, cs); err != nil {
				return refusal{err}
			}
			return nil
		},
	}
	x.try.SNI = x.d.sni
	conn := tls.Client(plain, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		if refused, ok := errors.AsType[refusal](err); ok {
			x.end(Refused, refused.err)
			return
		}
		x.end(FailedTLS, fmt.Errorf("TLS handshake: %w", err))
		return
	}
	_ = plain.SetDeadline(time.Time{})
	cs := conn.ConnectionState()
	x.try.TLS, x.try.Version, x.try.Cipher = true, cs.Version, cs.CipherSuite
	how, err := x.d.verify(x.s, cs)
	if err != nil {
		x.end(Refused, err)
		if x.s.policy.Refusal == RefuseByQuit {
			x.quit(conn)
		}
		_ = conn.Close() // close_notify
		return
	}
	x.try.Verified = how
	// After STARTTLS there is no greeting (RFC 3207 §4.2), but the library
	// waits for one.
	c, err := x.client(greeted{conn, io.MultiReader(strings.NewReader("220 TLS\r\n"), conn)})
	if err != nil {
		x.fail(err)
		return
	}
	x.transact(conn, c)
}

// greeted is a connection whose first line was read before.
type greeted struct {
	net.Conn
	r io.Reader
}

func (g greeted) Read(p []byte) (int, error) { return g.r.Read(p) }

// quit says QUIT and waits for the reply, whatever it is.
func (x *session) quit(conn net.Conn) {
	x.deadline(conn, x.s.opts.Timeouts.Handshake)
	if _, err := io.WriteString(conn, "QUIT\r\n"); err == nil {
		_, _, _ = textproto.NewReader(bufio.NewReader(io.LimitReader(conn, 16<<10))).ReadResponse(221) // leaving anyway
	}
}

// transact hands the message over.
func (x *session) transact(conn net.Conn, c *smtp.Client) {
	var options smtp.MailOptions
	if x.d.requireTLS {
		// RFC 8689 §4.2.1: only to a server that takes the promise over.
		if ok, _ := c.Extension("REQUIRETLS"); !ok {
			x.end(NoExtension, errors.New("the server does not support REQUIRETLS"))
			x.quit(conn)
			return
		}
		options.RequireTLS = true
	}
	options.Size = int64(len(x.env.Message))
	x.try.Mail = true
	if err := x.send(conn, c, &options); err != nil {
		x.fail(err)
		if x.try.Outcome == Rejected {
			x.quit(conn)
		}
		return
	}
	x.end(Delivered, nil)
	x.quit(conn)
}

func (x *session) send(conn net.Conn, c *smtp.Client, options *smtp.MailOptions) error {
	if err := c.Mail(x.env.From, options); err != nil {
		return err
	}
	accepted := 0
	var refusal error
	for _, to := range x.env.To {
		err := c.Rcpt(to, nil)
		var reply *smtp.SMTPError
		switch {
		case err == nil:
			accepted++
		case errors.As(err, &reply):
			refusal = err
			x.refused = append(x.refused, RecipientReply{to, replyText(reply)})
		default:
			return err
		}
	}
	if accepted == 0 {
		return refusal
	}
	c.CommandTimeout = x.s.opts.Timeouts.DataStart
	w, err := c.Data()
	if err != nil {
		return err
	}
	for rest := x.env.Message; len(rest) > 0; {
		n := min(len(rest), dataBlock)
		x.deadline(conn, x.s.opts.Timeouts.DataBlock)
		if _, err := w.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	done, err := w.CloseWithResponse()
	if err != nil {
		return err
	}
	x.try.Code, x.try.Reply = 250, "250 "+strings.ReplaceAll(done.StatusText, "\n", " ")
	return nil
}
