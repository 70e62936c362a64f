package records

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

// day is when the tests take place.
func day() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// ca issues certificates.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T) ca {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: day().AddDate(-1, 0, 0), NotAfter: day().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return ca{cert, key}
}

func (c ca) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.cert)
	return p
}

// issue makes a certificate for names; if the first one is client, for clients.
func (c ca) issue(t *testing.T, notAfter time.Time, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: names, NotBefore: day().AddDate(0, -6, 0), NotAfter: notAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if len(names) > 0 && names[0] == "client" {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// policyHost is a stranger's server.
type policyHost struct {
	roots *x509.CertPool
	addr  string

	dialed []string
}

func newPolicyHost(t *testing.T, handler http.HandlerFunc, change func(ca, *tls.Config)) *policyHost {
	t.Helper()
	c := newCA(t)
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{c.issue(t, day().AddDate(0, 1, 0), "mta-sts.example.org")}}
	if change != nil {
		change(c, s.TLS)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return &policyHost{roots: c.pool(), addr: s.Listener.Addr().String()}
}

// reader connects to the policy host at every address but 192.0.2.99.
func (p *policyHost) reader(w *world) *Reader {
	return New(Options{
		Resolver: w, Roots: p.roots, Now: day, Timeout: 5 * time.Second,
		Allowed: func(ip netip.Addr) bool { return ip.IsGlobalUnicast() && !ip.IsPrivate() },
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			p.dialed = append(p.dialed, addr)
			if addr == "192.0.2.99:443" {
				return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
			}
			return new(net.Dialer).DialContext(ctx, network, p.addr)
		},
	})
}

// serve answers with a policy.
func serve(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, text)
	}
}

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
