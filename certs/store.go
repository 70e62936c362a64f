package certs

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/scenario"
)

// Options are the settings of a Store.
type Options struct {
	Dir    string // empty: everything stays in memory
	Zone   string // required
	Slots  int    // at least 1
	Issuer Issuer // of the certificates that are not self-signed; required

	// DeferIssue makes Open stop after the self-signed certificates. A public
	// CA validates over DNS, and DNS needs the TLSA data first: serve it, then
	// call Renew.
	DeferIssue bool

	KeyAlgorithms []KeyAlgorithm // in order of preference; default ECDSA, RSA
	RSABits       int            // default and minimum 2048
	// GenerateKey makes missing keys, concurrently; default GenerateKey with
	// RSABits.
	GenerateKey func(KeyAlgorithm) (crypto.Signer, error)

	Now    func() time.Time // default time.Now
	Rand   io.Reader        // serial numbers; default crypto/rand
	Logger *slog.Logger     // default: discard
}

func (o *Options) defaults() error {
	o.Zone = scenario.Canonical(o.Zone)
	if o.Zone == "" {
		return errors.New("zone is empty; give the DNS zone of the sink")
	}
	if o.Slots < 1 {
		return fmt.Errorf("slots %d: want at least 1", o.Slots)
	}
	if o.Issuer == nil {
		return errors.New("no issuer")
	}
	if len(o.KeyAlgorithms) == 0 {
		o.KeyAlgorithms = []KeyAlgorithm{ECDSA, RSA}
	}
	if o.RSABits == 0 {
		o.RSABits = MinRSABits
	}
	if o.RSABits < MinRSABits {
		return fmt.Errorf("RSA keys of %d bits: want at least %d", o.RSABits, MinRSABits)
	}
	if o.GenerateKey == nil {
		bits := o.RSABits
		o.GenerateKey = func(alg KeyAlgorithm) (crypto.Signer, error) { return GenerateKey(alg, bits) }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// entry is one key and its certificate.
type entry struct {
	id  scenario.Certificate
	alg KeyAlgorithm
}

// String names the files of e.
func (e entry) String() string {
	return fmt.Sprintf("%d-%s-%s-%s", e.id.Slot, e.id.Owner, e.id.Kind, e.alg)
}

func (e entry) keyFile() string   { return "keys/" + e.String() + ".pem" }
func (e entry) chainFile() string { return "certificates/" + e.String() + ".pem" }

// Store holds the keys and certificates of a sink. All methods are safe for
// concurrent use; readers never wait for a renewal.
type Store struct {
	opts    Options
	files   files
	self    SelfSigned
	entries []entry
	keys    map[entry]crypto.Signer // not changed after Open
	digests map[entry][]byte
	seed    []byte

	renewing sync.Mutex
	current  atomic.Pointer[map[entry]tls.Certificate]
}

// Open loads the keys in Dir, makes the missing ones, loads the certificates
// and issues those that are missing, expired or of other names. It fails if a
// file cannot be used, or if a certificate cannot be issued and there is no
// valid one; an Issuer that fails to renew in time is logged.
func Open(ctx context.Context, o Options) (*Store, error) {
	if err := o.defaults(); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	s := &Store{opts: o, files: files{o.Dir}, self: SelfSigned{Now: o.Now, Rand: o.Rand}}
	for _, id := range scenario.Certificates(o.Slots) {
		for _, alg := range o.KeyAlgorithms {
			s.entries = append(s.entries, entry{id, alg})
		}
	}
	for _, step := range []func() error{s.loadSeed, func() error { return s.loadKeys(ctx) }, s.fillDigests, s.loadChains} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
	}
	if err := s.renew(ctx, !o.DeferIssue); err != nil {
		for _, e := range s.entries {
			if (e.id.Kind == scenario.SelfSigned || !o.DeferIssue) && !s.valid(e) {
				return nil, err
			}
		}
		o.Logger.WarnContext(ctx, "certificates not renewed, old ones are still valid", "err", err)
	}
	return s, nil
}

// loadKeys reads or makes all keys, as many at a time as there are processors.
func (s *Store) loadKeys(ctx context.Context) error {
	keys := make([]crypto.Signer, len(s.entries))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, e := range s.entries {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			key, err := s.loadKey(e)
			keys[i] = key
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	s.keys = make(map[entry]crypto.Signer, len(keys))
	for i, e := range s.entries {
		s.keys[e] = keys[i]
	}
	return nil
}

func (s *Store) loadKey(e entry) (crypto.Signer, error) {
	key, err := s.files.readKey(e.keyFile(), e.alg)
	if key != nil || err != nil {
		return key, err
	}
	if key, err = s.opts.GenerateKey(e.alg); err != nil {
		return nil, fmt.Errorf("make key %s: %w", e, err)
	}
	if err := checkKey(key, e.alg); err != nil {
		return nil, fmt.Errorf("make key %s: %w", e, err)
	}
	if err := s.files.writeKey(e.keyFile(), key); err != nil {
		return nil, err
	}
	return key, nil
}

// loadChains reads the certificates that there are. Those of another key are
// left out, to be issued again.
func (s *Store) loadChains() error {
	loaded := make(map[entry]tls.Certificate)
	for _, e := range s.entries {
		chain, err := s.files.readChain(e.chainFile())
		if err != nil {
			return err
		}
		if chain == nil {
			continue
		}
		c, err := s.certificate(e, chain)
		if err != nil {
			s.opts.Logger.Warn("stored certificate not used", "certificate", e.String(), "err", err)
			continue
		}
		loaded[e] = c
	}
	s.current.Store(&loaded)
	return nil
}

// certificate joins a chain with the key of e.
func (s *Store) certificate(e entry, chain [][]byte) (tls.Certificate, error) {
	if len(chain) == 0 {
		return tls.Certificate{}, errors.New("empty chain")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return tls.Certificate{}, err
	}
	if !sameKey(leaf.PublicKey, s.keys[e].Public()) {
		return tls.Certificate{}, errors.New("certificate is of another key")
	}
	return tls.Certificate{Certificate: chain, PrivateKey: s.keys[e], Leaf: leaf}, nil
}

// Certificates returns the certificates of one identity in order of
// preference: ECDSA first, then RSA. It fails for identities that the sink
// does not have, and while one is not issued yet.
func (s *Store) Certificates(id scenario.Certificate) ([]tls.Certificate, error) {
	current := *s.current.Load()
	out := make([]tls.Certificate, 0, len(s.opts.KeyAlgorithms))
	for _, alg := range s.opts.KeyAlgorithms {
		e := entry{id, alg}
		c, ok := current[e]
		if !ok {
			if _, known := s.keys[e]; known {
				return nil, fmt.Errorf("certificate %s is not issued yet", e)
			}
			return nil, fmt.Errorf("no certificate %s in a sink with %d slots", e, s.opts.Slots)
		}
		out = append(out, c)
	}
	return out, nil
}

// Renew issues every certificate that is missing, of other names, not from
// the issuer, or past two thirds of its life. Each new one is used at once.
// It goes on after a failure and returns all failures, each naming the
// certificate. Call it in a loop, e.g. every hour.
func (s *Store) Renew(ctx context.Context) error { return s.renew(ctx, true) }

func (s *Store) renew(ctx context.Context, all bool) error {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	var errs []error
	for _, e := range s.entries {
		if !s.due(e) || (!all && e.id.Kind != scenario.SelfSigned) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, fmt.Errorf("renew certificates: %w", err))...)
		}
		if err := s.issue(ctx, e); err != nil {
			errs = append(errs, fmt.Errorf("certificate %s: %w", e, err))
		}
	}
	return errors.Join(errs...)
}

// issue gets one certificate, stores it, and only then uses it.
func (s *Store) issue(ctx context.Context, e entry) error {
	var issuer Issuer = s.self
	if e.id.Kind != scenario.SelfSigned {
		issuer = s.opts.Issuer
	}
	chain, err := issuer.Issue(ctx, s.names(e), s.keys[e])
	if err != nil {
		return err
	}
	c, err := s.certificate(e, chain)
	if err != nil {
		return err
	}
	if !sameNames(c.Leaf.DNSNames, s.names(e)) {
		return fmt.Errorf("issued for %v instead of %v", c.Leaf.DNSNames, s.names(e))
	}
	if err := s.files.writeChain(e.chainFile(), chain); err != nil {
		return err
	}
	next := maps.Clone(*s.current.Load())
	next[e] = c
	s.current.Store(&next)
	s.opts.Logger.Debug("certificate issued", "certificate", e.String(), "not_after", c.Leaf.NotAfter)
	return nil
}

func (s *Store) names(e entry) []string {
	return scenario.CertificateNames(s.opts.Zone, s.opts.Slots, e.id)
}

// valid reports whether e has a certificate that can still be shown.
func (s *Store) valid(e entry) bool {
	c, ok := (*s.current.Load())[e]
	return ok && s.opts.Now().Before(c.Leaf.NotAfter) && sameNames(c.Leaf.DNSNames, s.names(e)) && s.recognized(e, c.Leaf)
}

// due reports whether e needs a certificate.
func (s *Store) due(e entry) bool {
	if !s.valid(e) {
		return true
	}
	leaf := (*s.current.Load())[e].Leaf
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return !s.opts.Now().Before(leaf.NotAfter.Add(-life / 3))
}

func (s *Store) recognized(e entry, leaf *x509.Certificate) bool {
	if e.id.Kind == scenario.SelfSigned {
		return true
	}
	r, ok := s.opts.Issuer.(Recognizer)
	return !ok || r.Issued(leaf)
}

func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
