package certs

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/scenario"
)

const (
	firstRetry = 5 * time.Minute
	lastRetry  = 4 * time.Hour
	// farthestRetry bounds what an issuer may ask for: the longest limits of
	// public CAs are weekly.
	farthestRetry = 7 * 24 * time.Hour
	week          = 7 * 24 * time.Hour
	// askEvery is how often the issuer is asked for a renewal window, and
	// askAgain after it did not answer. RFC 9773 §4.3. After askFailures it may
	// be down, and issuing must not wait for it.
	askEvery    = 6 * time.Hour
	askAgain    = time.Hour
	askFailures = 3
	maxError    = 500 // octets of an error that are kept
)

// The keys of Options.State.
const (
	statePlan   = "certs/renewal/" // and the name of the certificate
	stateIssued = "certs/issued"
	stateHold   = "certs/hold"
)

// plan is when a certificate is issued next, and why not earlier.
type plan struct {
	Leaf  string    `json:"leaf,omitempty"` // SHA2-256 of the certificate that is to be renewed
	At    time.Time `json:"at,omitzero"`    // chosen moment of its renewal
	Pause time.Time `json:"pause,omitzero"` // not before, whatever the issuer says
	Start time.Time `json:"start,omitzero"` // window of the issuer
	End   time.Time `json:"end,omitzero"`
	asked time.Time // when it was asked for that

	Failures int       `json:"failures,omitempty"` // since the last success
	Retry    time.Time `json:"retry,omitzero"`     // not before
	Failed   time.Time `json:"failed,omitzero"`
	Error    string    `json:"error,omitempty"`
}

// hold keeps everything from the issuer until it is back.
type hold struct {
	Failures int       `json:"failures"`
	Until    time.Time `json:"until"`
}

// retry is a back-off of something that is not stored.
type retry struct {
	failures int
	at       time.Time
	err      error
}

func (r *retry) fail(now time.Time, err error, first, last time.Duration, random io.Reader) {
	r.failures++
	r.err, r.at = err, now.Add(backoff(r.failures, first, last, random))
}

// backoff doubles from first to last, and is spread over the quarter around.
func backoff(failures int, first, last time.Duration, random io.Reader) time.Duration {
	d := first
	for i := 1; i < failures && d < last; i++ {
		d *= 2
	}
	d = min(d, last)
	return max(d*3/4+uniform(random, d/2), time.Second)
}

// uniform returns a random duration from 0 to d.
func uniform(random io.Reader, d time.Duration) time.Duration {
	var b [8]byte
	if d <= 0 {
		return 0
	}
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return d / 2 // any moment does
	}
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(d+1))
}

// loadPlans takes what Options.State kept, as far as it belongs to the
// certificates that there are, and plans the rest.
func (s *Store) loadPlans(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load(ctx, stateIssued, &s.issued)
	s.load(ctx, stateHold, &s.hold)
	for v, p := range s.current.Load().pairs {
		var stored plan
		if v.id.Kind != scenario.SelfSigned {
			s.load(ctx, statePlan+v.String(), &stored)
		}
		if leaf := p.cert.Leaf; leaf != nil && stored.Leaf != fingerprint(leaf) {
			stored = planFor(leaf)
		}
		s.plans[v] = stored
	}
}

// load reads one value; what cannot be read is not there.
func (s *Store) load(ctx context.Context, key string, to any) {
	if s.opts.State == nil {
		return
	}
	b, err := s.opts.State.Load(key)
	if err == nil && b != nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		s.opts.Logger.WarnContext(ctx, "renewal state not read", "key", key, "err", err)
	}
}

// save keeps one value; nil deletes it. The memory still has it, so a failure
// costs nothing before the next restart.
func (s *Store) save(ctx context.Context, key string, value any) {
	if s.opts.State == nil {
		return
	}
	var b []byte
	var err error
	if value != nil {
		b, err = json.Marshal(value)
	}
	if err == nil {
		err = s.opts.State.Save(context.WithoutCancel(ctx), key, b)
	}
	if err != nil {
		s.opts.Logger.WarnContext(ctx, "renewal state not stored", "key", key, "err", err)
	}
}

// setPlan replaces the plan of v, and keeps it if it came from an issuer.
func (s *Store) setPlan(ctx context.Context, v version, p plan) {
	s.mu.Lock()
	if _, there := s.current.Load().pairs[v]; !there {
		s.mu.Unlock()
		return // cancelled meanwhile
	}
	s.plans[v] = p
	s.mu.Unlock()
	if v.id.Kind != scenario.SelfSigned {
		s.save(ctx, statePlan+v.String(), p)
	}
}

func fingerprint(leaf *x509.Certificate) string {
	sum := sha256.Sum256(leaf.Raw)
	return hex.EncodeToString(sum[:])
}

// planFor plans a renewal at two thirds of the life of leaf.
func planFor(leaf *x509.Certificate) plan {
	return plan{Leaf: fingerprint(leaf), At: leaf.NotAfter.Add(-lifetime(leaf) / 3)}
}

// after makes p the plan of a certificate that was issued now. One that was old
// by then, or that the issuer wants back at once, is not issued in a tight loop.
func (p plan) after(now time.Time, leaf *x509.Certificate) plan {
	p.At = later(p.At, now.Add(leaf.NotAfter.Sub(now)/2))
	p.Pause = now.Add(min(24*time.Hour, leaf.NotAfter.Sub(now)/10))
	return p
}

func lifetime(leaf *x509.Certificate) time.Duration { return leaf.NotAfter.Sub(leaf.NotBefore) }

// within moves the renewal to a random moment of the issuer's window (RFC 9773
// §4.2). A window that was known already keeps the moment that was chosen.
func (p plan) within(start, end time.Time, leaf *x509.Certificate, random io.Reader) plan {
	if start.Equal(p.Start) && end.Equal(p.End) {
		return p
	}
	at := later(planFor(leaf).At, p.Pause)
	if !start.IsZero() {
		at = start.Add(uniform(random, end.Sub(start)))
	}
	// However late the window: time for an outage must be left.
	if latest := leaf.NotAfter.Add(-lifetime(leaf) / 6); at.After(latest) {
		at = latest
	}
	p.Start, p.End, p.At = start, end, later(at, p.Pause)
	return p
}

// askWindows asks the issuer when to renew, and returns when to ask again.
func (s *Store) askWindows(ctx context.Context) time.Time {
	now := s.opts.Now()
	next := now.Add(askEvery)
	renewer, ok := s.opts.Issuer.(Renewer)
	if !ok {
		return next
	}
	failures := 0
	for _, v := range s.longestUnasked() {
		if ctx.Err() != nil {
			break
		}
		s.mu.Lock()
		p := s.plans[v]
		s.mu.Unlock()
		if ask := p.asked.Add(askEvery); ask.After(now) {
			next = earlier(next, ask)
			continue
		}
		err := s.askWindow(ctx, renewer, v, p)
		if err == nil || ctx.Err() != nil {
			continue
		}
		s.opts.Logger.DebugContext(ctx, "renewal window not known", "certificate", v.String(), "err", err)
		s.mu.Lock()
		p.asked = now.Add(askAgain - askEvery)
		s.plans[v] = p
		s.mu.Unlock()
		next = earlier(next, now.Add(askAgain))
		if failures++; failures == askFailures {
			return next // the others' turn comes then
		}
	}
	return next
}

// longestUnasked lists the certificates that have a window, those first that the
// issuer was not asked about for the longest time.
func (s *Store) longestUnasked() []version {
	out := slices.DeleteFunc(s.wanted(), func(v version) bool { return v.id.Kind == scenario.SelfSigned || !s.valid(v) })
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(out, func(a, b version) int { return s.plans[a].asked.Compare(s.plans[b].asked) })
	return out
}

func (s *Store) askWindow(ctx context.Context, renewer Renewer, v version, p plan) error {
	leaf := s.current.Load().pairs[v].cert.Leaf
	if p.Leaf != fingerprint(leaf) {
		return nil // renewed meanwhile
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	start, end, err := renewer.RenewalWindow(asking, leaf)
	if err != nil {
		return err
	}
	if start.IsZero() || end.Before(start) {
		start, end = time.Time{}, time.Time{}
	}
	planned := p.within(start, end, leaf, s.opts.Rand)
	planned.asked = s.opts.Now()
	if planned.At.Equal(p.At) && planned.Start.Equal(p.Start) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.plans[v] = planned
		return nil
	}
	s.setPlan(ctx, v, planned)
	return nil
}

// failed notes that v was not issued, and when to try again.
func (s *Store) failed(ctx context.Context, v version, err error) plan {
	now := s.opts.Now()
	last := lastRetry
	if leaf := s.current.Load().pairs[v].cert.Leaf; leaf != nil && s.valid(v) {
		last = min(last, leaf.NotAfter.Sub(now)/8)
	}
	var all holdAll
	held := errors.As(err, &all) && all.HoldAll()
	s.mu.Lock()
	p, h := s.plans[v], s.hold
	s.mu.Unlock()
	text := err.Error()
	p.Failed, p.Error = now, strings.ToValidUTF8(text[:min(len(text), maxError)], "")
	failures := &p.Failures
	if held {
		failures = &h.Failures
	}
	*failures++
	again := now.Add(backoff(*failures, min(firstRetry, last), last, s.opts.Rand))
	var told retryAt
	if errors.As(err, &told) && told.RetryAt().After(now) {
		again = earlier(told.RetryAt(), now.Add(farthestRetry))
	}
	if held {
		h.Until = again
		s.setHold(ctx, h)
	} else {
		p.Retry = again
	}
	s.setPlan(ctx, v, p)
	if held {
		p.Retry = again // for the log
	}
	return p
}

func (s *Store) setHold(ctx context.Context, h hold) {
	s.mu.Lock()
	changed := s.hold != h
	s.hold = h
	s.mu.Unlock()
	if changed {
		s.save(ctx, stateHold, h)
	}
}

// count notes that a certificate for new names was issued.
func (s *Store) count(ctx context.Context) {
	if s.opts.PerWeek == 0 {
		return
	}
	now := s.opts.Now()
	s.mu.Lock()
	s.issued = append(lastWeek(s.issued, now), now)
	recent := s.issued
	s.mu.Unlock()
	s.save(ctx, stateIssued, recent)
}

// lastWeek drops what no limit counts any more, or was noted under a wrong
// clock.
func lastWeek(issued []time.Time, now time.Time) []time.Time {
	var recent []time.Time
	for _, t := range issued {
		if now.Sub(t) < week && !t.After(now) {
			recent = append(recent, t)
		}
	}
	return recent
}

// sane returns a moment to wait for, unless only a wrong clock can have set it.
func sane(t, now time.Time) time.Time {
	if t.After(now.Add(farthestRetry)) {
		return time.Time{}
	}
	return t
}

// room returns when the next certificate for new names may be issued, if those
// of issued, in their order, were.
func (s *Store) room(issued []time.Time) time.Time {
	if s.opts.PerWeek == 0 || len(issued) < s.opts.PerWeek {
		return time.Time{}
	}
	return issued[len(issued)-s.opts.PerWeek].Add(week)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
