package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFile is the largest file that is read, in octets. Chains of a public CA
// take a few kilobytes.
const maxFile = 256 << 10

const (
	pemKey         = "PRIVATE KEY"
	pemCertificate = "CERTIFICATE"
)

// files reads and writes a directory. With an empty dir it keeps nothing, and
// finds nothing.
type files struct{ dir string }

func (f files) path(name string) string { return filepath.Join(f.dir, name) }

// read returns the content of a file; ok is false if it does not exist.
func (f files) read(name string) (b []byte, ok bool, err error) {
	if f.dir == "" {
		return nil, false, nil
	}
	info, err := os.Stat(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err // names the file
	}
	if info.Size() > maxFile {
		return nil, false, fmt.Errorf("file %q has %d octets, more than %d", f.path(name), info.Size(), maxFile)
	}
	b, err = os.ReadFile(f.path(name))
	return b, err == nil, err
}

// write replaces a file so that after a crash either the old or the new
// content is there.
func (f files) write(name string, b []byte, mode fs.FileMode) error {
	if f.dir == "" {
		return nil
	}
	path := f.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if err == nil {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", path, errors.Join(err, os.Remove(tmp.Name())))
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readKey reads a key of the given algorithm; nil if the file does not exist.
func (f files) readKey(name string, alg KeyAlgorithm) (crypto.Signer, error) {
	b, ok, err := f.read(name)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if !ok {
		return nil, nil
	}
	key, err := parseKey(b, alg)
	if err != nil {
		return nil, fmt.Errorf("key file %q: %w; restore it from a backup, or remove it to get a new key, which changes its TLSA record", f.path(name), err)
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

func (f files) writeKey(name string, key crypto.Signer) error {
	if f.dir == "" {
		return nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return f.write(name, pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), 0o600)
}

// readChain reads a certificate chain, leaf first; nil if the file does not
// exist.
func (f files) readChain(name string) ([][]byte, error) {
	b, ok, err := f.read(name)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	if !ok {
		return nil, nil
	}
	var chain [][]byte
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemCertificate {
			return nil, fmt.Errorf("certificate file %q: unexpected PEM block %q", f.path(name), block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, fmt.Errorf("certificate file %q: %w; remove it to have the certificate issued again", f.path(name), err)
		}
		chain = append(chain, block.Bytes)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("certificate file %q: no PEM block %q; remove it to have the certificate issued again", f.path(name), pemCertificate)
	}
	return chain, nil
}

func (f files) writeChain(name string, chain [][]byte) error {
	return f.write(name, encodeChain(chain), 0o644)
}

func encodeChain(chain [][]byte) []byte {
	var out []byte
	for _, der := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})...)
	}
	return out
}
