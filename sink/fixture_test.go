package sink_test

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink"
)

const zone = "sink.example"

// leased is the token of slot 1.
const leased = "en4k7w2q9mxa"

// keys makes key pairs once; certificates of different times can share them.
var keys = sync.OnceValue(func() []crypto.Signer {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return []crypto.Signer{ec, rs}
})

// certificates makes a self-signed pair for each certificate asked for.
type certificates struct {
	mu   sync.Mutex
	made map[scenario.Certificate][]tls.Certificate
	fail bool
}

func (c *certificates) Certificates(id scenario.Certificate) ([]tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail {
		return nil, errors.New("no keys")
	}
	if c.made[id] == nil {
		for _, key := range keys() {
			t := &x509.Certificate{
				SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: string(id.Owner)}, DNSNames: scenario.CertificateNames(zone, 2, id),
				NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
			}
			der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
			if err != nil {
				return nil, err
			}
			leaf, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, err
			}
			if c.made == nil {
				c.made = make(map[scenario.Certificate][]tls.Certificate)
			}
			c.made[id] = append(c.made[id], tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf})
		}
	}
	return c.made[id], nil
}

// fixedDirector treats every client alike: one phase, the certificate by SNI,
// 451 for every message unless told otherwise.
type fixedDirector struct {
	phase  atomic.Value // evidence.Phase
	reply  sink.Reply
	refuse error
	to     scenario.Domain       // that the local address tells
	always *scenario.Certificate // whatever the SNI

	mu         sync.Mutex
	snapshots  []evidence.Connection
	accepted   map[evidence.ConnID]int
	closed     map[evidence.ConnID]int
	finals     chan evidence.Connection
	blockUntil chan struct{} // Message waits for it, if set
	inMessage  chan struct{}
}

func newDirector(phase evidence.Phase) *fixedDirector {
	d := &fixedDirector{
		reply:    sink.Reply{Code: 451, Enhanced: [3]int{4, 7, 1}, Text: "please retry\r\n250 injected"},
		accepted: map[evidence.ConnID]int{}, closed: map[evidence.ConnID]int{},
		finals: make(chan evidence.Connection, 2000), inMessage: make(chan struct{}, 100),
	}
	d.phase.Store(phase)
	return d
}

func (d *fixedDirector) Accepted(id evidence.ConnID, _, _ netip.AddrPort) (sink.Treatment, error) {
	if d.refuse != nil {
		return sink.Treatment{}, d.refuse
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.accepted[id]++
	return sink.Treatment{Phase: d.phase.Load().(evidence.Phase), Destination: d.to}, nil
}

func (d *fixedDirector) Phase(evidence.ConnID) evidence.Phase { return d.phase.Load().(evidence.Phase) }

func (d *fixedDirector) ClientHello(_ evidence.ConnID, sni string) scenario.Certificate {
	if d.always != nil {
		return *d.always
	}
	if t, ok := scenario.Find(zone, sni); ok && t.Host != "" && t.Slot < 2 {
		return scenario.Certificate{Slot: t.Slot, Owner: scenario.Owner(t.Host), Kind: scenario.HostKind(t.Host)}
	}
	return scenario.Certificate{Owner: scenario.OwnerDefault, Kind: scenario.SelfSigned}
}

func (d *fixedDirector) Message(ctx context.Context, c evidence.Connection) sink.Reply {
	d.inMessage <- struct{}{}
	if d.blockUntil != nil {
		select {
		case <-d.blockUntil:
		case <-ctx.Done():
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.snapshots = append(d.snapshots, c)
	return d.reply
}

func (d *fixedDirector) Closed(c evidence.Connection) {
	d.mu.Lock()
	d.closed[c.ID]++
	d.mu.Unlock()
	d.finals <- c
}

// next returns the record of the connection that was closed next.
func (d *fixedDirector) next(tb testing.TB) evidence.Connection {
	tb.Helper()
	c, ok := <-d.finals
	if !ok {
		tb.Fatal("no record")
	}
	return c
}

// memory is Inspector and Mailbox: it keeps what it reads.
type memory struct {
	mu        sync.Mutex
	messages  []string
	delivered []string
	inspect   error
	deliver   error
}

func (m *memory) Inspect(_ context.Context, _ netip.Addr, _ string, tx *evidence.Transaction, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages = append(m.messages, string(b))
	tx.MessageID = "<inspected@sender.example>"
	return m.inspect
}

func (m *memory) Deliver(_ context.Context, from string, rcpts []string, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.delivered = append(m.delivered, from+" -> "+strings.Join(rcpts, ",")+": "+string(b))
	return m.deliver
}

type fixture struct {
	server   *sink.Server
	director *fixedDirector
	memory   *memory
	certs    *certificates
}

func options(phase evidence.Phase) (sink.Options, *fixture) {
	f := &fixture{director: newDirector(phase), memory: &memory{}, certs: &certificates{}}
	var ids atomic.Int64
	return sink.Options{
		Zone: zone, Slots: 2, Director: f.director, Certificates: f.certs, Inspector: f.memory, Mailbox: f.memory,
		Leased: func(slot int, token string) bool { return slot == 1 && token == leased },
		NewID:  func() evidence.ConnID { return evidence.ConnID(strconv.FormatInt(ids.Add(1), 10)) },
		Now:    time.Now, Logger: slog.New(slog.DiscardHandler),
		Limits: sink.Limits{Linger: 100 * time.Millisecond},
	}, f
}

func newFixture(tb testing.TB, phase evidence.Phase, change ...func(*sink.Options)) *fixture {
	tb.Helper()
	o, f := options(phase)
	for _, c := range change {
		c(&o)
	}
	s, err := sink.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	f.server = s
	return f
}

// listen serves on a loopback port until the test ends.
func (f *fixture) listen(tb testing.TB) string {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(ctx, l) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			tb.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// client speaks SMTP line by line.
type client struct {
	testing.TB
	net.Conn
	r *textproto.Reader
}

func (f *fixture) dial(tb testing.TB, addr string) *client {
	tb.Helper()
	c, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return newClient(tb, c)
}

func newClient(tb testing.TB, c net.Conn) *client {
	tb.Helper()
	return &client{tb, c, textproto.NewReader(bufio.NewReader(c))}
}

func (c *client) send(s string) {
	c.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.Fatalf("send %q: %v", s, err)
	}
}

// expect reads one reply and returns its text.
func (c *client) expect(code int) string {
	c.Helper()
	got, text, err := c.r.ReadResponse(code)
	if err != nil {
		c.Fatalf("want %d: got %d %q, %v", code, got, text, err)
	}
	return text
}

func (c *client) cmd(line string, code int) string {
	c.Helper()
	c.send(line + "\r\n")
	return c.expect(code)
}

// eof expects the end of the stream.
func (c *client) eof() {
	c.Helper()
	if line, err := c.r.ReadLine(); err == nil {
		c.Fatalf("unexpected line %q", line)
	}
}

func (c *client) hello() string {
	c.Helper()
	c.expect(220)
	return c.cmd("EHLO mta.sender.example", 250)
}

// starttls does EHLO, STARTTLS and the handshake.
func (c *client) starttls(config *tls.Config) error {
	c.Helper()
	c.hello()
	c.cmd("STARTTLS", 220)
	return c.handshake(config)
}

func (c *client) handshake(config *tls.Config) error {
	tc := tls.Client(c.Conn, config)
	if err := tc.HandshakeContext(c.Context()); err != nil {
		return err
	}
	c.Conn, c.r = tc, textproto.NewReader(bufio.NewReader(tc))
	return nil
}

func (c *client) secured(sni string) {
	c.Helper()
	if err := c.starttls(insecure(sni)); err != nil {
		c.Fatal(err)
	}
}

func (c *client) mustFail(err error) {
	c.Helper()
	if err == nil {
		c.Fatal("the client accepted the certificate")
	}
}

// halfClose ends our direction of a TCP connection.
func (c *client) halfClose() {
	c.Helper()
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		c.Error(err)
	}
}

// abandon runs a handshake that is not meant to succeed and waits for the end.
func (c *client) abandon(conn net.Conn, config *tls.Config) {
	c.Helper()
	c.mustFail(tls.Client(conn, config).HandshakeContext(c.Context()))
	drain(c.Conn)
}

func drain(r io.Reader) { _, _ = io.Copy(io.Discard, r) }

func (c *client) mail(rcpt string) {
	c.Helper()
	c.cmd("MAIL FROM:<j@sender.example>", 250)
	c.cmd("RCPT TO:<"+rcpt+">", 250)
	c.cmd("DATA", 354)
}

const body = "Subject: test\r\n\r\nhello\r\n.\r\n"

func insecure(sni string) *tls.Config {
	return &tls.Config{ServerName: sni, InsecureSkipVerify: true}
}

func host(h scenario.Host) string { return scenario.Names(zone, 0).Host(h) }

func join(v ...any) string { return strings.TrimSuffix(fmt.Sprintln(v...), "\n") }
