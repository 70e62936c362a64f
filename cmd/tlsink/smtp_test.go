package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/textproto"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/miekg/dns"
)

// longest bounds how long a test waits for one answer. Only a test that fails
// waits so long.
const longest = 30 * time.Second

// session is an SMTP client that can send anything.
type session struct {
	t     *testing.T
	conn  net.Conn
	in    *textproto.Reader
	local string // own address, by which tlsink records the connection
}

// dial connects to the SMTP port; the greeting is still to be read.
func (p *process) dial(t *testing.T) *session {
	t.Helper()
	s, err := dialSession(t, p.smtp)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.conn.Close() })
	return s
}

func dialSession(t *testing.T, address string) (*session, error) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &session{t: t, local: c.LocalAddr().String()}
	s.use(c)
	return s, nil
}

func (s *session) use(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(longest)) // fails only if closed, which the next read tells
	s.conn, s.in = c, textproto.NewReader(bufio.NewReader(c))
}

// connect connects and says EHLO.
func (p *process) connect(t *testing.T, name string) *session {
	t.Helper()
	s := p.dial(t)
	s.expect(220)
	s.cmd(250, "EHLO "+name)
	return s
}

// secure connects like connect, until STARTTLS is offered.
func (p *process) secure(t *testing.T, name string) *session {
	t.Helper()
	for {
		s := p.dial(t)
		s.expect(220)
		if strings.Contains(s.cmd(250, "EHLO "+name), "STARTTLS") {
			return s
		}
		s.cmd(221, "QUIT")
	}
}

// reply reads one reply; code 0 says that the connection has ended.
func (s *session) reply() (code int, text string) {
	code, text, err := s.in.ReadResponse(0)
	if protocol, ok := errors.AsType[*textproto.Error](err); ok {
		return protocol.Code, protocol.Msg
	}
	if err != nil {
		return 0, err.Error()
	}
	return code, text
}

// expect reads a reply that must have the code.
func (s *session) expect(want int) string {
	s.t.Helper()
	code, text := s.reply()
	if code != want {
		s.t.Fatalf("reply %d %s, want %d", code, text, want)
	}
	return text
}

// send sends octets as they are. That the other side has gone shows later.
func (s *session) send(raw string) {
	_, _ = io.WriteString(s.conn, raw)
}

func (s *session) cmd(want int, line string) string {
	s.t.Helper()
	s.send(line + "\r\n")
	return s.expect(want)
}

// mail delivers a message to one recipient and returns the last reply.
func (s *session) mail(from, to, message string) (code int, text string) {
	s.t.Helper()
	s.cmd(250, "MAIL FROM:<"+from+">")
	s.cmd(250, "RCPT TO:<"+to+">")
	s.cmd(354, "DATA")
	s.send(message + "\r\n.\r\n")
	return s.reply()
}

// startTLS does the handshake without verification and says EHLO again.
func (s *session) startTLS(sni, name string) {
	s.t.Helper()
	s.cmd(220, "STARTTLS")
	c := tls.Client(s.conn, &tls.Config{InsecureSkipVerify: true, ServerName: sni}) //nolint:gosec // the certificate is no matter here
	if err := c.HandshakeContext(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.use(c)
	s.cmd(250, "EHLO "+name)
}

// rest reads until the other side closes, and returns the codes of replies.
func (s *session) rest() []int {
	s.t.Helper()
	var codes []int
	for {
		code, text := s.reply()
		if code == 0 {
			if strings.Contains(text, "timeout") {
				s.t.Fatalf("still open after %v", longest)
			}
			return codes
		}
		codes = append(codes, code)
	}
}

// mailText writes a mail to en@et.
func mailText(from, id string, more ...string) string {
	return strings.Join(append([]string{
		"From: " + from, "To: <en@et.sink.example>", "Date: " + time.Now().Format(time.RFC1123Z), "Message-ID: <" + id + ">",
	}, append(more, "", "Test mail.")...), "\r\n")
}

// link returns the path of the result page that a reply names.
func link(t *testing.T, reply string) string {
	t.Helper()
	m := regexp.MustCompile(`https://sink\.example(/t/\S+)`).FindStringSubmatch(reply)
	if m == nil {
		t.Fatalf("no link in %q", reply)
	}
	return m[1]
}

// outside is what surrounds a service: a resolver that knows the domain
// sender.example, whose mail may come from 127.0.0.1, and a smarthost.
type outside struct {
	resolver, smarthost string
	reports             chan mailed
}

// mailed is a mail that the smarthost took.
type mailed struct{ to, text string }

func newOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{resolver: serveDNS(t), reports: make(chan mailed, 1000)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &smarthost{reports: o.reports}, nil }))
	srv.Domain, srv.ErrorLog = "smarthost.example", log.New(io.Discard, "", 0)
	go func() { _ = srv.Serve(l) }() // until it is closed
	t.Cleanup(func() { _ = srv.Close() })
	o.smarthost = l.Addr().String()
	return o
}

// settings make a service use it. No trust anchor covers sender.example.
func (o *outside) settings(t *testing.T, changes ...any) settings {
	t.Helper()
	anchors := fileOf(t, "anchor.invalid. IN DS 46723 13 2 C239211D6FD7398A415A284E406F958EA72B5E7125345F130B7A8823D17F0368\n")
	return newSettings(t, append([]any{
		"dns.resolvers",
		[]string{o.resolver},
		"dns.trust_anchors", anchors,
		"mail.smarthost.address", o.smarthost, "mail.smarthost.plaintext", true,
	}, changes...)...)
}

// report waits for the next report.
func (o *outside) report(t *testing.T) mailed {
	t.Helper()
	select {
	case m := <-o.reports:
		return m
	case <-time.After(longest):
		t.Fatalf("no report within %v", longest)
		return mailed{}
	}
}

// smarthost is a session of the server that takes reports.
type smarthost struct {
	reports chan<- mailed
	to      string
}

func (s *smarthost) Reset()                                    {}
func (s *smarthost) Logout() error                             { return nil }
func (s *smarthost) Mail(string, *smtp.MailOptions) error      { return nil }
func (s *smarthost) Rcpt(to string, _ *smtp.RcptOptions) error { s.to = to; return nil }

func (s *smarthost) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil {
		s.reports <- mailed{s.to, string(b)}
	}
	return err
}

func serveDNS(t *testing.T) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	srv := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		switch name := strings.ToLower(q.Question[0].Name); {
		case name != "sender.example.":
			m.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeTXT:
			m.Answer = []dns.RR{&dns.TXT{
				Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{"v=spf1 ip4:127.0.0.1 -all"},
			}}
		}
		_ = w.WriteMsg(m) // the client asks again
	})}
	go func() { _ = srv.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = srv.Shutdown() })
	return pc.LocalAddr().String()
}
