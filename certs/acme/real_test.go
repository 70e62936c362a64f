package acme_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	lib "github.com/mholt/acmez/v3/acme"

	"github.com/tlsink/tlsink/certs/acme"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/zones"
)

// lab is an issuer with a real CA that validates against the sink's own zone.
type lab struct {
	*pebble
	zone    *zones.Zone
	state   *memory
	options acme.Options
	ahead   time.Duration // of the issuer's clock
	issuer  *acme.Issuer
}

func newLab(t *testing.T, binary string, config map[string]any, env ...string) *lab {
	t.Helper()
	z, dns := serveZone(t, zone)
	l := &lab{zone: z, pebble: newPebble(t, binary, dns, config, env...), state: &memory{data: make(map[string][]byte)}}
	l.options = acme.Options{
		Directory: l.directory(), Roots: l.roots, TermsAgreed: true, Provider: z, Zone: zone, State: l.state,
		Poll: 100 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Now: func() time.Time { return time.Now().Add(l.ahead) },
	}
	l.restart(t)
	return l
}

func (l *lab) restart(t *testing.T) {
	t.Helper()
	i, err := acme.New(l.options)
	if err != nil {
		t.Fatal(err)
	}
	l.issuer = i
}

func (l *lab) issue(t *testing.T, key crypto.Signer, names ...string) ([][]byte, error) {
	t.Helper()
	chain, err := l.issuer.Issue(t.Context(), names, key)
	if left := challengesIn(t, l.zone); len(left) > 0 {
		t.Errorf("TXT records left: %v", left)
	}
	return chain, err
}

// must issues, and verifies as a sender does.
func (l *lab) must(t *testing.T, key crypto.Signer, names ...string) *x509.Certificate {
	t.Helper()
	chain, err := l.issue(t, key, names...)
	if err != nil {
		t.Fatal(err)
	}
	roots, subs := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(l.get(t, "/roots/0"))
	for _, der := range chain[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		subs.AddCert(c)
	}
	leaf := leafOf(t, chain)
	for _, name := range names {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: subs}); err != nil {
			t.Error(err)
		}
	}
	if same, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !same.Equal(key.Public()) {
		t.Error("the certificate is of another key")
	}
	return leaf
}

// Every certificate of a sink with two slots, of both algorithms, from a CA
// that rejects good nonces now and then, after a try at a staging CA.
func TestPebbleIssuesEverything(t *testing.T) {
	binary := buildPebble(t)
	l := newLab(t, binary, nil)
	staging := newPebble(t, binary, l.dns, nil)
	l.options.Staging = staging.directory()
	l.options.Roots.AppendCertsFromPEM(staging.server)
	l.restart(t)
	keys := map[string]crypto.Signer{"ecdsa": ecdsaKey(t), "rsa": rsaKey(t)}
	leaves := make(map[string]*x509.Certificate)
	for _, id := range scenario.Certificates() {
		if id.Kind != scenario.CA {
			continue
		}
		names := scenario.CertificateNames(zone, 2, id)
		for algorithm, key := range keys {
			leaves[algorithm+" "+names[0]] = l.must(t, key, names...)
		}
	}
	if len(leaves) != 12 { // six faces, two keys each
		t.Errorf("%d certificates, want 12", len(leaves))
	}
	if !staging.logged("Issued certificate") {
		t.Error("nothing was tried at the staging CA")
	}

	old := leaves["ecdsa "+mx05]
	start, end, err := l.issuer.RenewalWindow(t.Context(), old)
	if err != nil || !start.After(old.NotBefore) || !end.Before(old.NotAfter) || !start.Before(end) {
		t.Errorf("renewal window %v to %v of a certificate until %v, error %v", start, end, old.NotAfter, err)
	}
	renewed := l.must(t, keys["ecdsa"], scenario.CertificateNames(zone, 2, scenario.Certificate{Owner: scenario.OwnerMX05, Kind: scenario.CA})...)
	if !slices.Equal(renewed.RawSubjectPublicKeyInfo, old.RawSubjectPublicKeyInfo) || renewed.SerialNumber.Cmp(old.SerialNumber) == 0 {
		t.Error("renewal must make a new certificate of the same key")
	}
	if !l.logged("is a replacement of") {
		t.Error("the CA was not told what is replaced")
	}
	if _, ok := renewed.PublicKey.(*ecdsa.PublicKey); !ok {
		t.Errorf("key %T", renewed.PublicKey)
	}
	if _, ok := leaves["rsa "+mx05].PublicKey.(*rsa.PublicKey); !ok {
		t.Errorf("key %T", leaves["rsa "+mx05].PublicKey)
	}
}

// The names of nine slots, at a CA that takes its time. How long that was is in
// the log.
func TestPebbleManyNames(t *testing.T) {
	l := newLab(t, buildPebble(t), nil, sleepy)
	l.options.Poll = 0 // as in service
	l.restart(t)
	names := scenario.CertificateNames(zone, 9, scenario.Certificate{Owner: scenario.OwnerDefault, Kind: scenario.CA})
	began := time.Now()
	leaf := l.must(t, ecdsaKey(t), names...)
	t.Logf("%d names in %v", len(leaf.DNSNames), time.Since(began))
	if len(leaf.DNSNames) != 54 || !l.logged("Sleeping for 4s seconds before validating") {
		t.Errorf("%d names", len(leaf.DNSNames))
	}
}

func TestPebbleRejectsNonces(t *testing.T) {
	l := newLab(t, buildPebble(t), nil, "PEBBLE_WFE_NONCEREJECT=30")
	l.must(t, ecdsaKey(t), mx05, mx06)
	if !l.logged("Configured to reject 30% of good nonces") {
		t.Error("Pebble did not take its setting")
	}
}

func TestPebbleRefuses(t *testing.T) {
	l := newLab(t, buildPebble(t), map[string]any{"domainBlocklist": []string{"ut.sink.example"}})
	key := ecdsaKey(t)
	_, err := l.issue(t, key, mx05, "ut.sink.example")
	if err == nil || !strings.Contains(err.Error(), "rejectedIdentifier") || !strings.Contains(err.Error(), "ut.sink.example") {
		t.Errorf("error %v", err)
	}
	var w *acme.Wait
	if _, err = l.issue(t, key, mx05, "ut.sink.example"); !errors.As(err, &w) {
		t.Errorf("error %v, want a wait", err)
	}
	l.must(t, key, mx05)
}

// The CA asks a server that knows nothing of our zone: no delegation. The order is
// lost with the first name, while the CA still looks at the other.
func TestPebbleWithoutDelegation(t *testing.T) {
	l := newLab(t, buildPebble(t), nil, sleepy)
	key := ecdsaKey(t)
	_, dns := serveZone(t, "other.example")
	l.end()
	good := l.dns
	l.dns = dns
	l.start(t)
	_, err := l.issue(t, key, mx05, mx06)
	if err == nil || !strings.Contains(err.Error(), mx05) || !strings.Contains(err.Error(), mx06) || !strings.Contains(err.Error(), "tlsink doctor") {
		t.Errorf("error %v", err)
	}
	var w *acme.Wait
	if _, err = l.issue(t, key, mx05, mx06); !errors.As(err, &w) || !strings.Contains(w.Reason, mx05) {
		t.Errorf("error %v, want a wait that tells why", err)
	}
	l.end()
	l.dns = good
	l.start(t)
	l.ahead = 10 * time.Minute
	l.must(t, key, mx05, mx06)
}

// The CA goes away for days, and comes back without its memory of us.
func TestPebbleOutage(t *testing.T) {
	l := newLab(t, buildPebble(t), nil)
	key := ecdsaKey(t)
	old := l.must(t, key, mx05)
	l.end()
	tries := 0
	for end := 5 * 24 * time.Hour; l.ahead < end; l.ahead += 10 * time.Minute {
		_, err := l.issue(t, key, mx05)
		if err == nil || !strings.Contains(err.Error(), "firewall") {
			t.Fatalf("error %v", err)
		}
		if _, waits := errors.AsType[*acme.Wait](err); !waits {
			tries++
		}
		if l.ahead > 12*time.Hour && tries > 5 { // the rest is the same
			l.ahead = 5 * 24 * time.Hour
		}
	}
	if tries > 20 {
		t.Errorf("%d tries in the first twelve hours", tries)
	}
	l.start(t)
	l.restart(t)
	l.ahead += 2 * time.Hour
	renewed := l.must(t, key, mx05)
	if !slices.Equal(renewed.RawSubjectPublicKeyInfo, old.RawSubjectPublicKeyInfo) {
		t.Error("another key")
	}
	if !l.issuer.Issued(renewed) {
		t.Error("not recognized")
	}
}

func TestPebbleReusesAuthorizations(t *testing.T) {
	l := newLab(t, buildPebble(t), nil, "PEBBLE_AUTHZREUSE=100")
	key := ecdsaKey(t)
	l.must(t, key, mx05)
	l.must(t, key, mx05)
	l.must(t, key, mx05, mx06)
}

func TestPebbleAccounts(t *testing.T) {
	mac := base64.RawURLEncoding.EncodeToString([]byte("thirty-two octets of a MAC key .."))
	l := newLab(t, buildPebble(t), map[string]any{
		"externalAccountBindingRequired": true, "externalAccountMACKeys": map[string]string{"kid-1": mac},
	})
	key := ecdsaKey(t)
	if _, err := l.issue(t, key, mx05); err == nil || !strings.Contains(err.Error(), "eab_key_id") {
		t.Errorf("error %v", err)
	}
	l.options.EAB = acme.EAB{KeyID: "kid-1", MACKey: mac}
	l.restart(t)
	if err := l.issuer.Retry(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.must(t, key, mx05)

	l.deactivate(t)
	l.ahead = time.Minute
	_, err := l.issue(t, key, mx05)
	if err == nil || !strings.Contains(err.Error(), "no longer accepted") || !strings.Contains(err.Error(), "SIGHUP") {
		t.Errorf("error %v", err)
	}
	l.ahead = 2 * time.Minute
	if err := l.issuer.Retry(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.must(t, key, mx05)
}

// deactivate ends the account, as its owner may at any time.
func (l *lab) deactivate(t *testing.T) {
	t.Helper()
	for name, b := range l.state.data {
		if !strings.HasSuffix(name, "/account") {
			continue
		}
		var account struct {
			Key []byte
			URL string
		}
		if err := json.Unmarshal(b, &account); err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParsePKCS8PrivateKey(account.Key)
		if err != nil {
			t.Fatal(err)
		}
		client := &lib.Client{Directory: l.directory(), HTTPClient: l.client()}
		if _, err := client.GetDirectory(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := client.UpdateAccount(t.Context(), lib.Account{PrivateKey: parsed.(crypto.Signer), Location: account.URL, Status: lib.StatusDeactivated}); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("no account")
}
