package mailer

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// submissionsPort is the port where TLS begins at once (RFC 8314 §3.3).
const submissionsPort = "465"

// SmarthostOptions are the settings of a Smarthost.
type SmarthostOptions struct {
	Addr      string         // host:port. Port 465 uses TLS from the start, others STARTTLS
	Username  string         // none: no authentication
	Password  string         // never logged
	Plaintext bool           // no TLS; only to a loopback address
	Hello     string         // own name in EHLO
	Roots     *x509.CertPool // nil: those of the system
	Timeout   time.Duration  // to connect, and for each command; default 1 min

	// Dial connects; default a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Smarthost is a Transport that hands every report to one server of the
// operator's, with TLS that is verified. How that server treats the policies
// of recipients is its own matter.
type Smarthost struct {
	opt  SmarthostOptions
	host string
	port string
}

// NewSmarthost checks the options.
func NewSmarthost(opt SmarthostOptions) (*Smarthost, error) {
	host, port, err := net.SplitHostPort(opt.Addr)
	if err != nil || host == "" {
		return nil, fmt.Errorf("smarthost %q: want host:port", opt.Addr)
	}
	if opt.Hello == "" {
		return nil, errors.New("smarthost: own name for EHLO is missing")
	}
	if ip, err := netip.ParseAddr(host); opt.Plaintext && host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("smarthost %q: without TLS only a loopback address is allowed: give one, or use TLS", opt.Addr)
	}
	setDefault(&opt.Timeout, time.Minute)
	if opt.Dial == nil {
		opt.Dial = (&net.Dialer{}).DialContext
	}
	return &Smarthost{opt: opt, host: host, port: port}, nil
}

// Send hands over one message. Only a refusal of this message or recipient is
// permanent; a smarthost that cannot be reached, lacks TLS or refuses the
// password is a matter that the operator can mend.
func (s *Smarthost) Send(ctx context.Context, from, to string, message []byte) Outcome {
	client, err := s.connect(ctx)
	if err != nil {
		o := outcomeOf("smarthost "+s.opt.Addr, err)
		o.Permanent = false
		return o
	}
	defer func() { _ = client.Close() }() // after QUIT there is nothing to learn from it
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	if err := transfer(client, from, to, message); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(ctx.Err(), err)
		}
		return outcomeOf("smarthost "+s.opt.Addr, err)
	}
	_ = client.Quit() // the message is theirs already
	return Outcome{Delivered: true, Code: 250}
}

func transfer(client *smtp.Client, from, to string, message []byte) error {
	if err := client.Mail(from, &smtp.MailOptions{Size: int64(len(message))}); err != nil {
		return fmt.Errorf("reverse-path refused: %w", err)
	}
	if err := client.Rcpt(to, nil); err != nil {
		return fmt.Errorf("recipient refused: %w", err)
	}
	w, err := client.Data()
	if err != nil {
		return fmt.Errorf("message refused: %w", err)
	}
	if _, err := bytes.NewReader(message).WriteTo(w); err != nil {
		return fmt.Errorf("message not transferred: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("message refused: %w", err)
	}
	return nil
}

// connect returns a client that is ready for MAIL.
func (s *Smarthost) connect(ctx context.Context) (*smtp.Client, error) {
	dialCtx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	conn, err := s.opt.Dial(dialCtx, "tcp", s.opt.Addr)
	if err != nil {
		return nil, fmt.Errorf("cannot connect: %w", err)
	}
	// go-smtp knows no context; closing the connection ends its calls.
	stop := context.AfterFunc(dialCtx, func() { _ = conn.Close() })
	defer stop()
	client, err := s.greet(conn)
	if err != nil {
		return nil, errors.Join(err, dialCtx.Err(), conn.Close())
	}
	client.CommandTimeout = s.opt.Timeout
	return client, nil
}

func (s *Smarthost) greet(conn net.Conn) (*smtp.Client, error) {
	config := &tls.Config{ServerName: s.host, RootCAs: s.opt.Roots, MinVersion: tls.VersionTLS12}
	var client *smtp.Client
	switch {
	case s.opt.Plaintext:
		client = smtp.NewClient(conn)
	case s.port == submissionsPort:
		client = smtp.NewClient(tls.Client(conn, config))
	default:
		// go-smtp says EHLO localhost before STARTTLS, and our name after it.
		var err error
		if client, err = smtp.NewClientStartTLS(conn, config); err != nil {
			return nil, fmt.Errorf("STARTTLS: %w", err)
		}
	}
	if err := client.Hello(s.opt.Hello); err != nil {
		return nil, fmt.Errorf("greeting: %w", err)
	}
	if s.opt.Username != "" {
		if err := client.Auth(sasl.NewPlainClient("", s.opt.Username, s.opt.Password)); err != nil {
			return nil, fmt.Errorf("authentication: %w", err)
		}
	}
	return client, nil
}

// outcomeOf reads the reply that an error holds.
func outcomeOf(who string, err error) Outcome {
	if reply, ok := errors.AsType[*smtp.SMTPError](err); ok {
		return Outcome{Permanent: reply.Code >= 500, Code: reply.Code, Text: reply.Message, Detail: who}
	}
	return Outcome{Detail: fmt.Sprintf("%s: %v", who, err)}
}
