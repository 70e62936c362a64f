package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

const (
	pemKey         = "PRIVATE KEY"
	pemCertificate = "CERTIFICATE"
)

// vault keeps keys and chains in PEM files.
type vault struct{ disk }

// readKey reads a key of the given algorithm; nil if the file does not exist.
func (v vault) readKey(name string, alg KeyAlgorithm) (crypto.Signer, error) {
	b, ok, err := v.read(name)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if !ok {
		return nil, nil
	}
	key, err := parseKey(b, alg)
	if err != nil {
		return nil, fmt.Errorf("key file %q: %w; restore it from a backup, or remove it to get a new key, which changes its TLSA record", v.path(name), err)
	}
	return key, nil
}

func parseKey(b []byte, alg KeyAlgorithm) (crypto.Signer, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != pemKey {
		return nil, fmt.Errorf("no PEM block %q", pemKey)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%T cannot sign", parsed)
	}
	if err := checkKey(key, alg); err != nil {
		return nil, err
	}
	return key, nil
}

// checkKey makes sure that a key is what its name says.
func checkKey(key crypto.Signer, alg KeyAlgorithm) error {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		if alg == ECDSA && k.Curve == elliptic.P256() {
			return nil
		}
	case *rsa.PrivateKey:
		if alg == RSA && k.N.BitLen() >= MinRSABits {
			return nil
		}
	}
	return fmt.Errorf("%T is no %s key of the required size", key, alg)
}

func (v vault) writeKey(name string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return v.write(name, pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), 0o600)
}

// readChain reads a certificate chain, leaf first; nil if the file does not
// exist.
func (v vault) readChain(name string) ([][]byte, error) {
	b, ok, err := v.read(name)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	if !ok {
		return nil, nil
	}
	var chain [][]byte
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemCertificate {
			return nil, fmt.Errorf("certificate file %q: unexpected PEM block %q", v.path(name), block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, fmt.Errorf("certificate file %q: %w; remove it to have the certificate issued again", v.path(name), err)
		}
		chain = append(chain, block.Bytes)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("certificate file %q: no PEM block %q; remove it to have the certificate issued again", v.path(name), pemCertificate)
	}
	return chain, nil
}

func (v vault) writeChain(name string, chain [][]byte) error {
	return v.write(name, encodeChain(chain), 0o644)
}

func encodeChain(chain [][]byte) []byte {
	var out []byte
	for _, der := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})...)
	}
	return out
}
