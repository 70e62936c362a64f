package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/internal/memnet"
	"github.com/tlsink/tlsink/mailer"
)

// The whole service, with its timing of production, on fake time: every part
// is the real one, but connections are in memory and DNS is asked in process.
//
//	sender (package deliver) ──25, 443──▶ memnet ──▶ sink, web ─┐
//	   └── dnssec ──▶ zones.Answer                              ├─ one service
//	mailbox ◀──25── memnet ◀── mailer ◀── history ◀── assess ───┘

const worldZone = "sink.example"

func serviceIP() netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 25}) }
func mailboxIP() netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, 25}) }

// keyed returns a data directory with the keys and certificates of a service.
// RSA keys take long to make, so all services here have the same.
var keyed = sync.OnceValues(func() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "tlsink-test-keys-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	now := bubbleStart
	c := config.Config{DataDir: dir}
	ca, err := certs.OpenLocalCA(certs.LocalCAOptions{Dir: c.Path("ca"), Zone: worldZone, Now: now})
	if err != nil {
		return nil, err
	}
	if _, err := certs.Open(context.Background(), certs.Options{Dir: c.Path("certs"), Zone: worldZone, Slots: 1, Issuer: ca, Now: now}); err != nil {
		return nil, err
	}
	if _, err := mailer.OpenDKIM(worldZone, "tlsink", c.Path("dkim.pem")); err != nil {
		return nil, err
	}
	out := make(map[string][]byte)
	return out, fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[name], err = os.ReadFile(filepath.Join(dir, name))
		return err
	})
})

// world is a service and the network that it lives in.
type world struct {
	t       *testing.T
	net     memnet.Network
	dir     string
	mailbox *mailbox
	setup   func(*config.Config) // what differs from an ordinary configuration
	log     *slog.Logger         // nil: errors fail the test

	running atomic.Pointer[service]
	ended   chan error
	stop    context.CancelFunc

	// Faults.
	unsigned   atomic.Bool // the zone's signatures are gone
	policyDown atomic.Bool
	clockWrong atomic.Bool
	dnsDown    atomic.Bool
	lie        atomic.Pointer[strings.Replacer] // for the EHLO names of our own probes
	faulty     atomic.Bool                      // errors in the log are expected

	mu  sync.Mutex
	spf map[string][]netip.Addr // of each sender's domain
	txt map[string]string       // other TXT records, by name
}

// hours runs f in a bubble with a running service.
func hours(t *testing.T, f func(w *world)) {
	t.Helper()
	hoursOf(t, func(*config.Config) {}, f)
}

// checkedHours is hours with self-checks as often as in production.
func checkedHours(t *testing.T, f func(w *world)) {
	t.Helper()
	hoursOf(t, func(c *config.Config) { c.Timing.SelfCheck = config.Duration(5 * time.Minute) }, f)
}

// hoursOf is hours with a configuration of its own.
func hoursOf(t *testing.T, setup func(*config.Config), f func(w *world)) {
	t.Helper()
	t.Parallel()         // hours are work for one processor only
	keys, err := keyed() // made outside, on the machine's time
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, b := range keys {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, dir: dir, setup: setup, spf: make(map[string][]netip.Addr)}
		w.mailbox = newMailbox(t, &w.net)
		w.start()
		f(w)
		w.halt()
		w.mailbox.close()
		time.Sleep(time.Minute) // idle connections end
	})
}

// start starts a service on the data directory.
func (w *world) start() {
	w.t.Helper()
	cfg := config.Config{Zone: worldZone, DataDir: w.dir}
	cfg.DNS.Addresses, cfg.DNS.Private = []netip.Addr{serviceIP()}, true
	cfg.Slots = 1 // what is tested about leases sets more
	w.setup(&cfg)
	if cfg.Timing.SelfCheck == 0 {
		cfg.Timing.SelfCheck = config.Duration(time.Hour) // each takes many handshakes
	}
	cfg.SetDefaults()
	if err := cfg.Check(); err != nil {
		w.t.Fatal(err)
	}
	l := w.listen(cfg)
	ctx, cancel := context.WithCancel(w.t.Context())
	n := network{resolver: w.resolver(serviceIP(), nil), dial: w.lying(w.dialer(serviceIP())), exchange: w.exchange(serviceIP()), clock: w.clock}
	log := w.log
	if log == nil {
		log = slog.New(&complain{t: w.t, faulty: &w.faulty})
	}
	s, err := newService(ctx, cfg, n, log)
	if err != nil {
		w.t.Fatal(err)
	}
	w.running.Store(s)
	w.stop, w.ended = cancel, make(chan error, 1)
	go func() { w.ended <- s.run(ctx, l) }()
}

// listen opens the ports of the service, and port 25 at its further addresses.
func (w *world) listen(cfg config.Config) *listeners {
	w.t.Helper()
	l := &listeners{}
	open := func(to *[]net.Listener, a netip.AddrPort) {
		one, err := w.net.Listen(a)
		if err != nil {
			w.t.Fatal(err)
		}
		*to = append(*to, one)
	}
	for port, to := range map[uint16]*[]net.Listener{25: &l.smtp, 80: &l.http, 443: &l.https} {
		open(to, netip.AddrPortFrom(serviceIP(), port))
	}
	for _, a := range slices.Concat(cfg.DNS.MXAddresses, cfg.DNS.UTAddresses) {
		open(&l.smtp, netip.AddrPortFrom(a, 25))
	}
	return l
}

// clock: that of a bubble begins in 2000, which is no fault.
func (w *world) clock() error {
	if w.clockWrong.Load() {
		return errors.New("the clock is years off")
	}
	return nil
}

// service is the one that runs now, or ran last.
func (w *world) service() *service { return w.running.Load() }

// halt stops the service in an orderly way.
func (w *world) halt() {
	w.t.Helper()
	w.stop()
	if err := <-w.ended; err != nil && !errors.Is(err, context.Canceled) {
		w.t.Errorf("service ended: %v", err)
	}
}

// dialer is the network of the host at ip.
func (w *world) dialer(ip netip.Addr) func(ctx context.Context, network, address string) (net.Conn, error) {
	dial := w.net.Dialer(ip)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if port == "443" {
			if w.policyDown.Load() {
				return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
			}
			host = serviceIP().String() // HTTP clients dial names
		}
		// The way takes some time, as anywhere: no two things are simultaneous.
		time.Sleep(time.Duration(1+rand.IntN(80)) * time.Millisecond)
		return dial(ctx, network, net.JoinHostPort(host, port))
	}
}

// exchange asks our zone in process, and a small DNS for everything else.
func (w *world) exchange(ip netip.Addr) dnssec.ExchangeFunc {
	return func(ctx context.Context, q *dns.Msg, network, _ string) (*dns.Msg, error) {
		if !dns.IsSubDomain(dns.Fqdn(worldZone), q.Question[0].Name) {
			return w.elsewhere(q), nil
		}
		if w.dnsDown.Load() {
			return nil, &net.OpError{Op: "read", Net: network, Err: syscall.ECONNREFUSED}
		}
		m := w.service().zone.Answer(ctx, q, netip.AddrPortFrom(ip, 53), network == "udp")
		if w.unsigned.Load() {
			m = m.Copy()
			for _, section := range []*[]dns.RR{&m.Answer, &m.Ns} {
				var kept []dns.RR
				for _, rr := range *section {
					if rr.Header().Rrtype != dns.TypeRRSIG {
						kept = append(kept, rr)
					}
				}
				*section = kept
			}
		}
		return m, nil
	}
}

// elsewhere answers for the domains of senders: SPF, and an MX for reports.
func (w *world) elsewhere(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	name := strings.ToLower(q.Question[0].Name)
	domain := strings.TrimSuffix(strings.TrimPrefix(name, "mx."), ".")
	w.mu.Lock()
	ips, ok := w.spf[domain]
	txt := w.txt[strings.TrimSuffix(name, ".")]
	w.mu.Unlock()
	if txt != "" && q.Question[0].Qtype == dns.TypeTXT {
		m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{txt}})
		return m
	}
	if !ok {
		m.Rcode = dns.RcodeNameError
		return m
	}
	text := ""
	switch q.Question[0].Qtype {
	case dns.TypeTXT:
		var terms []string
		for _, ip := range ips {
			terms = append(terms, "ip4:"+ip.String())
		}
		text = fmt.Sprintf(`%s 60 IN TXT "v=spf1 %s -all"`, name, strings.Join(terms, " "))
	case dns.TypeMX:
		text = fmt.Sprintf("%s 60 IN MX 10 mx.%s", name, name)
	case dns.TypeA:
		text = fmt.Sprintf("%s 60 IN A %s", name, mailboxIP())
	default:
		return m
	}
	rr, err := dns.NewRR(text)
	if err != nil {
		w.t.Error(err)
		return m
	}
	m.Answer = append(m.Answer, rr)
	return m
}

// resolver validates with the given trust anchors.
func (w *world) resolver(ip netip.Addr, anchors []*dns.DS) *dnssec.Resolver {
	o := dnssec.Options{Servers: []string{"memory"}, Exchange: w.exchange(ip)}
	for _, ds := range anchors {
		o.TrustAnchors = append(o.TrustAnchors, ds)
	}
	r, err := dnssec.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// complain fails a test at the first error that is logged.
type complain struct {
	t      *testing.T
	faulty *atomic.Bool
}

func (c *complain) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }
func (c *complain) WithAttrs([]slog.Attr) slog.Handler           { return c }
func (c *complain) WithGroup(string) slog.Handler                { return c }

func (c *complain) Handle(_ context.Context, r slog.Record) error {
	if c.faulty.Load() {
		return nil
	}
	var s strings.Builder
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&s, " %s", a); return true })
	c.t.Errorf("logged: %s%s", r.Message, &s)
	return nil
}

// mailbox receives the reports.
type mailbox struct {
	server *smtp.Server
	ended  chan struct{}

	mu    sync.Mutex
	mails map[string][]string // recipient to messages
	hello []string            // EHLO names
}

func newMailbox(t *testing.T, n *memnet.Network) *mailbox {
	l, err := n.Listen(netip.AddrPortFrom(mailboxIP(), 25))
	if err != nil {
		t.Fatal(err)
	}
	m := &mailbox{mails: make(map[string][]string), ended: make(chan struct{})}
	m.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.hello = append(m.hello, c.Hostname())
		return &mailboxSession{box: m}, nil
	}))
	m.server.Domain = "mx.example"
	go func() {
		defer close(m.ended)
		if err := m.server.Serve(l); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	}()
	return m
}

func (m *mailbox) close() {
	_ = m.server.Close()
	<-m.ended
}

// reports returns what came for an address.
func (m *mailbox) reports(address string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mails[address]
}

// said returns the names that clients gave in EHLO.
func (m *mailbox) said() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.hello)
}

type mailboxSession struct {
	box *mailbox
	to  []string
}

func (s *mailboxSession) Reset()                               { s.to = nil }
func (s *mailboxSession) Logout() error                        { return nil }
func (s *mailboxSession) Mail(string, *smtp.MailOptions) error { return nil }

func (s *mailboxSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *mailboxSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	for _, to := range s.to {
		s.box.mails[to] = append(s.box.mails[to], string(b))
	}
	return nil
}

// fileOf returns the name of a file with that text.
func fileOf(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
