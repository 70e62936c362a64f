package domaincheck

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alecthomas/kong"
	"github.com/emersion/go-smtp"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/internal/memnet"
)

// checkWorld is a small internet in memory: a validating resolver, mail servers
// and policy hosts. Names in signed zones are secure.
type checkWorld struct {
	t      *testing.T
	net    memnet.Network
	roots  string // file
	ca     *x509.Certificate
	key    *ecdsa.PrivateKey
	signed []string
	ctx    context.Context // of the command; nil: that of the test

	trusting bool // believe the resolver
	silent   bool // the resolver does not answer
	public   bool // connect to public addresses only

	records map[string][]dns.RR // by name and type
	ends    []func()
}

func newCheckWorld(t *testing.T) *checkWorld {
	w := &checkWorld{t: t, records: make(map[string][]dns.RR), signed: []string{"."}, trusting: true}
	w.ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	der, w.key = w.issue(w.ca, w.ca, nil)
	var err error
	if w.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	w.roots = checkFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return w
}

// issue signs a certificate; with its own key if there is none.
func (w *checkWorld) issue(c, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		w.t.Fatal(err)
	}
	return der, key
}

// certificate is one of the CA.
func (w *checkWorld) certificate(name string) tls.Certificate {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, key := w.issue(c, w.ca, w.key)
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, w.ca.Raw}, PrivateKey: key, Leaf: leaf}
}

func (w *checkWorld) add(lines ...string) {
	w.t.Helper()
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		if err != nil {
			w.t.Fatal(err)
		}
		key := strings.ToLower(rr.Header().Name) + dns.TypeToString[rr.Header().Rrtype]
		w.records[key] = append(w.records[key], rr)
	}
}

// exchange answers as a validating resolver does.
func (w *checkWorld) exchange(_ context.Context, q *dns.Msg, _, _ string) (*dns.Msg, error) {
	if w.silent {
		return nil, errors.New("i/o timeout")
	}
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	name := strings.ToLower(q.Question[0].Name)
	for _, zone := range w.signed {
		m.AuthenticatedData = m.AuthenticatedData || zone == "." && name == "." || zone != "." && dns.IsSubDomain(zone, name)
	}
	m.Answer = w.records[name+dns.TypeToString[q.Question[0].Qtype]]
	if name == "." {
		m.Answer = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60}, Ns: ".", Mbox: "."}}
	}
	exists := false
	for key := range w.records {
		owner := key[:strings.LastIndexByte(key, '.')+1]
		exists = exists || dns.IsSubDomain(name, owner)
	}
	if !exists && name != "." {
		m.Rcode = dns.RcodeNameError
	}
	return m, nil
}

// mailServer serves SMTP with STARTTLS if it has a certificate, and demands it.
func (w *checkWorld) mailServer(address, name string, cert *tls.Certificate) {
	w.t.Helper()
	l, err := w.net.Listen(netip.AddrPortFrom(netip.MustParseAddr(address), 25))
	if err != nil {
		w.t.Fatal(err)
	}
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &checkSession{c, cert != nil}, nil }))
	s.Domain, s.ErrorLog = name, log.New(io.Discard, "", 0)
	if cert != nil {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Serve(l); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			w.t.Error(err)
		}
	}()
	w.ends = append(w.ends, func() { _ = s.Close(); <-ended })
}

type checkSession struct {
	conn  *smtp.Conn
	needs bool
}

func (*checkSession) Reset()        {}
func (*checkSession) Logout() error { return nil }

func (s *checkSession) Mail(string, *smtp.MailOptions) error {
	if _, encrypted := s.conn.TLSConnectionState(); s.needs && !encrypted {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Must issue a STARTTLS command first"}
	}
	return nil
}
func (*checkSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (*checkSession) Data(io.Reader) error                 { return errors.New("no mail is expected") }

// policyHost serves an MTA-STS policy.
func (w *checkWorld) policyHost(address, domain, policy string) {
	w.t.Helper()
	l, err := w.net.Listen(netip.AddrPortFrom(netip.MustParseAddr(address), 443))
	if err != nil {
		w.t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/plain")
		io.WriteString(rw, policy) //nolint:errcheck // the client says what it got
	})}
	cert := w.certificate("mta-sts." + domain)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}))
	}()
	w.ends = append(w.ends, func() { _ = s.Close(); <-ended })
	w.add("mta-sts."+domain+". 60 IN A "+address, "_mta-sts."+domain+`. 60 IN TXT "v=STSv1; id=1;"`)
}

// goodDomain meets every standard: signed, with DANE and MTA-STS.
func (w *checkWorld) goodDomain(domain, address, policyAddress string) {
	host := "mx." + domain
	cert := w.certificate(host)
	digest := sha256.Sum256(cert.Leaf.RawSubjectPublicKeyInfo)
	w.signed = append(w.signed, domain+".")
	w.add(
		domain+". 60 IN SOA ns."+domain+". hostmaster."+domain+". 1 2 3 4 5",
		domain+". 60 IN MX 10 "+host+".", host+". 60 IN A "+address,
		fmt.Sprintf("_25._tcp.%s. 60 IN TLSA 3 1 1 %s", host, hex.EncodeToString(digest[:])),
		domain+`. 60 IN TXT "v=spf1 mx -all"`, "_dmarc."+domain+`. 60 IN TXT "v=DMARC1; p=reject"`,
	)
	w.mailServer(address, host, &cert)
	w.policyHost(policyAddress, domain, "version: STSv1\r\nmode: enforce\r\nmax_age: 86400\r\nmx: "+host+"\r\n")
}

// plainDomain is not signed, and its server does not encrypt.
func (w *checkWorld) plainDomain(domain, address string) {
	w.add(domain+". 60 IN MX 10 mx."+domain+".", "mx."+domain+". 60 IN A "+address)
	w.mailServer(address, "mx."+domain, nil)
}

// run runs `tlsink check`, in this world.
func (w *checkWorld) run(stdin string, args ...string) (stdout, stderr string, status int) {
	w.t.Helper()
	c := Cmd{exchange: w.exchange, dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		return w.net.Dialer(netip.MustParseAddr("192.0.2.99"))(ctx, network, address)
	}}
	parser, err := kong.New(&c, kong.Name("check"))
	if err != nil {
		w.t.Fatal(err)
	}
	args = append([]string{"--resolver=192.0.2.53", "--roots=" + w.roots, "--from=check.example.net"}, args...)
	if !w.public {
		args = append(args, "--allow-private")
	}
	if w.trusting {
		args = append(args, "--trust-resolver")
	}
	if _, err := parser.Parse(args); err != nil {
		return "", err.Error(), checkUsage
	}
	ctx := w.ctx
	if ctx == nil {
		ctx = w.t.Context()
	}
	var out, errs bytes.Buffer
	err = c.Run(&cli.Env{Ctx: ctx, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs})
	if x, ok := errors.AsType[cli.ExitError](err); ok {
		status, err = int(x), nil
	}
	if err != nil {
		w.t.Error(err)
	}
	return out.String(), errs.String(), status
}

// inCheckWorld runs f in a bubble.
func inCheckWorld(t *testing.T, f func(t *testing.T, w *checkWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newCheckWorld(t)
		f(t, w)
		synctest.Wait() // servers that have not begun cannot be closed
		for _, end := range w.ends {
			end()
		}
	})
}

// checkFile returns the name of a file with that text.
func checkFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
