package certs_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/scenario"
)

const (
	day      = 24 * time.Hour
	caLife   = 90 * day
	backdate = time.Hour
)

// issued is one call of a testCA.
type issued struct {
	name string
	at   time.Time
	err  error
}

// testCA is a quick public CA that tests break.
type testCA struct {
	key  *ecdsa.PrivateKey
	root *x509.Certificate
	life time.Duration

	mu     sync.Mutex
	serial int64
	calls  []issued
	refuse func(names []string) error                                     // nil: issue
	window func(leaf *x509.Certificate) (start, end time.Time, err error) // of renewable
}

func newTestCA(t *testing.T) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(20, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if root, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &testCA{key: key, root: root, life: caLife}
}

func (ca *testCA) Issue(_ context.Context, names []string, key crypto.Signer) ([][]byte, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	var err error
	if ca.refuse != nil {
		err = ca.refuse(names)
	}
	ca.calls = append(ca.calls, issued{names[0], time.Now(), err})
	if err != nil {
		return nil, err
	}
	ca.serial++
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(ca.serial), DNSNames: names,
		NotBefore: time.Now().Add(-backdate), NotAfter: time.Now().Add(ca.life - backdate),
	}, ca.root, key.Public(), ca.key)
	return [][]byte{der}, err
}

// set makes the CA refuse; nil repairs it.
func (ca *testCA) set(refuse func(names []string) error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.refuse = refuse
}

func (ca *testCA) log() []issued {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return append([]issued(nil), ca.calls...)
}

func down([]string) error { return errors.New("CA is down") }

// renewable is a testCA with renewal information.
type renewable struct{ *testCA }

func (ca renewable) RenewalWindow(_ context.Context, leaf *x509.Certificate) (start, end time.Time, err error) {
	ca.mu.Lock()
	window := ca.window
	ca.mu.Unlock()
	return window(leaf)
}

// hanging never answers for mta-sts.
type hanging struct{ *testCA }

func (ca hanging) Issue(ctx context.Context, names []string, key crypto.Signer) ([][]byte, error) {
	if names[0] == "mta-sts.et.sink.example" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return ca.testCA.Issue(ctx, names, key)
}

// narrow allows as many names as public CAs do.
type narrow struct{ *testCA }

func (narrow) MaxNames() int { return 100 }

// memory is a State.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (m *memory) Load(key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.values[key], nil
}

func (m *memory) Save(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values == nil {
		m.values = make(map[string][]byte)
	}
	if m.values[key] = value; value == nil {
		delete(m.values, key)
	}
	return nil
}

// options are those of a store in memory with ECDSA keys and one slot.
func options(ca certs.Issuer) certs.Options {
	// As on a real clock, no two moments are the same.
	var calls atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(calls.Add(1))) }
	return certs.Options{Zone: zone, Slots: 1, Issuer: ca, State: &memory{}, Now: now, KeyAlgorithms: []certs.KeyAlgorithm{certs.ECDSA}}
}

func openOn(t *testing.T, o certs.Options, d *certs.MemoryDisk) *certs.Store {
	t.Helper()
	s, err := certs.OpenOn(t.Context(), o, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs s until stop is called, or the test ends.
func run(t *testing.T, s *certs.Store) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// after lets fake time pass, then waits for what that made run.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func status(t *testing.T, s *certs.Store, host string, kind scenario.Kind) certs.KeyStatus {
	t.Helper()
	for _, k := range s.Status() {
		if k.Host == host && k.Certificate.Kind == kind {
			return k
		}
	}
	t.Fatalf("no status of %s", host)
	return certs.KeyStatus{}
}
