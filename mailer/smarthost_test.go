package mailer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/mailer"
)

func ed25519Key() string {
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// relay is a submission server.
type relay struct {
	mu       sync.Mutex
	refuse   map[string]*smtp.SMTPError // by command: RCPT, DATA, AUTH
	received []received
}

type received struct{ Hello, User, From, To, Message string }

func (r *relay) reply(command string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refuse[command]; err != nil {
		return err
	}
	return nil
}

func (r *relay) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &relaySession{relay: r, conn: c}, nil
}

type relaySession struct {
	*relay
	conn *smtp.Conn
	got  received
}

func (s *relaySession) Reset()        {}
func (s *relaySession) Logout() error { return nil }

func (s *relaySession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *relaySession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "secret" {
			return smtp.ErrAuthFailed
		}
		s.got.User = user
		return nil
	}), nil
}

func (s *relaySession) Mail(from string, _ *smtp.MailOptions) error {
	s.got.From = from
	return nil
}

func (s *relaySession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.got.To = to
	return s.reply("RCPT")
}

func (s *relaySession) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.got.Hello, s.got.Message = s.conn.Hostname(), string(body)
	s.mu.Lock()
	s.received = append(s.received, s.got)
	s.mu.Unlock()
	return s.reply("DATA")
}

// certificate is for 127.0.0.1, and its own root.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// serve starts the relay and returns its address. config nil: no STARTTLS.
func serve(t *testing.T, r *relay, config *tls.Config, implicit bool) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := smtp.NewServer(r)
	s.Domain, s.TLSConfig, s.AllowInsecureAuth = "relay.example", config, config == nil
	addr := l.Addr().String()
	if implicit {
		l = tls.NewListener(l, config)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		_ = l.Close() // if Serve had not begun, Close knows nothing of it
		<-ended
	})
	return addr
}

const report = "Subject: report\r\n\r\n.dot\r\n"

func TestSmarthost(t *testing.T) {
	cert, roots := certificate(t)
	withTLS := &tls.Config{Certificates: []tls.Certificate{cert}}
	_, strange := certificate(t)
	want := []received{{"mx.sink.example", "user", "", "a@sender.example", report}}
	cases := map[string]struct {
		server   *tls.Config
		refuse   map[string]*smtp.SMTPError
		change   func(*mailer.SmarthostOptions)
		want     mailer.Outcome
		contains string // in Detail, where it cannot be told exactly
		received []received
	}{
		"delivered": {server: withTLS, want: mailer.Outcome{Delivered: true, Code: 250}, received: want},
		"plaintext on loopback": {
			change: func(o *mailer.SmarthostOptions) { o.Plaintext = true },
			want:   mailer.Outcome{Delivered: true, Code: 250}, received: want,
		},
		"recipient refused": {
			server: withTLS, refuse: map[string]*smtp.SMTPError{"RCPT": {Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}},
			want: mailer.Outcome{Permanent: true, Code: 550, Text: "no such user"},
		},
		"put off": {
			server: withTLS, refuse: map[string]*smtp.SMTPError{"DATA": {Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "later"}},
			want: mailer.Outcome{Code: 451, Text: "later"}, received: want,
		},
		"no STARTTLS":    {contains: "STARTTLS"},
		"unknown issuer": {server: withTLS, change: func(o *mailer.SmarthostOptions) { o.Roots = strange }, contains: "certificate"},
		"wrong password": {server: withTLS, change: func(o *mailer.SmarthostOptions) { o.Password = "guess" }, want: mailer.Outcome{Code: 535, Text: "Authentication failed"}},
		"not reachable": {
			change: func(o *mailer.SmarthostOptions) {
				o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") }
			},
			contains: "cannot connect: no route",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := &relay{refuse: c.refuse}
			opt := mailer.SmarthostOptions{Addr: serve(t, r, c.server, false), Username: "user", Password: "secret", Hello: "mx.sink.example", Roots: roots}
			if c.change != nil {
				c.change(&opt)
			}
			s, err := mailer.NewSmarthost(opt)
			if err != nil {
				t.Fatal(err)
			}
			got := s.Send(t.Context(), "", "a@sender.example", []byte(report))
			if c.contains != "" && !strings.Contains(got.Detail, c.contains) {
				t.Errorf("detail %q, want %q in it", got.Detail, c.contains)
			}
			if strings.Contains(got.Detail, opt.Password) {
				t.Errorf("the password is in %q", got.Detail)
			}
			got.Detail = ""
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("outcome: (-want +got)\n%s", d)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if d := cmp.Diff(c.received, r.received); d != "" {
				t.Errorf("received: (-want +got)\n%s", d)
			}
		})
	}
}

func TestSmarthostImplicitTLS(t *testing.T) {
	cert, roots := certificate(t)
	r := &relay{}
	addr := serve(t, r, &tls.Config{Certificates: []tls.Certificate{cert}}, true)
	s, err := mailer.NewSmarthost(mailer.SmarthostOptions{
		Addr: "127.0.0.1:465", Hello: "mx.sink.example", Roots: roots,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Send(t.Context(), "", "a@sender.example", []byte(report)); !got.Delivered {
		t.Errorf("got %+v", got)
	}
}

// A server that never answers is left when the context ends.
func TestSmarthostHonoursContext(t *testing.T) {
	client, server := net.Pipe()
	t.Cleanup(func() { _ = server.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	s, err := mailer.NewSmarthost(mailer.SmarthostOptions{
		Addr: "127.0.0.1:25", Plaintext: true, Hello: "mx.sink.example",
		Dial: func(context.Context, string, string) (net.Conn, error) {
			cancel()
			return client, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Send(ctx, "", "a@sender.example", []byte(report)); got.Delivered || got.Permanent {
		t.Errorf("got %+v, want a temporary failure", got)
	}
}

func TestNewSmarthostErrors(t *testing.T) {
	for name, c := range map[string]struct {
		opt  mailer.SmarthostOptions
		want string
	}{
		"no port":          {mailer.SmarthostOptions{Addr: "relay.example", Hello: "x"}, "host:port"},
		"no name":          {mailer.SmarthostOptions{Addr: "relay.example:587"}, "EHLO"},
		"plaintext abroad": {mailer.SmarthostOptions{Addr: "192.0.2.1:25", Hello: "x", Plaintext: true}, "loopback"},
		"plaintext name":   {mailer.SmarthostOptions{Addr: "relay.example:25", Hello: "x", Plaintext: true}, "loopback"},
	} {
		if _, err := mailer.NewSmarthost(c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
}
