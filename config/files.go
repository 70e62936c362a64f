package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/miekg/dns"

	networks "github.com/tlsink/tlsink/inbound/network"
)

// What files hold that settings, and options of commands, name.

// ReadRoots reads certificates in PEM form.
func ReadRoots(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s: no certificate in it", file)
	}
	return pool, nil
}

// ReadAnchors reads trust anchors: DS or DNSKEY records.
func ReadAnchors(file string) ([]dns.RR, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := dns.NewZoneParser(f, ".", file)
	p.SetDefaultTTL(3600) // as Unbound and keymgr write them, they have none
	var out []dns.RR
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		out = append(out, rr)
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no records", file)
	}
	return out, nil
}

// OpenNetworks reads a table of networks; without a file there is none.
func OpenNetworks(file string) (networks.Lookup, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nothing is looked up
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := networks.Load(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return t, nil
}

// LogLevel reads log.level.
func LogLevel(s string) (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(s))); err != nil {
		return 0, fmt.Errorf("log.level is %q: want debug, info, warn or error", s)
	}
	return l, nil
}

// SystemRoots are the CAs that this host trusts. It is an error if there are
// none: every certificate in the world would seem bad.
func SystemRoots() (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err == nil && !HasRoots(pool) {
		err = errors.New("there are none")
	}
	if err != nil {
		return nil, fmt.Errorf("root certificates of the system: %w; install them (Debian: ca-certificates)", err)
	}
	return pool, nil
}

// HasRoots reports whether there is any CA in pool.
func HasRoots(pool *x509.CertPool) bool { return !pool.Equal(x509.NewCertPool()) }
