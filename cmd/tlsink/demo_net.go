package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/mail"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-message"
	"github.com/emersion/go-smtp"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/dnssec"
)

const demoZone = "sink.example"

// demoAddresses are those that the zone publishes: documentation addresses
// (RFC 5737), which the demo maps to its loopback listeners.
func demoAddresses() []netip.Addr { return []netip.Addr{demoService()} }

func demoService() netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 25}) }

// demoDomain is the mail domain of the sender at ip.
func demoDomain(ip netip.Addr) string { return fmt.Sprintf("sender%d.example", ip.As4()[3]) }

// demoNet maps the documentation addresses to loopback: real sockets, but each
// sender is seen under an address of its own on every system.
type demoNet struct {
	smtp, https, dns string
	mailbox          string

	mu    sync.Mutex
	from  map[netip.AddrPort]netip.Addr // local address of a client's socket to the address it plays
	known *sync.Cond
}

func newDemoNet(l *listeners) *demoNet {
	n := &demoNet{
		smtp: l.smtp[0].Addr().String(), https: l.https[0].Addr().String(), dns: l.dns.UDP[0].LocalAddr().String(),
		from: make(map[netip.AddrPort]netip.Addr),
	}
	n.known = sync.NewCond(&n.mu)
	return n
}

// dialFrom returns a dial function for a host at ip.
func (n *demoNet) dialFrom(ip netip.Addr) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		to := n.https
		switch {
		case address == n.smtp, port == "25" && host == demoService().String():
			to = n.smtp
		case port == "25":
			to = n.mailbox
		}
		c, err := (&net.Dialer{}).DialContext(ctx, network, to)
		if err != nil {
			return nil, err
		}
		local, err := netip.ParseAddrPort(c.LocalAddr().String())
		if err != nil {
			c.Close()
			return nil, err
		}
		n.mu.Lock()
		n.from[local] = ip
		n.mu.Unlock()
		n.known.Broadcast()
		return c, nil
	}
}

// wrap makes accepted connections show the address that their client plays.
func (n *demoNet) wrap(list []net.Listener) []net.Listener {
	out := make([]net.Listener, len(list))
	for i, l := range list {
		out[i] = demoListener{l, n}
	}
	return out
}

type demoListener struct {
	net.Listener
	net *demoNet
}

// Accept implements net.Listener.
func (l demoListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	remote, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return c, nil //nolint:nilerr // shown as it is
	}
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	for {
		if ip, ok := l.net.from[remote]; ok {
			delete(l.net.from, remote)
			return demoConn{c, net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, remote.Port()))}, nil
		}
		l.net.known.Wait() // the client is about to tell
	}
}

type demoConn struct {
	net.Conn
	remote net.Addr
}

// RemoteAddr returns the address that the client plays.
func (c demoConn) RemoteAddr() net.Addr { return c.remote }

// CloseWrite lets the other side see our FIN before the connection is gone.
func (c demoConn) CloseWrite() error {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		return t.CloseWrite()
	}
	return nil
}

// resolver returns a validating resolver: names of our zone from our own
// server, with its DS as trust anchor, the senders' domains from memory.
func (n *demoNet) resolver(ds []*dns.DS) (*dnssec.Resolver, error) {
	var anchors []dns.RR
	for _, d := range ds {
		anchors = append(anchors, d)
	}
	return dnssec.New(dnssec.Options{
		TrustAnchors: anchors, Servers: []string{n.dns}, CacheTTL: time.Second,
		Exchange: func(ctx context.Context, q *dns.Msg, network, server string) (*dns.Msg, error) {
			if len(q.Question) == 1 && !dns.IsSubDomain(dns.Fqdn(demoZone), q.Question[0].Name) {
				return senderDNS(q), nil
			}
			m, _, err := (&dns.Client{Net: network, UDPSize: 1232, Timeout: 5 * time.Second}).ExchangeContext(ctx, q, server)
			return m, err
		},
	})
}

// senderDNS answers for the domains of the senders: SPF for their address, and
// an MX for the report.
func senderDNS(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	name := q.Question[0].Name
	if base, ok := strings.CutPrefix(strings.ToLower(name), "_dmarc."); ok && q.Question[0].Qtype == dns.TypeTXT {
		q = q.Copy()
		q.Question[0].Name = base
		m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{"v=DMARC1; p=reject"}})
		return m
	}
	var number int
	if _, err := fmt.Sscanf(strings.TrimPrefix(strings.ToLower(name), "mx."), "sender%d.example.", &number); err != nil || number < 0 || number > 255 {
		m.Rcode = dns.RcodeNameError
		return m
	}
	var text string
	switch q.Question[0].Qtype {
	case dns.TypeTXT:
		text = fmt.Sprintf(`%s 60 IN TXT "v=spf1 ip4:192.0.2.%d -all"`, name, number)
	case dns.TypeMX:
		text = fmt.Sprintf("%s 60 IN MX 10 mx.%s", name, name)
	case dns.TypeA:
		text = name + " 60 IN A 192.0.2.200"
	default:
		return m
	}
	if rr, err := dns.NewRR(text); err == nil {
		m.Answer = append(m.Answer, rr)
	}
	return m
}

// demoMailbox receives the reports of all senders.
type demoMailbox struct {
	listener    net.Listener
	certificate tls.Certificate

	mu    sync.Mutex
	mails map[string]string // recipient to plain text
}

func newDemoMailbox(ctx context.Context, ca *certs.LocalCA) (*demoMailbox, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	cert, err := mailboxCertificate(ctx, ca)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &demoMailbox{listener: l, certificate: cert, mails: make(map[string]string)}, nil
}

// mailboxCertificate is for the MX hosts of all senders.
func mailboxCertificate(ctx context.Context, ca *certs.LocalCA) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	var names []string
	for i := range demoPolicies() {
		names = append(names, "mx."+demoDomain(demoSenderIP(i)))
	}
	chain, err := ca.Issue(ctx, names, key)
	return tls.Certificate{Certificate: chain, PrivateKey: key}, err
}

func (m *demoMailbox) serve(ctx context.Context) error {
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &demoSession{box: m}, nil }))
	srv.Domain = "mx.sender.example"
	srv.ErrorLog = log.New(io.Discard, "", 0) // the analysis leaves in the middle of handshakes
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{m.certificate}, MinVersion: tls.VersionTLS12}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(m.listener); err != nil && ctx.Err() == nil {
		return fmt.Errorf("demo mailbox: %w", err)
	}
	return nil
}

// text returns the plain text of the report to an address; "" before it came.
func (m *demoMailbox) text(address string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mails[address]
}

type demoSession struct {
	box *demoMailbox
	to  []string
}

func (s *demoSession) Reset()                               { s.to = nil }
func (s *demoSession) Logout() error                        { return nil }
func (s *demoSession) Mail(string, *smtp.MailOptions) error { return nil }
func (s *demoSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *demoSession) Data(r io.Reader) error {
	e, err := message.Read(r)
	if err != nil {
		return err
	}
	text, err := plainText(e)
	if err != nil {
		return err
	}
	from, err := mail.ParseAddress(e.Header.Get("From"))
	if err != nil {
		return err
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	for _, to := range s.to {
		s.box.mails[to] = fmt.Sprintf("From: %s\nSubject: %s\n\n%s", from.Address, e.Header.Get("Subject"), text)
	}
	return nil
}

// plainText returns the first text/plain part.
func plainText(e *message.Entity) (string, error) {
	text := ""
	err := e.Walk(func(_ []int, part *message.Entity, err error) error {
		if err != nil {
			return err
		}
		if t, _, _ := part.Header.ContentType(); t != "text/plain" || text != "" {
			return nil
		}
		b, err := io.ReadAll(part.Body)
		text = string(b)
		return err
	})
	return strings.ReplaceAll(text, "\r\n", "\n"), err
}
