//go:build linux

package lab_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// The classes of certificates that receivers show.
const (
	certGood       = "good"         // from the lab's CA, with its intermediate
	certSelf       = "self-signed"  // of nobody
	certExpired    = "expired"      // good until yesterday
	certFuture     = "not yet"      // good from tomorrow on
	certName       = "wrong name"   // good for another host
	certIncomplete = "incomplete"   // good, but the intermediate is not sent
	certPrivate    = "private CA"   // from a CA that nobody trusts; it is sent, too
	certCommonName = "common name"  // names the host in the subject alone
	certWildcard   = "wildcard"     // for *.<domain of the host>
	certOldRoot    = "expired root" // from a CA that was trusted until yesterday
)

// pki makes the certificates of the receivers: a public CA with an
// intermediate, and CAs that nobody trusts.
type pki struct {
	root, intermediate, private, old authority
	now                              time.Time
	serial                           int64
}

type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// identity is a key with the chain that a server sends.
type identity struct {
	key   crypto.Signer
	chain []*x509.Certificate // its own certificate first
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	p := &pki{now: time.Now()}
	ca := func(name string, parent authority, until time.Duration) authority {
		key := newKey(t, false)
		c := p.sign(t, &x509.Certificate{
			Subject:               pkix.Name{Organization: []string{"Lab"}, CommonName: name},
			NotBefore:             p.now.AddDate(-2, 0, 0),
			NotAfter:              p.now.Add(until),
			IsCA:                  true,
			BasicConstraintsValid: true,
			KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}, key, parent)
		return authority{c, key}
	}
	const year = 365 * 24 * time.Hour
	p.root = ca("Lab Root", authority{}, 10*year)
	p.intermediate = ca("Lab Intermediate", p.root, 5*year)
	p.private = ca("Private Root", authority{}, 10*year)
	p.old = ca("Old Root", authority{}, -24*time.Hour)
	return p
}

func newKey(t testing.TB, withRSA bool) crypto.Signer {
	t.Helper()
	if withRSA {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign issues a certificate; without a parent it signs itself.
func (p *pki) sign(t testing.TB, template *x509.Certificate, key crypto.Signer, parent authority) *x509.Certificate {
	t.Helper()
	p.serial++
	template.SerialNumber = big.NewInt(p.serial)
	if parent.cert == nil {
		parent = authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// identity makes a certificate of a class for a host.
func (p *pki) identity(t testing.TB, class, host string, withRSA bool) identity {
	t.Helper()
	key := newKey(t, withRSA)
	leaf := &x509.Certificate{
		Subject:     pkix.Name{CommonName: host},
		DNSNames:    []string{host},
		NotBefore:   p.now.AddDate(0, -1, 0),
		NotAfter:    p.now.AddDate(0, 2, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	parent, sent := p.intermediate, []*x509.Certificate{p.intermediate.cert}
	switch class {
	case certSelf:
		parent, sent = authority{}, nil
	case certExpired:
		leaf.NotAfter = p.now.AddDate(0, 0, -1)
	case certFuture:
		leaf.NotBefore = p.now.AddDate(0, 0, 1)
	case certName:
		leaf.Subject.CommonName, leaf.DNSNames = "other.example", []string{"other.example"}
	case certIncomplete:
		sent = nil
	case certPrivate:
		parent, sent = p.private, []*x509.Certificate{p.private.cert}
	case certCommonName:
		leaf.DNSNames = []string{"other.example"}
	case certWildcard:
		leaf.Subject.CommonName, leaf.DNSNames = "mail", []string{"*" + host[bytes.IndexByte([]byte(host), '.'):]}
	case certOldRoot:
		parent, sent = p.old, []*x509.Certificate{p.old.cert}
	}
	return identity{key, append([]*x509.Certificate{p.sign(t, leaf, key, parent)}, sent...)}
}

// pem is the key and the chain as servers read them.
func (i identity) pem(t testing.TB) (chain, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return pemChain(i.chain...), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func pemChain(chain ...*x509.Certificate) string {
	var out bytes.Buffer
	for _, c := range chain {
		pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) //nolint:errcheck // into memory
	}
	return out.String()
}

// roots are those that the public trusts.
func (p *pki) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.root.cert)
	pool.AddCert(p.old.cert)
	return pool
}
