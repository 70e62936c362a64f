package web_test

import (
	"bytes"
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
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/web"
)

const (
	zone       = "sink.example"
	capability = "mfrggzdfmztwq2lknnwg23tpobyxe43u"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// source is a web.Source with one test.
type source struct {
	mu      sync.Mutex
	in      report.Input
	earlier report.Input // behind another capability
	status  web.Status
	err     error
	panics  bool
}

func (s *source) Result(_ context.Context, c string) (report.Input, bool, error) {
	if s.panics {
		panic("lost " + c)
	}
	if s.err != nil {
		return report.Input{}, false, fmt.Errorf("look up %s: %w", c, s.err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c == earlier && s.earlier.Service != "" {
		return s.earlier, true, nil
	}
	return s.in, c == capability, nil
}

func (s *source) set(in report.Input, missing report.Missing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in, s.in.InboundMissing = in, missing
}

func (s *source) Status(context.Context) web.Status { return s.status }

func testSource() *source {
	test := evidence.Test{ID: "7KQ2", Zone: zone, Started: start, Sender: "john.doe@sender.example"}
	from := test.Sender
	return &source{
		in: report.Input{
			Service: zone, Test: test, State: report.StateRunning, Generated: start, Engine: "1",
			History: evidence.History{Test: test, Connections: []evidence.Connection{{
				ID: "1", Start: start, End: start, Client: "192.0.2.1:4711", EHLO: true, Server: 1, Helo: []string{"<script>alert(1)</script>"},
				MailFrom: &from, Status: evidence.StatusMail, Ending: evidence.EndingQuit,
				Transactions: []evidence.Transaction{{MailFrom: from, RcptTo: []string{"en@ut." + zone}, MessageID: "<" + from + ">"}},
			}}},
			Verdict: policyinfer.Verdict{Policy: policyinfer.DANE, Candidates: []policyinfer.Name{policyinfer.DANE}},
		},
		status: web.Status{Ready: true, Running: 3, Queue: 2, ZoneChecked: start, MX: []string{"mx05", "mx03", "mx06", "mx04"}},
	}
}

// authority issues the certificates of the server under test.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	mu   sync.Mutex
	made map[scenario.Certificate][]tls.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, made: make(map[scenario.Certificate][]tls.Certificate)}
	a.key = a.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func (a *authority) Certificates(id scenario.Certificate) ([]tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if id.Kind != scenario.CA || id.Owner != scenario.OwnerService && id.Owner != scenario.OwnerMTASTS {
		return nil, errors.New("not a certificate for pages or policies")
	}
	if c, ok := a.made[id]; ok {
		return c, nil
	}
	keys := []crypto.Signer{a.newKey()}
	if id.Owner == scenario.OwnerService {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(a.made) + 2)), DNSNames: scenario.CertificateNames(zone, 4, id),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	for _, key := range keys {
		der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
		if err != nil {
			return nil, err
		}
		a.made[id] = append(a.made[id], tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
	}
	return a.made[id], nil
}

// fixture is a server with what it told others.
type fixture struct {
	server  *web.Server
	source  *source
	ca      *authority
	fetches chan evidence.PolicyFetch
	log     *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newFixture returns a server; change may vary its options.
func newFixture(t *testing.T, change func(*web.Options)) *fixture {
	t.Helper()
	f := &fixture{source: testSource(), ca: newAuthority(t), fetches: make(chan evidence.PolicyFetch, 100), log: &lockedBuffer{}}
	o := web.Options{
		Zone: zone, Slots: 4, Source: f.source, Certificates: f.ca, Version: "1.2.3",
		Fetched: func(p evidence.PolicyFetch) { f.fetches <- p },
		Now:     func() time.Time { return start },
		Logger:  slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&o)
	}
	var err error
	if f.server, err = web.New(o); err != nil {
		t.Fatal(err)
	}
	return f
}

// do sends a request to the handler. The URL's scheme decides about TLS.
func (f *fixture) do(method, url string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), method, url, http.NoBody)
	r.RemoteAddr = "192.0.2.1:4711"
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if r.TLS != nil {
		r.TLS.ServerName = "" // as in memory; tests of SNI set it
	}
	w := httptest.NewRecorder()
	f.server.Handler().ServeHTTP(w, r)
	return w
}

func (f *fixture) get(url string) *httptest.ResponseRecorder { return f.do(http.MethodGet, url) }
