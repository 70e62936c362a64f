package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/internal/memnet"
)

// server is a mail server in memory, good unless it is told otherwise.
type server struct {
	greeting string            // whole, with its CRLF
	ehlo     string            // its whole answer to EHLO
	replies  map[string]string // to a verb, instead of a good one
	tls      *tls.Config       // nil: no STARTTLS
	// handshake takes over after STARTTLS, instead of crypto/tls.
	handshake func(n int, conn net.Conn)
	// take takes over the n-th connection from the start; false: not this one.
	take func(n int, conn net.Conn) bool
	// dial may refuse the n-th connection.
	dial func(n int) error

	running  sync.WaitGroup // connections
	mu       sync.Mutex
	count    int
	commands []string
}

// dialer connects to s in memory.
func (s *server) dialer(_ context.Context, _, _ string) (net.Conn, error) {
	s.mu.Lock()
	s.count++
	n := s.count
	s.mu.Unlock()
	if s.dial != nil {
		if err := s.dial(n); err != nil {
			return nil, err
		}
	}
	client, conn := memnet.Pipe(netip.MustParseAddrPort("192.0.2.1:40000"), address())
	s.running.Go(func() {
		defer conn.Close()
		if s.take == nil || !s.take(n, conn) {
			s.serve(n, conn)
		}
	})
	return client, nil
}

func address() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.25:25") }

func (s *server) serve(n int, conn net.Conn) {
	greeting := "220 mx.example.org ESMTP\r\n"
	if s.greeting != "" {
		greeting = s.greeting
	}
	if _, err := io.WriteString(conn, greeting); err != nil {
		return
	}
	for in := bufio.NewReader(conn); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb := strings.ToUpper(strings.TrimSpace(strings.SplitN(line, " ", 2)[0]))
		s.mu.Lock()
		s.commands = append(s.commands, strings.TrimSpace(line))
		s.mu.Unlock()
		if _, err := io.WriteString(conn, s.answer(verb)); err != nil || verb == "QUIT" {
			return
		}
		if verb != "STARTTLS" || !strings.HasPrefix(s.answer(verb), "220") {
			continue
		}
		if s.handshake != nil {
			s.handshake(n, conn)
			return
		}
		secure := tls.Server(conn, s.tls)
		if secure.Handshake() != nil {
			return
		}
		conn, in = secure, bufio.NewReader(secure)
	}
}

func (s *server) answer(verb string) string {
	if r, ok := s.replies[verb]; ok {
		return r
	}
	switch {
	case verb == "EHLO" && s.ehlo != "":
		return s.ehlo
	case verb == "EHLO" && (s.tls != nil || s.handshake != nil):
		return "250-mx.example.org\r\n250-SIZE 1000\r\n250 STARTTLS\r\n"
	case verb == "STARTTLS":
		return "220 go ahead\r\n"
	case verb == "QUIT":
		return "221 bye\r\n"
	}
	return "250 ok\r\n"
}

// script says one line after each that it reads, the first one at once. An empty
// one hangs up.
func script(conn net.Conn, lines []string) {
	in := bufio.NewReader(conn)
	for i, line := range lines {
		if i > 0 {
			if _, err := in.ReadString('\n'); err != nil {
				return
			}
		}
		if line == "" {
			return
		}
		if _, err := io.WriteString(conn, line+"\r\n"); err != nil {
			return
		}
	}
}

// said reports how often a command was sent.
func (s *server) said(verb string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.commands {
		if strings.HasPrefix(c, verb) {
			n++
		}
	}
	return n
}

// now is the time in all tests.
func now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// probe looks at s.
func (s *server) probe(t testing.TB, roots *x509.CertPool) Result {
	t.Helper()
	return s.probeWith(t, Options{Roots: roots})
}

func (s *server) probeWith(t testing.TB, opts Options) Result {
	t.Helper()
	opts.Dial, opts.HELO, opts.Now = s.dialer, "probe.example.net", now
	if opts.Roots == nil {
		opts.Roots = x509.NewCertPool()
	}
	p, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	got := p.Probe(t.Context(), address(), host, []string{"example.org"}, "example.org")
	s.running.Wait()
	if s.said("DATA") > 0 {
		t.Error("it sent DATA")
	}
	if got.Connections > maxConnections || got.Connections != s.count {
		t.Errorf("%d connections, %d counted", s.count, got.Connections)
	}
	return got
}

const host = "mx.example.org"

// short is a result on a few lines, without reasons.
func short(r Result) string {
	accepted := func(v Version) string { return fmt.Sprintf("%s=%s", v.Version, v.Accepted.Outcome) }
	var versions []string
	for _, v := range r.Versions {
		versions = append(versions, accepted(v))
	}
	return fmt.Sprintf("reached=%s starttls=%s mandatory=%s fs=%s [%s]",
		r.Reached.Outcome, r.StartTLS.Outcome, r.Mandatory.Outcome, r.ForwardSecrecy.Outcome, strings.Join(versions, " "))
}

// reasons are all of them, for tests that look for a few words.
func reasons(r Result) string {
	all := []string{r.Reached.Why, r.StartTLS.Why, r.Mandatory.Why, r.ForwardSecrecy.Why}
	for _, v := range r.Versions {
		all = append(all, v.Accepted.Why)
	}
	if c := r.Certificate; c != nil {
		all = append(all, c.Trusted.Why, c.Name.Why, c.Dates.Why)
	}
	return strings.Join(slices.DeleteFunc(append(all, r.Notes...), func(s string) bool { return s == "" }), "\n")
}
