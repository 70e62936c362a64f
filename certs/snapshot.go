package certs

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/scenario"
)

// entry is one key of an identity, whatever its generation.
type entry struct {
	id  scenario.Certificate
	alg KeyAlgorithm
}

func (e entry) String() string { return identityName(e.id) + "-" + string(e.alg) }

// version is one generation of a key; the first one is 0.
type version struct {
	entry
	generation int
}

// String names the files of v.
func (v version) String() string {
	if v.generation == 0 {
		return v.entry.String()
	}
	return v.entry.String() + "." + strconv.Itoa(v.generation)
}

func (v version) keyFile() string   { return "keys/" + v.String() + ".pem" }
func (v version) chainFile() string { return "certificates/" + v.String() + ".pem" }

// pair is a key and its certificate.
type pair struct {
	key     crypto.Signer
	digest  []byte          // SHA2-256 of the SubjectPublicKeyInfo
	cert    tls.Certificate // empty while there is none
	fit     bool            // cert has the right names and comes from the issuer
	partly  bool            // it has those of some slots, and no others
	unsaved error           // why cert is not on disk
}

// snapshot is all that readers see. It is replaced, never changed, so that keys,
// certificates and TLSA data always fit together.
type snapshot struct {
	pairs  map[version]pair
	ledger ledger
}

// inUse returns the version of e that clients meet.
func (n *snapshot) inUse(e entry) version { return version{e, n.ledger.of(e.id).Generation} }

// other returns the version of e that a roll leads to or comes from.
func (n *snapshot) other(e entry) (version, phase, bool) {
	r := n.ledger.of(e.id).Roll
	if r == nil {
		return version{}, "", false
	}
	return version{e, r.Other}, r.Phase, true
}

// change replaces the snapshot. s.mu must be held.
func (s *Store) change(f func(next *snapshot)) {
	old := s.current.Load()
	next := &snapshot{pairs: maps.Clone(old.pairs), ledger: old.ledger}
	f(next)
	s.current.Store(next)
}

// loadKeys reads or makes all keys, as many at a time as there are processors.
// A roll whose other key is lost goes back or on, whichever needs it no more.
func (s *Store) loadKeys(ctx context.Context) error {
	l, err := s.vault.readLedger()
	if err != nil {
		return err
	}
	names, err := s.vault.list("keys")
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	n := &snapshot{ledger: l, pairs: make(map[version]pair)}
	inUse, err := s.eachKey(ctx, func(e entry) (version, crypto.Signer, error) {
		key, err := s.loadKey(n.inUse(e), names)
		return n.inUse(e), key, err
	})
	if err != nil {
		return err
	}
	others, err := s.eachKey(ctx, func(e entry) (version, crypto.Signer, error) {
		v, step, rolling := n.other(e)
		if !rolling || (step != phaseAnnounce && step != phaseSwitched) {
			return v, nil, nil
		}
		key, err := s.vault.readKey(v.keyFile(), v.alg)
		return v, key, err
	})
	if err != nil {
		return err
	}
	for _, id := range scenario.Certificates() {
		s.resume(n, id, others)
	}
	maps.Copy(inUse, others)
	if err := n.add(inUse); err != nil {
		return err
	}
	s.current.Store(n)
	return nil
}

// resume takes up the roll of id where the ledger left it.
func (s *Store) resume(n *snapshot, id scenario.Certificate, others map[version]crypto.Signer) {
	r := n.ledger.of(id)
	if r.Roll == nil {
		return
	}
	s.rolls[id] = &progress{}
	lost := false
	for _, alg := range s.opts.KeyAlgorithms {
		lost = lost || others[version{entry{id, alg}, r.Roll.Other}] == nil
	}
	next := *r.Roll
	switch {
	case !lost:
		return
	case next.Phase == phaseAnnounce:
		s.opts.Logger.Warn("new keys are missing, roll is cancelled", "key", identityName(id))
		next.Phase = phaseCancel
	case next.Phase == phaseSwitched:
		next.Phase = phaseWithdraw
	}
	n.ledger = n.ledger.with(id, record{r.Generation, &next})
	for _, alg := range s.opts.KeyAlgorithms {
		delete(others, version{entry{id, alg}, next.Other})
	}
}

// eachKey calls get for every entry, concurrently, and returns the keys.
func (s *Store) eachKey(ctx context.Context, get func(entry) (version, crypto.Signer, error)) (map[version]crypto.Signer, error) {
	versions, keys := make([]version, len(s.entries)), make([]crypto.Signer, len(s.entries))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, e := range s.entries {
		g.Go(func() (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			versions[i], keys[i], err = get(e)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := make(map[version]crypto.Signer)
	for i, key := range keys {
		if key != nil {
			out[versions[i]] = key
		}
	}
	return out, nil
}

// loadKey reads a key, or makes it. names are the files that there are: a key
// of which only other generations are there got lost with its ledger, and a new
// one would not match what is published.
func (s *Store) loadKey(v version, names []string) (crypto.Signer, error) {
	key, err := s.vault.readKey(v.keyFile(), v.alg)
	if key != nil || err != nil {
		return key, err
	}
	for _, name := range names {
		if stem, ok := strings.CutSuffix(name, ".pem"); ok && (stem == v.entry.String() || strings.HasPrefix(stem, v.entry.String()+".")) {
			return nil, fmt.Errorf("key file %q is missing, but %q is there: %q does not belong to these keys; restore it from the backup that they are from, or remove all files of that key to get a new one, which changes its TLSA record",
				s.vault.path(v.keyFile()), name, s.vault.path(ledgerFile))
		}
	}
	if key, err = s.makeKey(v); err != nil {
		return nil, err
	}
	return key, s.vault.writeKey(v.keyFile(), key)
}

func (s *Store) makeKey(v version) (crypto.Signer, error) {
	key, err := s.opts.GenerateKey(v.alg)
	if err == nil {
		err = checkKey(key, v.alg)
	}
	if err != nil {
		return nil, fmt.Errorf("make key %s: %w", v, err)
	}
	return key, nil
}

// add takes keys into n and refuses those that occur twice: a shared key would
// make faces match that must not.
func (n *snapshot) add(keys map[version]crypto.Signer) error {
	seen := make(map[string]version, len(n.pairs)+len(keys))
	for v, p := range n.pairs {
		seen[string(p.digest)] = v
	}
	for v, key := range keys {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return fmt.Errorf("key %s: %w", v, err)
		}
		sum := sha256.Sum256(der)
		if other, dup := seen[string(sum[:])]; dup {
			return fmt.Errorf("keys %s and %s are the same; remove one of their files to get a new key", v, other)
		}
		seen[string(sum[:])] = v
		n.pairs[v] = pair{key: key, digest: sum[:]}
	}
	return nil
}

// loadChains reads the certificates that there are. Those of another key are
// left out, to be issued again.
func (s *Store) loadChains(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	loaded := make(map[version]pair)
	for v, p := range s.current.Load().pairs {
		chain, err := s.vault.readChain(v.chainFile())
		if err != nil {
			return err
		}
		if chain == nil {
			continue
		}
		if p.cert, err = certificate(p.key, chain); err != nil {
			s.opts.Logger.Warn("stored certificate not used", "certificate", path.Base(v.chainFile()), "err", err)
			continue
		}
		known := s.recognized(v, p.cert.Leaf)
		p.fit = known && sameNames(p.cert.Leaf.DNSNames, s.names(v))
		p.partly = known && s.partOf(v, p.cert.Leaf.DNSNames)
		loaded[v] = p
	}
	s.change(func(next *snapshot) { maps.Copy(next.pairs, loaded) })
	return nil
}

// certificate joins a chain with its key.
func certificate(key crypto.Signer, chain [][]byte) (tls.Certificate, error) {
	if len(chain) == 0 {
		return tls.Certificate{}, errors.New("empty chain")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return tls.Certificate{}, err
	}
	if !sameKey(leaf.PublicKey, key.Public()) {
		return tls.Certificate{}, errors.New("certificate is of another key")
	}
	return tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, nil
}

func (s *Store) names(v version) []string {
	return scenario.CertificateNames(s.opts.Zone, s.opts.Slots, v.id)
}

// partOf reports whether names are those of the face in some slots: of a sink
// that had more or fewer.
func (s *Store) partOf(v version, names []string) bool {
	for _, name := range names {
		t, ok := scenario.Find(s.opts.Zone, name)
		if !ok || name != scenario.FaceName(s.opts.Zone, scenario.Certificate{Slot: t.Slot, Owner: v.id.Owner}) {
			return false
		}
	}
	return len(names) > 0
}

func (s *Store) recognized(v version, leaf *x509.Certificate) bool {
	if v.id.Kind == scenario.SelfSigned {
		return true
	}
	r, ok := s.opts.Issuer.(Recognizer)
	return !ok || r.Issued(leaf)
}

// valid reports whether v has a certificate that can be shown.
func (s *Store) valid(v version) bool {
	p := s.current.Load().pairs[v]
	return p.fit && holds(p.cert.Leaf, s.opts.Now())
}

// holds reports whether leaf is neither expired nor of a future that only a
// wrong clock has seen.
func holds(leaf *x509.Certificate, now time.Time) bool {
	return !now.Before(leaf.NotBefore) && now.Before(leaf.NotAfter)
}

func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
