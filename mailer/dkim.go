package mailer

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/tlsink/tlsink/internal/durable"
)

// keyBits is the size of the RSA key. RSA, since many verifiers do not know
// Ed25519 (RFC 8463); 2048, as RFC 8301 §3.2 recommends.
const keyBits = 2048

// DKIM signs messages with a key of its own. It is safe for concurrent use.
type DKIM struct {
	domain, selector string
	key              *rsa.PrivateKey
}

// OpenDKIM reads the key from path, or makes one and stores it there, readable
// for its owner only. A key that others can read is refused.
func OpenDKIM(domain, selector, path string) (*DKIM, error) {
	if domain == "" || selector == "" {
		return nil, fmt.Errorf("dkim: domain %q and selector %q must both be set", domain, selector)
	}
	key, err := readKey(path)
	if errors.Is(err, os.ErrNotExist) {
		key, err = makeKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("dkim key %q: %w", path, err)
	}
	return &DKIM{domain: domain, selector: selector, key: key}, nil
}

func readKey(path string) (*rsa.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others can read it (mode %v): make it 0600, or delete it for a new one", info.Mode().Perm())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("not a PKCS #8 private key in PEM form; restore it from a backup, or remove it to get a new key, which the zone publishes then")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok || key.N.BitLen() < keyBits {
		return nil, fmt.Errorf("want an RSA key of at least %d bits", keyBits)
	}
	return key, nil
}

// makeKey makes a key and stores it: a crash leaves no half of it behind.
func makeKey(path string) (*rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, durable.Replace(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// Name returns the owner name of the key record, without a trailing dot.
func (d *DKIM) Name() string { return d.selector + "._domainkey." + d.domain }

// TXT returns the key record (RFC 6376 §3.6.1) as one string; in DNS it is
// split into strings of at most 255 octets.
func (d *DKIM) TXT() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(&d.key.PublicKey)
	if err != nil {
		return "", fmt.Errorf("dkim record: %w", err)
	}
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), nil
}

// Sign returns the message with a DKIM-Signature field in front. The time in
// it is the system's.
func (d *DKIM) Sign(message []byte) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(len(message) + 1024)
	err := dkim.Sign(&out, bytes.NewReader(message), &dkim.SignOptions{
		Domain:                 d.domain,
		Selector:               d.selector,
		Signer:                 d.key,
		Hash:                   crypto.SHA256,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed,
		BodyCanonicalization:   dkim.CanonicalizationRelaxed,
		// RFC 6376 §8.15: a field named once more than it occurs cannot be
		// added later.
		HeaderKeys: []string{
			"From", "From", "To", "To", "Subject", "Subject", "Date", "Date", "Message-ID", "In-Reply-To", "References",
			"Auto-Submitted", "MIME-Version", "Content-Type", "Content-Type",
		},
	})
	if err != nil {
		return nil, fmt.Errorf("dkim: sign: %w", err)
	}
	return out.Bytes(), nil
}
