//go:build linux

package lab_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const (
	pebbleAddr = "192.0.2.14"
	acmeURL    = "https://" + pebbleAddr + ":14000/dir"

	// caResolverAddr is that of the CA's own resolver: what others ask for must not
	// be in its cache.
	caResolverAddr = "192.0.2.54"
)

// pebble is the public CA of the lab: Let's Encrypt's ACME server for tests. It
// refuses a twentieth of all nonces.
type pebble struct {
	node
	server string // file with the certificate of its API
	roots  string // file with its root certificate
}

const pebbleConf = `{"pebble": {
	"listenAddress": "%[1]s:14000", "managementListenAddress": "%[1]s:15000",
	"certificate": %[2]q, "privateKey": %[3]q,
	"httpPort": 80, "tlsPort": 443, "ocspResponderURL": "",
	"retryAfter": {"authz": 1, "order": 1},
	"profiles": {"default": {"description": "ordinary", "validityPeriod": 7776000}}
}}`

const caUnbound = `server:
	interface: %s
	access-control: 192.0.2.0/24 allow
	directory: %q
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	do-ip6: no
	module-config: "validator iterator"
	infra-host-ttl: 1
remote-control:
	control-enable: no
%s`

// startPebble starts the CA, which validates through a resolver of its own.
func startPebble(ctx context.Context, t *testing.T, upstream string) *pebble {
	t.Helper()
	resolver := newNode(t, "ca-resolver", caResolverAddr)
	resolver.start(t, nil, "unbound", "-d", "-c", resolver.file(t, "unbound.conf", fmt.Sprintf(caUnbound, caResolverAddr, resolver.dir, upstream)))
	p := &pebble{node: newNode(t, "pebble", pebbleAddr)}
	certificate, key := serverCertificate(t, pebbleAddr)
	p.server = p.file(t, "api.pem", certificate)
	config := p.file(t, "pebble.json", fmt.Sprintf(pebbleConf, pebbleAddr, p.server, p.file(t, "api-key.pem", key)))
	d := p.start(t, []string{"PEBBLE_VA_NOSLEEP=1"}, filepath.Join(filepath.Dir(os.Getenv(binaryVar)), "pebble"), "-config", config, "-dnsserver", caResolverAddr+":53")
	keep(t, d.log)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(certificate))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	t.Cleanup(client.CloseIdleConnections)
	await(ctx, t, "Pebble", func(ctx context.Context) error {
		if !d.running() {
			b, _ := os.ReadFile(d.log)
			t.Fatalf("Pebble ended:\n%s", b)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+pebbleAddr+":15000/roots/0", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		root, err := io.ReadAll(resp.Body)
		if err == nil {
			p.roots = p.file(t, "root.pem", string(root))
		}
		return err
	})
	return p
}

// serverCertificate makes a self-signed certificate for an address, in PEM.
func serverCertificate(t *testing.T, addr string) (certificate, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ACME API of the lab"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.ParseIP(addr)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", pkcs8)
}
