package certs

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"github.com/tlsink/tlsink/scenario"
)

// KeyAlgorithm is the algorithm of a key.
type KeyAlgorithm string

// The algorithms: ECDSA on P-256, and RSA.
const (
	ECDSA KeyAlgorithm = "ecdsa"
	RSA   KeyAlgorithm = "rsa"
)

// MinRSABits is the smallest RSA key that is made or read.
const MinRSABits = 2048

// backdate tolerates peers whose clock is behind ours.
const backdate = time.Hour

// Issuer issues certificates: a public CA over ACME, or a stand-in. The key is
// a parameter, so that it survives renewal. Issue returns the chain in DER,
// leaf first, without the root. It may block until ctx ends; the Store calls it
// for one certificate after the other.
type Issuer interface {
	Issue(ctx context.Context, names []string, key crypto.Signer) (chain [][]byte, err error)
}

// Recognizer is an optional ability of an Issuer: Issued reports whether leaf
// came from it. Stored certificates that it does not recognize are issued
// again, e.g. after the local CA was replaced.
type Recognizer interface {
	Issued(leaf *x509.Certificate) bool
}

// Renewer is an optional ability of an Issuer: RenewalWindow returns when leaf
// should be renewed (ARI, RFC 9773). With zero times, or with an error, that is
// at two thirds of its life.
type Renewer interface {
	RenewalWindow(ctx context.Context, leaf *x509.Certificate) (start, end time.Time, err error)
}

// NameLimiter is an optional ability of an Issuer: MaxNames is how many DNS
// names a certificate may have; 0: any number.
type NameLimiter interface{ MaxNames() int }

// An error of Issue may have these methods, which errors.As finds:
//
//	RetryAt() time.Time // it will fail again before that moment
//	HoldAll() bool      // and so will all other certificates
type (
	retryAt interface{ RetryAt() time.Time }
	holdAll interface{ HoldAll() bool }
)

// GenerateKey makes a key from the system's randomness; rsaBits counts for RSA
// only. RSA takes from tens of milliseconds to a second.
func GenerateKey(alg KeyAlgorithm, rsaBits int) (crypto.Signer, error) {
	switch alg {
	case ECDSA:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RSA:
		if rsaBits < MinRSABits {
			return nil, fmt.Errorf("RSA keys of %d bits: want at least %d", rsaBits, MinRSABits)
		}
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return nil, fmt.Errorf("key algorithm %q: want %q or %q", alg, ECDSA, RSA)
}

// leafTemplate returns a server certificate for names.
func leafTemplate(names []string, pub crypto.PublicKey, now time.Time, life time.Duration, random io.Reader) (*x509.Certificate, error) {
	if len(names) == 0 {
		return nil, errors.New("certificate without names")
	}
	serial, err := serialNumber(random)
	if err != nil {
		return nil, err
	}
	usage := x509.KeyUsageDigitalSignature
	if _, ok := pub.(*rsa.PublicKey); ok {
		usage |= x509.KeyUsageKeyEncipherment // old senders without (EC)DHE
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(life),
		KeyUsage:              usage,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              names,
	}
	// RFC 5280 A.1: a common name has at most 64 characters.
	if len(names[0]) <= 64 {
		t.Subject = pkix.Name{CommonName: names[0]}
	}
	return t, nil
}

// serialNumber returns a positive number of at most 128 bits (RFC 5280
// §4.1.2.2).
func serialNumber(random io.Reader) (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b), nil
}

// SelfSigned issues self-signed certificates. Now and Rand are required.
type SelfSigned struct {
	Now      func() time.Time
	Rand     io.Reader     // serial numbers
	Lifetime time.Duration // default 365 days
}

// Issue implements Issuer.
func (s SelfSigned) Issue(_ context.Context, names []string, key crypto.Signer) ([][]byte, error) {
	life := s.Lifetime
	if life == 0 {
		life = 365 * 24 * time.Hour
	}
	t, err := leafTemplate(names, key.Public(), s.Now(), life, s.Rand)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(s.Rand, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("self-signed certificate for %q: %w", names[0], err)
	}
	return [][]byte{der}, nil
}

// LocalCAOptions are the settings of a LocalCA.
type LocalCAOptions struct {
	Dir      string        // holds root-key.pem and root.pem; empty: in memory only
	Zone     string        // required: the root vouches for names in this zone only
	Lifetime time.Duration // of issued certificates; default 90 days
	RSABits  int           // default and minimum 2048
	Now      func() time.Time
	Rand     io.Reader // serial numbers; default crypto/rand
}

// LocalCA is a private CA that takes the public CA's place. Its root is RSA, so
// that senders without ECDSA verify its chains too, and constrained to the
// zone, since people are asked to trust it. Safe for concurrent use if Rand is.
type LocalCA struct {
	opts LocalCAOptions
	key  crypto.Signer
	root *x509.Certificate
}

// rootLife is the lifetime of a new root.
const rootLife = 10 * 365 * 24 * time.Hour

// OpenLocalCA loads the CA in Dir, or creates it.
func OpenLocalCA(o LocalCAOptions) (*LocalCA, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Lifetime == 0 {
		o.Lifetime = 90 * 24 * time.Hour
	}
	if o.RSABits == 0 {
		o.RSABits = MinRSABits
	}
	o.Zone = scenario.Canonical(o.Zone)
	if o.Zone == "" {
		return nil, errors.New("local CA: zone is empty; give the DNS zone of the sink")
	}
	ca := &LocalCA{opts: o}
	if err := ca.load(); err != nil {
		return nil, fmt.Errorf("local CA: %w", err)
	}
	if ca.key == nil {
		if err := ca.create(); err != nil {
			return nil, fmt.Errorf("local CA: %w", err)
		}
	}
	return ca, nil
}

const (
	rootKeyFile = "root-key.pem"
	rootFile    = "root.pem"
)

// load reads key and root; without files it leaves ca empty.
func (ca *LocalCA) load() error {
	f := vault{files{ca.opts.Dir}}
	key, err := f.readKey(rootKeyFile, RSA)
	if err != nil {
		return err
	}
	chain, err := f.readChain(rootFile)
	if err != nil || (key == nil && chain == nil) {
		return err
	}
	if key == nil || chain == nil {
		return fmt.Errorf("directory %q has only one of %s and %s; restore the other, or remove both to get a new root", ca.opts.Dir, rootKeyFile, rootFile)
	}
	root, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return err
	}
	if !sameKey(root.PublicKey, key.Public()) {
		return fmt.Errorf("certificate file %q: not of the key in %s; remove both to get a new root", f.path(rootFile), rootKeyFile)
	}
	if len(root.PermittedDNSDomains) != 1 || root.PermittedDNSDomains[0] != ca.opts.Zone {
		return fmt.Errorf("certificate file %q: root vouches for %v, not for zone %q; remove it and %s to get a new root", f.path(rootFile), root.PermittedDNSDomains, ca.opts.Zone, rootKeyFile)
	}
	if !ca.opts.Now().Before(root.NotAfter) {
		return fmt.Errorf("certificate file %q: root expired on %s; remove it and %s to get a new root", f.path(rootFile), root.NotAfter.Format(time.DateOnly), rootKeyFile)
	}
	ca.key, ca.root = key, root
	return nil
}

func (ca *LocalCA) create() error {
	key, err := GenerateKey(RSA, ca.opts.RSABits)
	if err != nil {
		return err
	}
	serial, err := serialNumber(ca.opts.Rand)
	if err != nil {
		return err
	}
	now := ca.opts.Now()
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"tlsink"}, CommonName: "tlsink local test CA"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(rootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		// RFC 5280 §4.2.1.10.
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{ca.opts.Zone},
	}
	der, err := x509.CreateCertificate(ca.opts.Rand, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	f := vault{files{ca.opts.Dir}}
	if err := f.writeKey(rootKeyFile, key); err != nil {
		return err
	}
	if err := f.writeChain(rootFile, [][]byte{der}); err != nil {
		return err
	}
	ca.key, ca.root = key, root
	return nil
}

// Issue implements Issuer.
func (ca *LocalCA) Issue(ctx context.Context, names []string, key crypto.Signer) ([][]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := ca.opts.Now()
	life := min(ca.opts.Lifetime, ca.root.NotAfter.Sub(now))
	t, err := leafTemplate(names, key.Public(), now, life, ca.opts.Rand)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(ca.opts.Rand, t, ca.root, key.Public(), ca.key)
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %q: %w", names[0], err)
	}
	return [][]byte{der}, nil
}

// Issued implements Recognizer.
func (ca *LocalCA) Issued(leaf *x509.Certificate) bool {
	return leaf.CheckSignatureFrom(ca.root) == nil
}

// RootPEM returns the root certificate in PEM.
func (ca *LocalCA) RootPEM() []byte { return encodeChain([][]byte{ca.root.Raw}) }

// RootFile returns the path of the root certificate; empty without Dir.
func (ca *LocalCA) RootFile() string {
	if ca.opts.Dir == "" {
		return ""
	}
	return files{ca.opts.Dir}.path(rootFile)
}

// Pool returns a pool that holds only the root.
func (ca *LocalCA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.root)
	return p
}

func sameKey(a, b crypto.PublicKey) bool {
	x, errX := x509.MarshalPKIXPublicKey(a)
	y, errY := x509.MarshalPKIXPublicKey(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
