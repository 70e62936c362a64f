package acme_test

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libdns/libdns"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/certs/acme"
)

var (
	_ certs.Issuer      = (*acme.Issuer)(nil)
	_ certs.Recognizer  = (*acme.Issuer)(nil)
	_ certs.Renewer     = (*acme.Issuer)(nil)
	_ certs.NameLimiter = (*acme.Issuer)(nil)
)

const zone = "sink.example"

// memory is a State.
type memory struct {
	mu   sync.Mutex
	data map[string][]byte
	full bool
}

func (m *memory) Load(key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.data[key], nil
}

func (m *memory) Save(ctx context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return errors.New("no space left on device")
	}
	m.data[key] = slices.Clone(value)
	return ctx.Err()
}

// provider is a DNS provider that keeps TXT records in memory.
type provider struct {
	mu       sync.Mutex
	txt      map[string][]string // by name
	appended int                 // records
	changes  int                 // calls that succeeded
	fail     error
	failGone error
	onAppend func()
}

func (p *provider) lookup(fqdn string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.txt[fqdn])
}

func (p *provider) left() map[string][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.txt)
}

func (p *provider) check(ctx context.Context, z string) error {
	if z != zone+"." {
		return fmt.Errorf("zone %q is not here", z)
	}
	return ctx.Err()
}

func (p *provider) AppendRecords(ctx context.Context, z string, recs []libdns.Record) ([]libdns.Record, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := cmp.Or(p.fail, p.check(ctx, z)); err != nil {
		return nil, err
	}
	if p.onAppend != nil {
		p.onAppend()
	}
	p.changes++
	for _, r := range recs {
		fqdn := libdns.AbsoluteName(r.RR().Name, z)
		fqdn = fqdn[:len(fqdn)-1]
		p.appended++
		p.txt[fqdn] = append(p.txt[fqdn], r.RR().Data)
	}
	return recs, nil
}

func (p *provider) DeleteRecords(ctx context.Context, z string, recs []libdns.Record) ([]libdns.Record, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := cmp.Or(p.failGone, p.check(ctx, z)); err != nil {
		return nil, err
	}
	p.changes++
	for _, r := range recs {
		if r.RR().TTL != 0 {
			continue // all of ours have another one
		}
		fqdn := libdns.AbsoluteName(r.RR().Name, z)
		fqdn = fqdn[:len(fqdn)-1]
		p.txt[fqdn] = slices.DeleteFunc(p.txt[fqdn], func(s string) bool { return s == r.RR().Data })
		if len(p.txt[fqdn]) == 0 {
			delete(p.txt, fqdn)
		}
	}
	return recs, nil
}

// transports sends requests to the fake CA of their host.
type transports []*fakeCA

func (ts transports) RoundTrip(req *http.Request) (*http.Response, error) {
	for _, ca := range ts {
		if ca.host == req.URL.Host {
			return ca.RoundTrip(req)
		}
	}
	return nil, errors.New("no such host: " + req.URL.Host)
}

// bench is an issuer with a CA, a staging CA, a DNS provider and a state.
type bench struct {
	t           *testing.T
	ca, staging *fakeCA
	dns         *provider
	state       *memory
	options     acme.Options
	issuer      *acme.Issuer
}

// newBench works in a synctest bubble, where time costs nothing.
func newBench(t *testing.T, change ...func(*acme.Options)) *bench {
	t.Helper()
	b := &bench{t: t, dns: &provider{txt: make(map[string][]string)}, state: &memory{data: make(map[string][]byte)}}
	b.ca, b.staging = newFakeCA(t, b.dns.lookup), newFakeCA(t, b.dns.lookup)
	b.options = acme.Options{
		Directory: b.ca.directory(), TermsAgreed: true, Provider: b.dns, Zone: zone, State: b.state,
		HTTPClient: &http.Client{Transport: transports{b.ca, b.staging}},
		Logger:     slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, f := range change {
		f(&b.options)
	}
	b.restart()
	return b
}

// withStaging is to be called before the first order.
func (b *bench) withStaging() *bench {
	b.t.Helper()
	b.options.Staging = b.staging.directory()
	b.restart()
	return b
}

// restart is what a new start of the program does.
func (b *bench) restart() {
	b.t.Helper()
	i, err := acme.New(b.options)
	if err != nil {
		b.t.Fatal(err)
	}
	b.issuer = i
}

func (b *bench) issue(key crypto.Signer, names ...string) ([][]byte, error) {
	b.t.Helper()
	chain, err := b.issuer.Issue(b.t.Context(), names, key)
	if len(b.dns.left()) > 0 && b.dns.failGone == nil {
		b.t.Errorf("TXT records left: %v", b.dns.left())
	}
	return chain, err
}

// must issues and returns the leaf.
func (b *bench) must(key crypto.Signer, names ...string) *x509.Certificate {
	b.t.Helper()
	chain, err := b.issue(key, names...)
	if err != nil {
		b.t.Fatal(err)
	}
	return leafOf(b.t, chain)
}

func leafOf(t *testing.T, chain [][]byte) *x509.Certificate {
	t.Helper()
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// waits checks that an order is refused without asking anybody, and returns
// until when.
func (b *bench) waits(key crypto.Signer, names ...string) acme.Wait {
	b.t.Helper()
	before := b.ca.asked("") + b.staging.asked("")
	_, err := b.issue(key, names...)
	var w *acme.Wait
	if !errors.As(err, &w) {
		b.t.Fatalf("error %v, want a wait", err)
	}
	if n := b.ca.asked("") + b.staging.asked("") - before; n != 0 {
		b.t.Errorf("%d requests in spite of %v", n, err)
	}
	return *w
}

// between checks that a wait ends that far from now.
func between(t *testing.T, w acme.Wait, low, high time.Duration) {
	t.Helper()
	if d := time.Until(w.Until); d < low || d > high {
		t.Errorf("wait of %v, want %v to %v", d, low, high)
	}
}

func ecdsaKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
