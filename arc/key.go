package arc

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Resolver looks up TXT records. Like *net.Resolver, it must honour ctx and
// report a name without records by a *net.DNSError with IsNotFound; every other
// error counts as temporary.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Bounds of RSA keys, in bits: RFC 8301 §3.2; longer keys cost more time than
// anybody needs.
const (
	minRSA = 1024
	maxRSA = 8192
)

// maxKeyRecord is the longest key record that is used, in octets.
const maxKeyRecord = 4096

// temporary is an error after which nothing is known.
type temporary struct{ error }

// keys looks up each key once.
type keys struct {
	r    Resolver
	seen map[string]key
}

type key struct {
	public crypto.PublicKey
	err    error
}

func (k *keys) lookup(ctx context.Context, domain, selector string) (crypto.PublicKey, error) {
	name := selector + "._domainkey." + domain
	one, ok := k.seen[name]
	if !ok {
		one.public, one.err = k.ask(ctx, name)
		k.seen[name] = one
	}
	return one.public, one.err
}

func (k *keys) ask(ctx context.Context, name string) (crypto.PublicKey, error) {
	if !hostname(name) {
		return nil, errors.New("d= and s= make no name")
	}
	if err := ctx.Err(); err != nil {
		return nil, temporary{errors.New("no time left for its key")}
	}
	records, err := k.r.LookupTXT(ctx, name)
	if err != nil {
		if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
			return nil, errors.New("no key at " + name)
		}
		return nil, temporary{errors.New("key could not be looked up at " + name)}
	}
	// RFC 6376 §3.6.2.2: with several records it is undefined which one counts.
	if len(records) != 1 || len(records[0]) > maxKeyRecord {
		return nil, fmt.Errorf("not exactly one key record at %s", name)
	}
	public, err := parseKey(records[0])
	if err != nil {
		return nil, fmt.Errorf("key at %s: %w", name, err)
	}
	return public, nil
}

// hostname reports whether a name is worth a query.
func hostname(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '-' && c != '_' && c != '.' && c < 0x80 {
			return false
		}
	}
	return len(name) <= 253 && !strings.Contains(name, "..")
}

// parseKey reads a key record (RFC 6376 §3.6.1).
func parseKey(record string) (crypto.PublicKey, error) {
	// Records with empty tags are common, and everybody passes over them.
	t, err := parseTags(strings.Join(strings.FieldsFunc(record, func(r rune) bool { return r == ';' }), ";"))
	if err != nil {
		return nil, err
	}
	if v, ok := t["v"]; ok && v != "DKIM1" {
		return nil, errors.New("unknown version")
	}
	if _, ok := t["h"]; ok && !slices.Contains(t.list("h"), "sha256") {
		return nil, errors.New("not for SHA-256")
	}
	if _, ok := t["s"]; ok && !slices.Contains(t.list("s"), "*") && !slices.Contains(t.list("s"), "email") {
		return nil, errors.New("not for mail")
	}
	p, ok := t["p"]
	switch {
	case !ok:
		return nil, errors.New("tag p= is missing")
	case p == "":
		return nil, errors.New("revoked")
	}
	b, err := t.base64("p")
	if err != nil {
		return nil, err
	}
	switch kind := t["k"]; kind {
	case "", "rsa":
		return parseRSA(b)
	case "ed25519":
		// RFC 8463 §4.
		if len(b) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("%d octets are no Ed25519 key", len(b))
		}
		return ed25519.PublicKey(b), nil
	default:
		return nil, errors.New("unknown kind of key")
	}
}

func parseRSA(b []byte) (crypto.PublicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(b)
	if err != nil {
		// Erratum 3017 of RFC 6376: both forms are in use.
		if parsed, err = x509.ParsePKCS1PublicKey(b); err != nil {
			return nil, errors.New("not an RSA key")
		}
	}
	public, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("not an RSA key")
	}
	if bits := public.N.BitLen(); bits < minRSA || bits > maxRSA {
		return nil, fmt.Errorf("RSA with %d bits; want %d to %d", bits, minRSA, maxRSA)
	}
	return public, nil
}

// verify checks a signature of a SHA-256 digest.
func verify(algorithm string, public crypto.PublicKey, digest, signature []byte) error {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if algorithm == "rsa-sha256" {
			if rsa.VerifyPKCS1v15(k, crypto.SHA256, digest, signature) != nil {
				return errors.New("signature does not match")
			}
			return nil
		}
	case ed25519.PublicKey:
		if algorithm == "ed25519-sha256" { // RFC 8463 §3: it signs the digest
			if !ed25519.Verify(k, digest, signature) {
				return errors.New("signature does not match")
			}
			return nil
		}
	}
	return fmt.Errorf("algorithm %q and key do not fit", clip(algorithm, 40))
}
