package deliver_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
)

// pki makes certificates once for all tests of a file.
type pki struct {
	roots *x509.CertPool
	ca    *x509.Certificate
	key   *ecdsa.PrivateKey
}

func newPKI(t testing.TB) *pki {
	p := &pki{roots: x509.NewCertPool()}
	c := p.issue(t)
	p.ca, p.key = c.Leaf, c.PrivateKey.(*ecdsa.PrivateKey)
	p.roots.AddCert(p.ca)
	return p
}

// issue makes a certificate of the CA, or with selfSigned one of its own.
func (p *pki) issue(t testing.TB, names ...string) *tls.Certificate { return p.make(t, p.ca, names) }

func (p *pki) selfSigned(t testing.TB, names ...string) *tls.Certificate {
	return p.make(t, nil, names)
}

func (p *pki) make(t testing.TB, issuer *x509.Certificate, names []string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: names,
		IsCA: len(names) == 0, BasicConstraintsValid: true,
	}
	signer := p.key
	if issuer == nil {
		issuer, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func tlsa(c *tls.Certificate) *dns.TLSA {
	sum := sha256.Sum256(c.Leaf.RawSubjectPublicKeyInfo)
	return &dns.TLSA{Usage: 3, Selector: 1, MatchingType: 1, Certificate: hex.EncodeToString(sum[:])}
}

// resolver answers from a table; what is not in it is securely denied.
type resolver struct {
	mu      sync.Mutex
	answers map[string]dnssec.Answer // by "name TYPE"
	asked   map[string]int
}

func newResolver() *resolver {
	return &resolver{answers: map[string]dnssec.Answer{}, asked: map[string]int{}}
}

func (r *resolver) Lookup(_ context.Context, name string, qtype uint16) (dnssec.Answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := name + " " + dns.TypeToString[qtype]
	r.asked[k]++
	a, ok := r.answers[k]
	if !ok {
		a = dnssec.Answer{Status: dnssec.Secure}
	}
	if a.CanonicalName == "" {
		a.CanonicalName = name + "."
	}
	if a.Status == dnssec.Error {
		return a, errors.New("SERVFAIL")
	}
	return a, nil
}

// set enters records for a name, secure unless a status is given.
func (r *resolver) set(key string, status dnssec.Status, rrs ...dns.RR) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[key] = dnssec.Answer{Status: status, RRs: rrs}
}

func mx(preference uint16, host string) dns.RR {
	return &dns.MX{Hdr: dns.RR_Header{Rrtype: dns.TypeMX}, Preference: preference, Mx: host + "."}
}

func ip(s string) dns.RR {
	a := net.ParseIP(s)
	if a.To4() == nil {
		return &dns.AAAA{Hdr: dns.RR_Header{Rrtype: dns.TypeAAAA}, AAAA: a}
	}
	return &dns.A{Hdr: dns.RR_Header{Rrtype: dns.TypeA}, A: a}
}

func txt(s ...string) dns.RR { return &dns.TXT{Hdr: dns.RR_Header{Rrtype: dns.TypeTXT}, Txt: s} }

// visit is what a server saw of one connection.
type visit struct {
	Address string // that the client meant
	Helo    []string
	TLS     bool
	SNI     string
	Mail    string
	Rcpt    []string
	Data    string
	End     string // quit, alert, close, or an error
}

// server is a mail server with settings that tests change between attempts.
type server struct {
	startTLS   bool
	certs      map[string]*tls.Certificate // by SNI; "" without or with unknown SNI
	replies    map[string]string           // by verb, or by "verb argument"; DATA: after the final dot
	requireTLS bool
	breakTLS   bool // close instead of a handshake
	inject     bool // plaintext behind the reply to STARTTLS

	wg     sync.WaitGroup
	mu     sync.Mutex
	visits []visit
}

// dial is the network: every address leads here.
func (s *server) dial(ctx context.Context, _, address string) (net.Conn, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	client, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	c, err := l.Accept()
	if err != nil {
		return nil, err
	}
	s.wg.Go(func() { s.serve(c, address) })
	return client, nil
}

// pipe is the same without sockets.
func (s *server) pipe(_ context.Context, _, address string) (net.Conn, error) {
	client, c := net.Pipe()
	s.wg.Go(func() { s.serve(c, address) })
	return client, nil
}

// seen returns the visits so far, once all are over.
func (s *server) seen() []visit {
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.visits
	s.visits = nil
	return out
}

func (s *server) serve(c net.Conn, address string) {
	v := visit{Address: address}
	v.End = s.session(c, &v)
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.visits = append(s.visits, v)
}

func (s *server) reply(line, standard string) string {
	verb, _, _ := strings.Cut(line, " ")
	for _, k := range []string{line, verb} {
		if r, ok := s.replies[k]; ok {
			return r
		}
	}
	return standard
}

func (s *server) session(c net.Conn, v *visit) string {
	r := bufio.NewReader(c)
	say := func(text string) { _, _ = io.WriteString(c, text+"\r\n") }
	say(s.reply("GREETING", "220 test"))
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return ending(err)
		}
		line = strings.TrimSpace(line)
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "EHLO":
			v.Helo = append(v.Helo, rest)
			say(s.ehlo(v.TLS))
		case "STARTTLS":
			answer := s.reply(line, "220 go ahead")
			if s.inject {
				answer += "\r\n250 injected"
			}
			say(answer)
			if !strings.HasPrefix(answer, "220") {
				continue
			}
			if s.breakTLS {
				return "broken"
			}
			t := tls.Server(c, s.tls(v))
			if err := t.Handshake(); err != nil {
				return ending(err)
			}
			v.TLS, c, r = true, t, bufio.NewReader(t)
		case "MAIL":
			v.Mail = rest
			say(s.reply(line, "250 ok"))
		case "RCPT":
			v.Rcpt = append(v.Rcpt, rest)
			say(s.reply(line, "250 ok"))
		case "DATA":
			say("354 go")
			for line := ""; line != ".\r\n" && err == nil; {
				line, err = r.ReadString('\n')
				v.Data += line
			}
			say(s.reply(line, "250 2.0.0 taken"))
		case "QUIT":
			say("221 bye")
			return "quit"
		default:
			say("500 what")
		}
	}
}

func (s *server) ehlo(inTLS bool) string {
	text := "250-test\r\n"
	if s.startTLS && !inTLS {
		text += "250-STARTTLS\r\n"
	}
	if s.requireTLS && inTLS {
		text += "250-REQUIRETLS\r\n"
	}
	return text + "250 SIZE 1000000"
}

func (s *server) tls(v *visit) *tls.Config {
	return &tls.Config{
		SessionTicketsDisabled: true,
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			v.SNI = h.ServerName
			if c := s.certs[h.ServerName]; c != nil {
				return c, nil
			}
			return s.certs[""], nil
		},
	}
}

func ending(err error) string {
	switch {
	case errors.Is(err, io.EOF):
		return "close"
	case strings.Contains(err.Error(), "remote error: tls: bad certificate"):
		return "alert"
	}
	return err.Error()
}

const stsText = "version: STSv1\r\nmode: enforce\r\nmx: mx04.et.sink.example\r\nmx: mx05.et.sink.example\r\nmx: mx06.et.sink.example\r\nmax_age: 86400\r\n"

// policyHost serves text as the policy of et.sink.example.
func policyHost(t testing.TB, p *pki, text string) *http.Client {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, text)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*p.issue(t, "mta-sts.et.sink.example")}}
	s.StartTLS()
	t.Cleanup(s.Close)
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}
