package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/scenario"
)

// session is one SMTP connection to our own port 25.
type session struct {
	conn net.Conn
	text *textproto.Conn
	keys []string // EHLO keywords, upper case
}

// hello connects and says EHLO: as a probe if there is a token, else as anybody.
func (x *exam) hello(ctx context.Context, p scenario.Probe) (*session, error) {
	name := "doctor." + x.Zone
	if p.Token = x.Token; p.Token != "" {
		name = p.Name(x.Zone)
	}
	ctx, cancel := context.WithTimeout(ctx, x.Timeout)
	defer cancel()
	c, err := x.Dial(ctx, "tcp", x.SMTP)
	if err != nil {
		return nil, err
	}
	s := &session{conn: c}
	s.over(c)
	if err := c.SetDeadline(time.Now().Add(2 * x.Timeout)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if _, _, err = s.text.ReadResponse(220); err == nil {
		err = s.ehlo(name)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return s, nil
}

// over goes on over another layer.
func (s *session) over(c net.Conn) {
	s.text = textproto.NewConn(struct {
		io.Reader
		io.WriteCloser
	}{io.LimitReader(c, 64<<10), c})
}

func (s *session) ehlo(name string) error {
	_, message, err := s.cmd(250, "EHLO "+name)
	if err != nil {
		return err
	}
	lines := strings.Split(message, "\n")
	s.keys = nil
	for _, l := range lines[1:] {
		key, _, _ := strings.Cut(l, " ")
		s.keys = append(s.keys, strings.ToUpper(key))
	}
	return nil
}

func (s *session) offersTLS() bool { return slices.Contains(s.keys, "STARTTLS") }

func (s *session) cmd(code int, line string) (int, string, error) {
	id, err := s.text.Cmd("%s", line)
	if err != nil {
		return 0, "", err
	}
	s.text.StartResponse(id)
	defer s.text.EndResponse(id)
	got, message, err := s.text.ReadResponse(code)
	return got, message, err
}

// quit says goodbye; what came before is what counts.
func (s *session) quit() {
	_, _, _ = s.cmd(221, "QUIT")
	_ = s.conn.Close()
}

// The versions of a certificate: each face has both.
const (
	algECDSA = "ECDSA"
	algRSA   = "RSA"
)

func algorithms() []string { return []string{algECDSA, algRSA} }

// suites lets a server show one kind of key only. Up to TLS 1.2 the cipher suite
// says which.
func suites(algorithm string) []uint16 {
	if algorithm == algRSA {
		return []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384}
	}
	return []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
}

// noTLSError: STARTTLS is not offered, which other checks judge.
type noTLSError struct{}

func (noTLSError) Error() string { return "STARTTLS is not offered" }

// handshakeError is a handshake that the other side ended.
type handshakeError struct{ err error }

func (e handshakeError) Error() string { return "the handshake failed: " + e.err.Error() }

// present returns the certificates that a face shows.
func (x *exam) present(ctx context.Context, sni string, kind scenario.Kind, algorithm string) ([]*x509.Certificate, error) {
	s, err := x.hello(ctx, scenario.Probe{StartTLS: true, Kind: kind})
	if err != nil {
		return nil, err
	}
	defer s.conn.Close()
	if !s.offersTLS() {
		s.quit()
		return nil, noTLSError{}
	}
	if code, message, err := s.cmd(220, "STARTTLS"); err != nil {
		return nil, fmt.Errorf("STARTTLS: %d %s", code, clip(message))
	}
	c := tls.Client(s.conn, &tls.Config{
		ServerName: sni, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: suites(algorithm), //nolint:gosec // the chain is judged below
	})
	if err := c.HandshakeContext(ctx); err != nil {
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() || ctx.Err() != nil {
			return nil, err
		}
		return nil, handshakeError{err}
	}
	chain := c.ConnectionState().PeerCertificates
	s.over(c)
	s.quit()
	return chain, nil
}
