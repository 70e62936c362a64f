package acme

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	lib "github.com/mholt/acmez/v3/acme"
)

const (
	maxChain   = 10
	maxIssuers = 16
	clockSkew  = 5 * time.Minute // some CAs don't backdate
)

// check reads a chain and makes sure that it is what was ordered. names are
// sorted.
func (a *authority) check(chainPEM []byte, names []string, pub crypto.PublicKey) (*product, error) {
	chain, err := parseChain(chainPEM)
	if err != nil {
		return nil, err
	}
	leaf, now := chain[0], a.opts.Now()
	got := make([]string, 0, len(leaf.DNSNames))
	for _, name := range leaf.DNSNames {
		got = append(got, strings.ToLower(name))
	}
	slices.Sort(got)
	same, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !ok || !same.Equal(pub):
		return nil, errors.New("the certificate is of another key")
	case !slices.Equal(got, names):
		return nil, fmt.Errorf("the certificate is for %s instead of %s", clean(strings.Join(got, ", ")), strings.Join(names, ", "))
	case !now.Before(leaf.NotAfter):
		return nil, fmt.Errorf("the certificate expired on %s, and the clock of this host says %s; correct the clock",
			leaf.NotAfter.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore.Add(-clockSkew)):
		return nil, fmt.Errorf("the certificate is valid from %s on, and the clock of this host says %s; correct the clock",
			leaf.NotBefore.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case len(chain) == 1:
		return nil, errors.New("the chain has no intermediate certificate")
	}
	id, err := lib.ARIUniqueIdentifier(leaf)
	if err != nil {
		return nil, err
	}
	p := &product{leaf: leaf, issued: issued{Digest: digest(leaf.Raw), ID: id, NotAfter: leaf.NotAfter}}
	for i, c := range chain {
		// A root is not sent (RFC 8446 §4.4.2).
		if i > 0 && bytes.Equal(c.RawSubject, c.RawIssuer) {
			break
		}
		p.chain = append(p.chain, c.Raw)
	}
	return p, nil
}

// parseChain reads certificates of which each is signed by the next one.
func parseChain(b []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("the chain holds a PEM block %q", clean(block.Type))
		}
		if len(chain) == maxChain {
			return nil, fmt.Errorf("the chain has more than %d certificates", maxChain)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", len(chain)+1, err)
		}
		if n := len(chain); n > 0 {
			if err := chain[n-1].CheckSignatureFrom(c); err != nil {
				return nil, fmt.Errorf("certificate %d of the chain is not signed by the next one: %w", n, err)
			}
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("the chain is empty")
	}
	return chain, nil
}

// fromStaging says why a chain must be of a staging CA, or nothing. known are
// digests of keys that signed there.
func fromStaging(chain [][]byte, known []string) string {
	for _, der := range chain[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			continue
		}
		for _, name := range append([]string{c.Subject.CommonName}, c.Subject.Organization...) {
			if strings.HasPrefix(name, "(STAGING)") { // as those of Let's Encrypt are called
				return fmt.Sprintf("it is issued by %q", clean(name))
			}
		}
		if slices.Contains(known, digest(c.RawSubjectPublicKeyInfo)) {
			return "its issuer also signs at the staging CA"
		}
	}
	return ""
}

// issuersOf returns digests of the keys behind a leaf.
func issuersOf(chain [][]byte) []string {
	var out []string
	for _, der := range chain[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			out = append(out, digest(c.RawSubjectPublicKeyInfo))
		}
	}
	return out
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
