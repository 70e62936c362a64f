package certs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"time"
)

// Reload reads the certificates in Dir again, for those that were put there by
// hand or by a restore. It blocks for no issuer. A file that cannot be used
// changes nothing, and is an error that names it; the others are taken.
func (s *Store) Reload() error {
	if !s.issuing.TryLock() {
		return errors.New("a certificate is being issued now: try again in a minute")
	}
	defer s.issuing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	loaded := make(map[version]pair)
	for v, p := range s.current.Load().pairs {
		if p.unsaved != nil {
			continue // what is on disk is older
		}
		if err := s.reread(v, &p); err != nil {
			errs = append(errs, fmt.Errorf("certificate %s not used: %w", path.Base(v.chainFile()), err))
			continue
		}
		loaded[v] = p
	}
	s.change(func(next *snapshot) { maps.Copy(next.pairs, loaded) })
	return errors.Join(errs...)
}

// reread replaces the certificate of p with the one on disk, if there is one.
func (s *Store) reread(v version, p *pair) error {
	chain, err := s.vault.readChain(v.chainFile())
	if err != nil || chain == nil {
		return err
	}
	cert, err := certificate(p.key, chain)
	switch {
	case err != nil:
		return err
	case p.cert.Leaf != nil && p.cert.Leaf.Equal(cert.Leaf):
		return nil // that in use, whatever it is worth
	case !holds(cert.Leaf, s.opts.Now()):
		return fmt.Errorf("it holds from %s to %s", cert.Leaf.NotBefore.Format(time.DateTime), cert.Leaf.NotAfter.Format(time.DateTime))
	case !sameNames(cert.Leaf.DNSNames, s.names(v)):
		return fmt.Errorf("it is of %v instead of %v", cert.Leaf.DNSNames, s.names(v))
	case !s.recognized(v, cert.Leaf):
		return errors.New("it is of another CA")
	}
	p.cert, p.fit, p.partly = cert, true, false
	return nil
}

// Retry forgets failures and waits: what is due is asked for again at once. It
// is for an operator who has cured the cause. What the issuer itself remembers
// is its own matter.
func (s *Store) Retry(ctx context.Context) {
	s.setHold(ctx, hold{})
	s.mu.Lock()
	again := make(map[version]plan)
	for v, p := range s.plans {
		if p.Failures > 0 || !p.Retry.IsZero() {
			p.Failures, p.Retry = 0, time.Time{}
			again[v] = p
		}
	}
	s.mu.Unlock()
	for v, p := range again {
		s.setPlan(ctx, v, p)
	}
	kick(s.renewKick)
	kick(s.rollKick)
}
