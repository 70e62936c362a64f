package certs_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/scenario"
)

const zone = "sink.example"

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newCA(t *testing.T, dir string, c *clock) *certs.LocalCA {
	t.Helper()
	ca, err := certs.OpenLocalCA(certs.LocalCAOptions{Dir: dir, Zone: zone, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// fast are options of a store with ECDSA keys only.
func fast(dir string, ca certs.Issuer, c *clock) certs.Options {
	return certs.Options{Dir: dir, Zone: zone, Slots: 2, Issuer: ca, Now: c.Now, KeyAlgorithms: []certs.KeyAlgorithm{certs.ECDSA}}
}

func open(t *testing.T, o certs.Options) *certs.Store {
	t.Helper()
	s, err := certs.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(t *testing.T, s *certs.Store, id scenario.Certificate) []tls.Certificate {
	t.Helper()
	c, err := s.Certificates(id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func matches(records []certs.TLSA, leaf *x509.Certificate) bool {
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	for _, r := range records {
		if r.Usage == 3 && r.Selector == 1 && r.MatchingType == 1 && bytes.Equal(r.Data, sum[:]) {
			return true
		}
	}
	return false
}

// One store with both key algorithms serves the tests that need RSA.
func TestBothAlgorithms(t *testing.T) {
	clk := newClock()
	ca := newCA(t, "", clk)
	const slots = 2
	s := open(t, certs.Options{Zone: zone, Slots: slots, Issuer: ca, Now: clk.Now})

	t.Run("every identity is as the scenario says", func(t *testing.T) { testIdentities(t, s, ca, clk, slots) })
	t.Run("TLSA matches exactly where the scenario says", func(t *testing.T) { testTLSA(t, s, slots) })
	t.Run("handshakes", func(t *testing.T) { testHandshakes(t, s, ca, clk) })
}

func testIdentities(t *testing.T, s *certs.Store, ca *certs.LocalCA, clk *clock, slots int) {
	seen := map[string]scenario.Certificate{}
	for _, id := range scenario.Certificates() {
		pair := get(t, s, id)
		if len(pair) != 2 {
			t.Fatalf("%v: %d certificates, want 2", id, len(pair))
		}
		if _, ok := pair[0].PrivateKey.(*ecdsa.PrivateKey); !ok {
			t.Errorf("%v: first key is %T, want ECDSA", id, pair[0].PrivateKey)
		}
		if k, ok := pair[1].PrivateKey.(*rsa.PrivateKey); !ok || k.N.BitLen() < 2048 {
			t.Errorf("%v: second key is %T, want RSA of 2048 bits", id, pair[1].PrivateKey)
		}
		for _, c := range pair {
			spki := string(c.Leaf.RawSubjectPublicKeyInfo)
			if other, dup := seen[spki]; dup {
				t.Errorf("%v and %v share a key", id, other)
			}
			seen[spki] = id
			for _, name := range scenario.CertificateNames(zone, slots, id) {
				if err := c.Leaf.VerifyHostname(name); err != nil {
					t.Errorf("%v: %v", id, err)
				}
				_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: name, CurrentTime: clk.Now()})
				if (err == nil) != (id.Kind == scenario.CA) {
					t.Errorf("%v, name %s: verification against the CA: %v", id, name, err)
				}
			}
			if c.Leaf.VerifyHostname("other."+zone) == nil {
				t.Errorf("%v: vouches for a name that is not its own", id)
			}
		}
	}
}

func testTLSA(t *testing.T, s *certs.Store, slots int) {
	tlsa := s.TLSA()
	for slot := range slots {
		names := scenario.Names(zone, slot)
		for _, h := range append(scenario.MXHosts(), scenario.UT) {
			kind := scenario.HostKind(h)
			face := scenario.Named(h, kind)
			records := tlsa[names.Host(h)]
			want := map[scenario.TLSA]int{scenario.TLSAMatch: 2, scenario.TLSAMismatch: 1, scenario.TLSANone: 0}[face.TLSA]
			if len(records) != want {
				t.Errorf("%s: %d TLSA records, want %d", names.Host(h), len(records), want)
			}
			for _, r := range records {
				if r.Usage != 3 || r.Selector != 1 || r.MatchingType != 1 || len(r.Data) != sha256.Size {
					t.Errorf("%s: %+v is not a well-formed 3 1 1", names.Host(h), r)
				}
			}
			for _, c := range get(t, s, scenario.Certificate{Slot: slot, Owner: scenario.Owner(h), Kind: kind}) {
				if got := matches(records, c.Leaf); got != (face.TLSA == scenario.TLSAMatch) {
					t.Errorf("%s: TLSA match is %v, want %s", names.Host(h), got, face.TLSA)
				}
			}
			for _, k := range []scenario.Kind{scenario.SelfSigned, scenario.CA} {
				for _, c := range get(t, s, scenario.Certificate{Owner: scenario.OwnerDefault, Kind: k}) {
					if matches(records, c.Leaf) {
						t.Errorf("%s: the default certificate %s matches", names.Host(h), k)
					}
				}
			}
		}
	}
	for _, c := range get(t, s, scenario.Certificate{Owner: scenario.OwnerService, Kind: scenario.CA}) {
		if !matches(tlsa["mx.sink.example"], c.Leaf) {
			t.Error("the service host has no TLSA record that matches")
		}
	}
	if got := len(tlsa); got != 1+4*slots {
		t.Errorf("TLSA for %d hosts, want %d", got, 1+4*slots)
	}
}

func testHandshakes(t *testing.T, s *certs.Store, ca *certs.LocalCA, clk *clock) {
	for _, c := range []struct {
		name    string
		version uint16
		suites  []uint16
		want    x509.PublicKeyAlgorithm
	}{
		{"TLS 1.3", tls.VersionTLS13, nil, x509.ECDSA},
		{"ECDSA only", tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, x509.ECDSA},
		{"RSA only", tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, x509.RSA},
		{"TLS 1.0, RSA only", tls.VersionTLS10, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}, x509.RSA},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, client := net.Pipe()
			defer server.Close()
			defer client.Close()
			srv := tls.Server(server, &tls.Config{MinVersion: tls.VersionTLS10, Certificates: get(t, s, scenario.Certificate{Owner: scenario.OwnerMX06, Kind: scenario.CA})})
			failed := make(chan error, 1)
			go func() { failed <- srv.HandshakeContext(t.Context()) }()
			cli := tls.Client(client, &tls.Config{
				MinVersion: c.version, MaxVersion: c.version, CipherSuites: c.suites,
				ServerName: "mx06.et.sink.example", RootCAs: ca.Pool(), Time: clk.Now,
			})
			if err := cli.HandshakeContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
			if got := cli.ConnectionState().PeerCertificates[0].PublicKeyAlgorithm; got != c.want {
				t.Errorf("got a certificate of %s, want %s", got, c.want)
			}
		})
	}
}

// Whatever happens to certificates, the records in DNS stay.
func TestKeysSurviveReopenAndRenewal(t *testing.T) {
	clk, dir := newClock(), t.TempDir()
	ca := newCA(t, filepath.Join(dir, "ca"), clk)
	id := scenario.Certificate{Owner: scenario.OwnerMX06, Kind: scenario.CA}
	first := open(t, fast(dir, ca, clk))
	tlsa, leaf := first.TLSA(), get(t, first, id)[0].Leaf

	again := open(t, fast(dir, newCA(t, filepath.Join(dir, "ca"), clk), clk))
	if d := cmp.Diff(tlsa, again.TLSA()); d != "" {
		t.Errorf("TLSA changed on reopen:\n%s", d)
	}
	if !get(t, again, id)[0].Leaf.Equal(leaf) {
		t.Error("a valid certificate was issued again on reopen")
	}

	for _, step := range []struct {
		after   time.Duration
		renewed bool
	}{{50 * 24 * time.Hour, false}, {15 * 24 * time.Hour, true}} {
		clk.Add(step.after)
		if err := again.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := !get(t, again, id)[0].Leaf.Equal(leaf); got != step.renewed {
			t.Errorf("after %s more: renewed %v, want %v", step.after, got, step.renewed)
		}
	}
	if d := cmp.Diff(tlsa, again.TLSA()); d != "" {
		t.Errorf("TLSA changed on renewal:\n%s", d)
	}
	if !matches(tlsa["mx06.et.sink.example"], get(t, again, id)[0].Leaf) {
		t.Error("the renewed certificate does not match its TLSA record")
	}
	if third := open(t, fast(dir, ca, clk)); !get(t, third, id)[0].Leaf.Equal(get(t, again, id)[0].Leaf) {
		t.Error("the renewed certificate was not stored")
	}
}

func TestOpenIssuesAgain(t *testing.T) {
	def := scenario.Certificate{Owner: scenario.OwnerDefault, Kind: scenario.CA}
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string, clk *clock, o *certs.Options)
	}{
		{"other names", func(_ *testing.T, _ string, _ *clock, o *certs.Options) { o.Slots = 3 }},
		{"expired", func(_ *testing.T, _ string, clk *clock, _ *certs.Options) { clk.Add(100 * 24 * time.Hour) }},
		{"another CA", func(t *testing.T, _ string, clk *clock, o *certs.Options) { o.Issuer = newCA(t, "", clk) }},
		{"file removed", func(t *testing.T, dir string, _ *clock, _ *certs.Options) {
			if err := os.Remove(filepath.Join(dir, "certificates", "0-default-ca-ecdsa.pem")); err != nil {
				t.Fatal(err)
			}
		}},
		{"certificate of another key", func(t *testing.T, dir string, _ *clock, _ *certs.Options) {
			b, err := os.ReadFile(filepath.Join(dir, "certificates", "0-mx06-ca-ecdsa.pem"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "certificates", "0-default-ca-ecdsa.pem"), string(b))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			clk, dir := newClock(), t.TempDir()
			o := fast(dir, newCA(t, "", clk), clk)
			before := get(t, open(t, o), def)[0].Leaf
			c.change(t, dir, clk, &o)
			after := get(t, open(t, o), def)[0].Leaf
			if after.Equal(before) {
				t.Error("certificate was kept")
			}
			if d := cmp.Diff(scenario.CertificateNames(zone, o.Slots, def), after.DNSNames); d != "" {
				t.Errorf("names (-want +got):\n%s", d)
			}
			if !bytes.Equal(before.RawSubjectPublicKeyInfo, after.RawSubjectPublicKeyInfo) {
				t.Error("the key changed")
			}
		})
	}
}

// broken refuses to issue.
type broken struct{ certs.Issuer }

func (broken) Issue(context.Context, []string, crypto.Signer) ([][]byte, error) {
	return nil, errors.New("CA is down")
}

func TestIssuerFails(t *testing.T) {
	clk, dir := newClock(), t.TempDir()
	ca := newCA(t, "", clk)
	if _, err := certs.Open(t.Context(), fast(dir, broken{ca}, clk)); err == nil || !strings.Contains(err.Error(), "CA is down") {
		t.Errorf("open without any certificate: %v", err)
	}
	o := fast(dir, broken{ca}, clk)
	o.DeferIssue = true
	s := open(t, o)
	if len(s.TLSA()) == 0 {
		t.Error("no TLSA before the certificates are issued")
	}
	get(t, s, scenario.Certificate{Owner: scenario.OwnerMX04, Kind: scenario.SelfSigned})
	if _, err := s.Certificates(scenario.Certificate{Owner: scenario.OwnerMX05, Kind: scenario.CA}); err == nil || !strings.Contains(err.Error(), "not issued yet") {
		t.Errorf("certificate that was not issued: %v", err)
	}

	open(t, fast(dir, ca, clk))
	clk.Add(80 * 24 * time.Hour) // in the last third, still valid
	old := open(t, fast(dir, broken{ca}, clk))
	if err := old.Renew(t.Context()); err == nil || !strings.Contains(err.Error(), "0-mx05-ca-ecdsa: CA is down") {
		t.Errorf("renewal error does not name the certificate: %v", err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBadFiles(t *testing.T) {
	junk := "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
	for _, c := range []struct{ name, file, content, want string }{
		{"key is no PEM", "keys/0-mx04-self-signed-ecdsa.pem", "hello", "no PEM block"},
		{"key is empty", "keys/0-mx04-self-signed-ecdsa.pem", "", "no PEM block"},
		{"key is junk", "keys/0-mx04-self-signed-ecdsa.pem", junk, "restore it from a backup"},
		{"certificate is no PEM", "certificates/0-mx05-ca-ecdsa.pem", "hello", "remove it"},
		{"certificate is a key", "certificates/0-mx05-ca-ecdsa.pem", junk, "unexpected PEM block"},
		{"certificate is endless", "certificates/0-mx05-ca-ecdsa.pem", strings.Repeat("x", 300<<10), "more than"},
		{"TLSA secret", "tlsa-mismatch.txt", "12", "want 32 octets in hex"},
		{"key is a directory", "keys/0-mx04-self-signed-ecdsa.pem", "/", "is a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clk, dir := newClock(), t.TempDir()
			ca := newCA(t, "", clk)
			open(t, fast(dir, ca, clk))
			path := filepath.Join(dir, filepath.FromSlash(c.file))
			if c.content == "/" {
				if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
					t.Fatal(err)
				}
			} else {
				write(t, path, c.content)
			}
			_, err := certs.Open(t.Context(), fast(dir, ca, clk))
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q and %q", err, path, c.want)
			}
		})
	}
}

func TestSharedKeyIsRefused(t *testing.T) {
	clk, dir := newClock(), t.TempDir()
	ca := newCA(t, "", clk)
	open(t, fast(dir, ca, clk))
	b, err := os.ReadFile(filepath.Join(dir, "keys", "0-mx04-self-signed-ecdsa.pem"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "keys", "0-default-self-signed-ecdsa.pem"), string(b))
	if _, err := certs.Open(t.Context(), fast(dir, ca, clk)); err == nil || !strings.Contains(err.Error(), "are the same") {
		t.Errorf("error %v", err)
	}
}

func TestFileModes(t *testing.T) {
	clk, dir := newClock(), t.TempDir()
	ca := newCA(t, filepath.Join(dir, "ca"), clk)
	open(t, fast(dir, ca, clk))
	for file, want := range map[string]fs.FileMode{
		"keys/0-mx04-self-signed-ecdsa.pem": 0o600, "ca/root-key.pem": 0o600, "tlsa-mismatch.txt": 0o600, "ca/root.pem": 0o644,
	} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", file, info.Mode().Perm(), want)
		}
	}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, ".new-") {
			t.Errorf("temporary file left: %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOptions(t *testing.T) {
	ca := newCA(t, "", newClock())
	for name, c := range map[string]struct {
		o    certs.Options
		want string
	}{
		"zone":   {certs.Options{Slots: 1, Issuer: ca}, "zone is empty"},
		"slots":  {certs.Options{Zone: zone, Issuer: ca}, "slots 0"},
		"issuer": {certs.Options{Zone: zone, Slots: 1}, "no issuer"},
		"RSA":    {certs.Options{Zone: zone, Slots: 1, Issuer: ca, RSABits: 1024}, "want at least 2048"},
		"key":    {certs.Options{Zone: zone, Slots: 1, Issuer: ca, KeyAlgorithms: []certs.KeyAlgorithm{"dsa"}}, `"dsa"`},
	} {
		if _, err := certs.Open(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

func TestUnknownIdentity(t *testing.T) {
	clk := newClock()
	s := open(t, fast("", newCA(t, "", clk), clk))
	if _, err := s.Certificates(scenario.Certificate{Slot: 9, Owner: scenario.OwnerMX05, Kind: scenario.CA}); err == nil {
		t.Error("got a certificate of a slot that does not exist")
	}
}
