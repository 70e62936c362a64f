package certs

import (
	"context"
	"fmt"
	"time"

	"github.com/tlsink/tlsink/scenario"
)

const (
	firstPublish = 5 * time.Second
	lastPublish  = 5 * time.Minute
	// publishTimeout bounds one call of Publish.
	publishTimeout = 15 * time.Minute
)

// RollPhase says what a key roll waits for.
type RollPhase string

// The phases of a roll, in their order; RollCancelling only follows the first
// three.
const (
	NoRoll          RollPhase = ""
	RollPublishing  RollPhase = "publishing"  // TLSA data of the new key
	RollWaiting     RollPhase = "waiting"     // until all caches have them
	RollCertificate RollPhase = "certificate" // until the issuer gives one for the new key
	RollSwitched    RollPhase = "switched"    // new key in use; until nobody uses the old one
	RollWithdrawing RollPhase = "withdrawing" // TLSA data of the old key
	RollCancelling  RollPhase = "cancelling"  // withdrawing TLSA data of the new key
)

// progress is how far a roll is within its stored phase. A change of phase
// replaces it.
type progress struct {
	since time.Time // the servers have the TLSA data of this phase; zero: not known
	retry retry     // of a disk that does not take the next step
}

// phase returns the phase of the roll of id. s.mu must be held.
func (s *Store) phase(id scenario.Certificate) RollPhase {
	current := s.current.Load()
	r, p := current.ledger.of(id).Roll, s.rolls[id]
	if r == nil || p == nil {
		return NoRoll
	}
	switch r.Phase {
	case phaseSwitched:
		return RollSwitched
	case phaseWithdraw:
		return RollWithdrawing
	case phaseCancel:
		return RollCancelling
	case phaseAnnounce:
	}
	switch {
	case !published(id):
		return RollCertificate
	case p.since.IsZero():
		return RollPublishing
	case s.opts.Now().Sub(p.since) < s.opts.RollWaitNow():
		return RollWaiting
	}
	return RollCertificate
}

// advance does what rolls can do now, and returns when to come again.
func (s *Store) advance(ctx context.Context) time.Time {
	for ctx.Err() == nil {
		next := s.publishChanges(ctx)
		moved := false
		for _, id := range scenario.Certificates() {
			at, step := s.step(ctx, id)
			moved = moved || step
			next = earlier(next, at)
		}
		if !moved {
			return next
		}
	}
	return s.opts.Now()
}

// publishChanges calls Publish if a phase began that changed TLSA data. What is
// known to be published afterwards is what had been changed before.
func (s *Store) publishChanges(ctx context.Context) time.Time {
	now := s.opts.Now()
	next := now.Add(longestSleep)
	s.mu.Lock()
	var waiting []*progress
	for id, p := range s.rolls {
		if published(id) && p.since.IsZero() {
			waiting = append(waiting, p)
		}
	}
	again := s.publish.at
	s.mu.Unlock()
	if len(waiting) == 0 {
		return next
	}
	if again.After(now) {
		return earlier(next, again)
	}
	publishing, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	err := s.opts.Publish(publishing)
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.opts.Now()
	if err != nil {
		if ctx.Err() != nil {
			return next
		}
		s.publish.fail(now, fmt.Errorf("publish TLSA records: %w", err), firstPublish, lastPublish, s.opts.Rand)
		s.opts.Logger.WarnContext(ctx, "TLSA records not published", "err", err, "retry", s.publish.at)
		return earlier(next, s.publish.at)
	}
	s.publish = retry{}
	for _, p := range waiting {
		p.since = now
	}
	return next
}

// step takes the roll of id one phase on if its time has come; else it returns
// when that is.
func (s *Store) step(ctx context.Context, id scenario.Certificate) (next time.Time, moved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Now()
	r, p := s.current.Load().ledger.of(id), s.rolls[id]
	if r.Roll == nil || p == nil {
		return now.Add(longestSleep), false
	}
	if at := s.ready(id, r.Roll.Phase, p, now); at.After(now) {
		return at, false
	}
	if p.retry.at.After(now) {
		return p.retry.at, false
	}
	var err error
	switch r.Roll.Phase {
	case phaseAnnounce: // Switch: key and certificate, of both algorithms.
		err = s.enter(ctx, id, record{r.Roll.Other, &roll{phaseSwitched, r.Generation, r.Roll.Started}})
	case phaseSwitched:
		err = s.enter(ctx, id, record{r.Generation, &roll{phaseWithdraw, r.Roll.Other, r.Roll.Started}})
	case phaseWithdraw, phaseCancel:
		err = s.finish(ctx, id, r)
	}
	if err != nil {
		p.retry.fail(now, err, firstRetry, longestSleep, s.opts.Rand)
		s.opts.Logger.WarnContext(ctx, "key roll waits for the disk", "key", identityName(id), "err", err, "retry", p.retry.at)
		return p.retry.at, false
	}
	return now, true
}

// ready returns when the phase of a roll is over: long from now while that
// depends on something else, which kicks.
func (s *Store) ready(id scenario.Certificate, step phase, p *progress, now time.Time) time.Time {
	if published(id) && p.since.IsZero() {
		return now.Add(longestSleep)
	}
	switch step {
	case phaseAnnounce:
		if published(id) && now.Sub(p.since) < s.opts.RollWaitNow() {
			return p.since.Add(s.opts.RollWaitNow())
		}
		current := s.current.Load()
		for _, alg := range s.opts.KeyAlgorithms {
			if v, _, _ := current.other(entry{id, alg}); !s.valid(v) {
				return now.Add(longestSleep)
			}
		}
	case phaseSwitched:
		if published(id) && now.Sub(p.since) < s.opts.RollWaitNow() {
			return p.since.Add(s.opts.RollWaitNow())
		}
	case phaseWithdraw, phaseCancel:
	}
	return now
}

// enter writes down the next phase, and only then lets clients see it.
func (s *Store) enter(ctx context.Context, id scenario.Certificate, r record) error {
	l := s.current.Load().ledger.with(id, r)
	if err := s.vault.writeLedger(l); err != nil {
		return err
	}
	s.change(func(n *snapshot) {
		n.ledger = l
		if r.Roll.Phase == phaseWithdraw {
			s.drop(n, id, r.Roll.Other)
		}
	})
	s.rolls[id] = &progress{}
	if r.Roll.Phase == phaseSwitched {
		s.rolls[id].since = s.opts.Now() // the TLSA data did not change
	}
	s.opts.Logger.InfoContext(ctx, "key roll goes on", "key", identityName(id), "phase", string(s.phase(id)))
	return nil
}

// finish removes the files that nothing needs any more, then ends the roll. In
// that order: a crash between is a roll that finishes once more.
func (s *Store) finish(ctx context.Context, id scenario.Certificate, r record) error {
	for _, alg := range s.opts.KeyAlgorithms {
		v := version{entry{id, alg}, r.Roll.Other}
		for _, file := range []string{v.keyFile(), v.chainFile()} {
			if err := s.vault.remove(file); err != nil {
				return err
			}
		}
	}
	l := s.current.Load().ledger.with(id, record{Generation: r.Generation})
	if err := s.vault.writeLedger(l); err != nil {
		return err
	}
	s.change(func(n *snapshot) { n.ledger = l })
	delete(s.rolls, id)
	for _, alg := range s.opts.KeyAlgorithms {
		s.save(ctx, statePlan+version{entry{id, alg}, r.Roll.Other}.String(), nil)
	}
	s.opts.Logger.InfoContext(ctx, "key roll ended", "key", identityName(id), "generation", r.Generation)
	return nil
}
