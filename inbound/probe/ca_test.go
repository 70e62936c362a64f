package probe

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// authority can sign certificates; its key is ECDSA unless it is given one.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func ecdsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// template is valid from a month before now until a month after, for host.
func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now().AddDate(0, -1, 0),
		NotAfter:     now().AddDate(0, 1, 0),
		DNSNames:     []string{host},
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

func caTemplate(name string) *x509.Certificate {
	c := template(name)
	c.DNSNames, c.ExtKeyUsage = nil, nil
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	c.NotBefore, c.NotAfter = now().AddDate(-5, 0, 0), now().AddDate(5, 0, 0)
	return c
}

// sign signs template for a public key; self-signed if a has no certificate.
func (a authority) sign(t testing.TB, template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	parent := a.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func newRoot(t testing.TB, edit ...func(*x509.Certificate)) authority {
	t.Helper()
	a := authority{key: ecdsaKey(t)}
	a.cert = a.sign(t, edited(caTemplate("Test Root"), edit), a.key.Public())
	return a
}

func edited(c *x509.Certificate, edit []func(*x509.Certificate)) *x509.Certificate {
	for _, f := range edit {
		f(c)
	}
	return c
}

func (a authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// intermediate is a CA below a.
func (a authority) intermediate(t testing.TB, edit ...func(*x509.Certificate)) authority {
	t.Helper()
	sub := authority{key: ecdsaKey(t)}
	sub.cert = a.sign(t, edited(caTemplate("Test Intermediate"), edit), sub.key.Public())
	return sub
}

// leaf is a certificate of host.
func (a authority) leaf(t testing.TB, edit ...func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	return a.sign(t, edited(template(host), edit), ecdsaKey(t).Public())
}

// config is that of a TLS server with a certificate of a for key.
func (a authority) config(t testing.TB, key crypto.Signer, edit ...func(*tls.Config)) *tls.Config {
	t.Helper()
	cert := a.sign(t, template(host), key.Public())
	c := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		Time:         func() time.Time { return now() },
	}
	for _, f := range edit {
		f(c)
	}
	return c
}

func versions(lowest, highest uint16) func(*tls.Config) {
	return func(c *tls.Config) { c.MinVersion, c.MaxVersion = lowest, highest }
}

func withSuites(ids ...uint16) func(*tls.Config) {
	return func(c *tls.Config) { c.CipherSuites = ids }
}
