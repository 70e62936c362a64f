package acme_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/zones"
)

// buildPebble builds the CA that Let's Encrypt tests clients with, or skips t.
// With TLSINK_LAB=require it fails where that can't be done.
func buildPebble(t *testing.T) string {
	t.Helper()
	lab := os.Getenv("TLSINK_LAB")
	if lab == "" {
		t.Skip("set TLSINK_LAB=1 to test against a real CA (Pebble, built from tools/go.mod)")
	}
	binary := filepath.Join(t.TempDir(), "pebble")
	build := exec.CommandContext(t.Context(), "go", "build", "-modfile=tools/go.mod", "-o", binary, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		if lab == "require" {
			t.Fatalf("TLSINK_LAB=require, but Pebble can't be built: %v\n%s", err, out)
		}
		t.Skipf("Pebble can't be built: %v\n%s", err, out)
	}
	return binary
}

// pebble is a real ACME server.
type pebble struct {
	binary, dns string
	env         []string
	config      map[string]any
	api, admin  string         // host:port
	server      []byte         // certificate of its API, PEM
	roots       *x509.CertPool // of its API

	mu  sync.Mutex
	log []string
	end func()
}

// sleepy makes Pebble validate after up to 4 s, as it does by itself.
const sleepy = "PEBBLE_VA_NOSLEEP=0"

// newPebble starts a Pebble that asks dns, which is host:port. Its rate of
// rejected nonces is its own, 5 percent. It validates at once, unless it is sleepy.
func newPebble(t *testing.T, binary, dns string, config map[string]any, env ...string) *pebble {
	t.Helper()
	p := &pebble{binary: binary, dns: dns, env: append([]string{"PEBBLE_VA_NOSLEEP=1"}, env...), api: freeAddress(t), admin: freeAddress(t)}
	dir := t.TempDir()
	p.server = serverCertificate(t, dir)
	p.roots = x509.NewCertPool()
	p.roots.AppendCertsFromPEM(p.server)
	p.config = map[string]any{
		"listenAddress": p.api, "managementListenAddress": p.admin,
		"certificate": filepath.Join(dir, "cert.pem"), "privateKey": filepath.Join(dir, "key.pem"),
		"httpPort": 5002, "tlsPort": 5001, "keyAlgorithm": "ecdsa",
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "90 days", "validityPeriod": 7776000}},
	}
	maps.Copy(p.config, config)
	p.start(t)
	return p
}

func (p *pebble) directory() string { return "https://" + p.api + "/dir" }

// start runs Pebble until stop, or the end of t. It forgets everything.
func (p *pebble) start(t *testing.T) {
	t.Helper()
	b, err := json.Marshal(map[string]any{"pebble": p.config})
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "pebble.json")
	if err := os.WriteFile(config, b, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, p.binary, "-config", config, "-dnsserver", p.dns)
	cmd.Env = append(os.Environ(), p.env...)
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		for sc := bufio.NewScanner(read); sc.Scan(); {
			p.mu.Lock()
			p.log = append(p.log, sc.Text())
			p.mu.Unlock()
		}
	}()
	p.end = sync.OnceFunc(func() {
		cancel()
		cmd.Wait() //nolint:errcheck // killed
		write.Close()
		<-logged
	})
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			t.Logf("pebble:\n%s", strings.Join(p.log[max(0, len(p.log)-200):], "\n"))
		}
	})
	for _, address := range []string{p.admin, p.api} {
		waitForPort(t, address)
	}
}

func (p *pebble) logged(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(strings.Join(p.log, "\n"), text)
}

func waitForPort(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("pebble does not listen: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// client trusts the API of p.
func (p *pebble) client() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.roots}}}
}

// get fetches a certificate from the management port.
func (p *pebble) get(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	client := p.client()
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+p.admin+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatalf("no certificate at %s: %s", path, b)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serverCertificate makes the certificate of Pebble's API.
func serverCertificate(t *testing.T, dir string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	for name, b := range map[string][]byte{"cert.pem": certPEM, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certPEM
}

// serveZone serves the sink's own zone, which is also the DNS provider.
func serveZone(t *testing.T, name string) (z *zones.Zone, address string) {
	t.Helper()
	z, err := zones.New(zones.Options{
		Zone: name, Slots: 2, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.25")}, PolicyID: "1",
		// Pebble asks over TCP, three times for every name of an order at once.
		Limits: zones.Limits{TCPPerClient: 256},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := zones.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.TCP[0].Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- z.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return z, address
}

// challengesIn returns the TXT records of challenges in a zone.
func challengesIn(t *testing.T, z *zones.Zone) []string {
	t.Helper()
	recs, err := z.GetRecords(t.Context(), zone)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range recs {
		if strings.Contains(r.RR().Name, "_acme-challenge") {
			out = append(out, fmt.Sprint(r))
		}
	}
	return out
}
