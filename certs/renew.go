package certs

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/scenario"
)

const (
	// issueTimeout bounds one call of the issuer, so that one certificate never
	// keeps the others waiting for ever.
	issueTimeout = 15 * time.Minute
	askTimeout   = time.Minute
	saveAgain    = 5 * time.Minute
	// notYet is how far in the future a new certificate may begin: some CAs do not
	// backdate, and our clock may be a little behind theirs.
	notYet = 5 * time.Minute
	// longestSleep bounds what is lost when the clock jumps.
	longestSleep = time.Hour
)

// Run renews certificates and goes on with key rolls until ctx ends, then
// returns nil. Failures are logged, kept for Status, and tried again. It is
// called once.
func (s *Store) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.loop(ctx, s.renewKick, s.pass) })
	g.Go(func() error { return s.loop(ctx, s.rollKick, s.advance) })
	return g.Wait()
}

// loop calls step, which returns when it wants to be called again, or when
// kicked.
func (s *Store) loop(ctx context.Context, kicked <-chan struct{}, step func(context.Context) time.Time) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-kicked:
		case <-timer.C:
		}
		wait := step(ctx).Sub(s.opts.Now())
		timer.Reset(min(max(wait, 0), longestSleep))
	}
}

func kick(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// job is a certificate to be issued.
type job struct {
	version
	at      time.Time // not before
	rank    int
	expires time.Time // of what v, or the version in use, has
}

// The ranks of jobs: the first are free, the second are missing, the rest has
// time.
const (
	rankSelfSigned = iota
	rankMissing
	rankRenewal
)

// wanted lists the versions that need a certificate: those in use, and those
// that rolls lead to.
func (s *Store) wanted() []version {
	current := s.current.Load()
	out := make([]version, 0, len(s.entries))
	for _, e := range s.entries {
		out = append(out, current.inUse(e))
		next, step, rolling := current.other(e)
		if _, there := current.pairs[next]; rolling && there && step == phaseAnnounce {
			out = append(out, next)
		}
	}
	return out
}

// jobs lists everything that is wanted, in the order in which it should be
// issued once its time has come.
func (s *Store) jobs() []job {
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.current.Load()
	s.issued = lastWeek(s.issued, now)
	var out []job
	for _, v := range s.wanted() {
		p, inUse := s.plans[v], current.inUse(v.entry)
		j := job{version: v, at: sane(p.Retry, now), rank: rankRenewal}
		if leaf := current.pairs[inUse].cert.Leaf; leaf != nil {
			j.expires = leaf.NotAfter
		}
		if s.valid(v) {
			j.at = later(p.At, j.at)
		} else if v == inUse {
			j.rank = rankMissing
		}
		if v.id.Kind == scenario.SelfSigned {
			j.rank = rankSelfSigned
		} else {
			j.at = later(j.at, sane(s.hold.Until, now))
		}
		out = append(out, j)
	}
	slices.SortStableFunc(out, compareJobs)
	s.spread(out, now)
	return out
}

// spread lets jobs for new names wait for their turn within Options.PerWeek.
func (s *Store) spread(sorted []job, now time.Time) {
	if s.opts.PerWeek == 0 {
		return
	}
	issued := slices.Clone(s.issued)
	for i := range sorted {
		if sorted[i].rank != rankMissing {
			continue
		}
		sorted[i].at = later(sorted[i].at, s.room(issued))
		at := later(now, sorted[i].at)
		place, _ := slices.BinarySearchFunc(issued, at, time.Time.Compare)
		issued = slices.Insert(issued, place, at)
	}
}

// compareJobs orders what is missing so that a CA has not just looked at the
// name of a challenge, which would have to be forgotten first: names come before
// those below them, which CAA lookups climb from (RFC 8659 §3), and all names once
// before the second key of each. What is there goes by its end.
func compareJobs(a, b job) int {
	if c := cmp.Compare(a.rank, b.rank); c != 0 || a.rank == rankSelfSigned {
		return c
	}
	if a.rank == rankRenewal {
		return a.expires.Compare(b.expires)
	}
	order := []scenario.Owner{
		scenario.OwnerService, scenario.OwnerDefault, scenario.OwnerMTASTS,
		scenario.OwnerMX06, scenario.OwnerMX05, scenario.OwnerUT,
	}
	return cmp.Or(
		cmp.Compare(a.alg, b.alg),
		cmp.Compare(slices.Index(order, a.id.Owner), slices.Index(order, b.id.Owner)),
	)
}

// pass issues everything whose time has come, and returns when to come again.
func (s *Store) pass(ctx context.Context) time.Time {
	for ctx.Err() == nil {
		now, jobs := s.opts.Now(), s.jobs()
		i := slices.IndexFunc(jobs, func(j job) bool { return !j.at.After(now) })
		if i < 0 {
			break
		}
		j := jobs[i]
		if err := s.attempt(ctx, j); err != nil && ctx.Err() == nil {
			p := s.failed(ctx, j.version, err)
			have := "none"
			if !j.expires.IsZero() {
				have = "until " + j.expires.UTC().Format(time.RFC3339)
			}
			s.opts.Logger.WarnContext(ctx, "certificate not issued", "certificate", j.String(), "err", err, "present", have, "retry", p.Retry)
		}
	}
	next := s.askWindows(ctx)
	if err := s.flush(); err != nil {
		s.opts.Logger.ErrorContext(ctx, "certificates not stored, they are used all the same", "err", err)
		next = earlier(next, s.opts.Now().Add(saveAgain))
	}
	for _, j := range s.jobs() {
		next = earlier(next, j.at)
	}
	return next
}

// Renew issues now, whatever failed before, every certificate that is missing,
// of other names, not from the issuer, or due. Each new one is used at once. It
// goes on after a failure and returns all failures, each naming the certificate.
// Run does that by itself.
func (s *Store) Renew(ctx context.Context) error { return s.renew(ctx, true) }

func (s *Store) renew(ctx context.Context, all bool) error {
	var errs []error
	waiting, room := 0, time.Time{}
	for _, j := range s.jobs() {
		if !s.due(j) || (!all && j.rank != rankSelfSigned) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, fmt.Errorf("renew certificates: %w", err))...)
		}
		s.mu.Lock()
		room = s.room(s.issued)
		s.mu.Unlock()
		if j.rank == rankMissing && room.After(s.opts.Now()) {
			waiting++
			continue
		}
		if err := s.attempt(ctx, j); err != nil {
			if ctx.Err() == nil {
				s.failed(ctx, j.version, err)
			}
			errs = append(errs, fmt.Errorf("certificate %s: %w", j, err))
		}
	}
	if waiting > 0 {
		errs = append(errs, fmt.Errorf("%d missing certificates have to wait: %d for new names were issued this week, the next one follows on %s",
			waiting, s.opts.PerWeek, room.Format(time.DateTime)))
	}
	return errors.Join(append(errs, s.flush())...)
}

// due reports whether j needs a certificate, whatever failed before.
func (s *Store) due(j job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.valid(j.version) || !s.opts.Now().Before(s.plans[j.version].At)
}

// attempt issues one certificate, and uses it at once, also if the disk does
// not take it: the old one may not hold until it does.
func (s *Store) attempt(ctx context.Context, j job) error {
	s.issuing.Lock()
	defer s.issuing.Unlock()
	p, wanted := s.current.Load().pairs[j.version]
	if !wanted || !s.due(j) {
		return nil // cancelled, or issued while this one waited
	}
	var issuer Issuer = s.self
	if j.id.Kind != scenario.SelfSigned {
		issuer = s.opts.Issuer
	}
	issuing, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	chain, err := issuer.Issue(issuing, s.names(j.version), p.key)
	if err != nil {
		return err
	}
	if p.cert, err = certificate(p.key, chain); err != nil {
		return err
	}
	leaf := p.cert.Leaf
	if err := s.awaitStart(ctx, leaf); err != nil {
		return err
	}
	switch {
	case !sameNames(leaf.DNSNames, s.names(j.version)):
		return fmt.Errorf("issued for %v instead of %v", leaf.DNSNames, s.names(j.version))
	case !holds(leaf, s.opts.Now()):
		return clockError{leaf, s.opts.Now()}
	case !s.recognized(j.version, leaf):
		return errors.New("issued by another CA than the issuer's")
	}
	p.fit, p.partly, p.unsaved = true, false, s.vault.writeChain(j.chainFile(), chain)
	s.adopt(j.version, p)
	s.setPlan(ctx, j.version, planFor(leaf).after(s.opts.Now(), leaf))
	if j.id.Kind != scenario.SelfSigned {
		s.setHold(ctx, hold{})
	}
	if j.rank == rankMissing {
		s.count(ctx)
	}
	s.opts.Logger.DebugContext(ctx, "certificate issued", "certificate", j.String(), "not_after", leaf.NotAfter)
	return nil
}

// awaitStart waits for a new certificate to hold, if that is soon: it would be
// thrown away else, and another one asked for.
func (s *Store) awaitStart(ctx context.Context, leaf *x509.Certificate) error {
	wait := leaf.NotBefore.Sub(s.opts.Now())
	if wait <= 0 || wait > notYet {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// clockError is about a certificate that does not hold when it is issued. That
// is the same for all others, and each counts towards the limits of the CA.
type clockError struct {
	leaf *x509.Certificate
	now  time.Time
}

func (e clockError) Error() string {
	return fmt.Sprintf("issued for %s to %s, but it is %s here: set the clock",
		e.leaf.NotBefore.Format(time.DateTime), e.leaf.NotAfter.Format(time.DateTime), e.now.Format(time.DateTime))
}
func (e clockError) RetryAt() time.Time { return e.now.Add(24 * time.Hour) }
func (e clockError) HoldAll() bool      { return true }

// adopt uses a pair, unless its version was given up meanwhile.
func (s *Store) adopt(v version, p pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, wanted := s.current.Load().pairs[v]
	if !wanted || old.key != p.key {
		return
	}
	s.change(func(next *snapshot) { next.pairs[v] = p })
	kick(s.rollKick)
}

// flush stores the certificates that the disk did not take before.
func (s *Store) flush() error {
	s.issuing.Lock()
	defer s.issuing.Unlock()
	var errs []error
	for v, p := range s.current.Load().pairs {
		if p.unsaved == nil {
			continue
		}
		p.unsaved = s.vault.writeChain(v.chainFile(), p.cert.Certificate)
		s.adopt(v, p)
		if p.unsaved != nil {
			errs = append(errs, p.unsaved)
		}
	}
	return errors.Join(errs...)
}
