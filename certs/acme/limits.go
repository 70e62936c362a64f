package acme

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Limits of what is tried when. Those of Let's Encrypt are at
// https://letsencrypt.org/docs/rate-limits/.
const (
	firstBackoff = 5 * time.Minute // of one certificate, doubling
	lastBackoff  = 24 * time.Hour
	firstOutage  = time.Minute // of a CA that can't be reached, doubling
	lastOutage   = time.Hour
	longestAsk   = 8 * 24 * time.Hour // longest Retry-After; Let's Encrypt: 7 days
	defaultAsk   = time.Hour          // where a rate limit names no time

	// Let's Encrypt stops after 5 failed validations of a name within an hour.
	failureWindow = time.Hour
	maxFailures   = 4
)

// Wait is the error of a call that came too early: the CA was not asked, or has
// just said when it wants to be asked again.
type Wait struct {
	Until  time.Time // when the next call makes sense
	Reason string    // what happened before, or what the CA says
	All    bool      // it is the same for every certificate
}

func (w *Wait) Error() string {
	return fmt.Sprintf("next attempt not before %s: %s", w.Until.UTC().Format(time.RFC3339), w.Reason)
}

// RetryAt returns when the next call makes sense, as package certs wants to know.
func (w *Wait) RetryAt() time.Time { return w.Until }

// HoldAll reports whether that is the same for every certificate.
func (w *Wait) HoldAll() bool { return w.All }

// wait returns the error of a pause that still holds. One that is longer than
// any that is ever begun was begun under a wrong clock.
func (p pause) wait(now time.Time, longest time.Duration) *Wait {
	if !now.Before(p.Until) || p.Until.Sub(now) > longest {
		return nil
	}
	return &Wait{Until: p.Until, Reason: p.Reason}
}

// next returns the pause after one more failure: twice as long, within a
// quarter by chance, so that many installations don't come back together.
func (p pause) next(now time.Time, first, last time.Duration, random io.Reader, reason string) pause {
	d := last
	if p.Failures < 20 {
		d = min(first<<p.Failures, last)
	}
	return pause{Until: now.Add(jitter(d, random)), Reason: reason, Failures: p.Failures + 1}
}

// jitter returns d times 0.75 to 1.25.
func jitter(d time.Duration, random io.Reader) time.Duration {
	var b [8]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return d
	}
	share := float64(binary.BigEndian.Uint64(b[:])>>11) / (1 << 53) // 0 to 1
	return d*3/4 + time.Duration(share*float64(d)/2)
}

// withJitter is the longest that jitter makes of d.
func withJitter(d time.Duration) time.Duration { return d + d/4 }

// waitCA returns an error while the CA as a whole is not to be asked.
func (s *caState) waitCA(now time.Time) *Wait {
	w := s.Asked.wait(now, longestAsk)
	if w == nil {
		w = s.Trouble.wait(now, withJitter(lastBackoff))
	}
	if w != nil {
		w.All = true
	}
	return w
}

// waitNames returns an error while one of names failed too often.
func (s *caState) waitNames(now time.Time, names []string) *Wait {
	for _, name := range names {
		recent := recentFailures(s.Failed[name], now)
		if len(recent) >= maxFailures {
			return &Wait{
				Until:  recent[len(recent)-maxFailures].Add(failureWindow),
				Reason: fmt.Sprintf("%s failed validation %d times within an hour, and the CA allows no more than that; run `tlsink doctor`", name, len(recent)),
			}
		}
	}
	return nil
}

// failed counts a failed validation of each name, and forgets old ones.
func (s *caState) failed(now time.Time, names []string) {
	for name, times := range s.Failed {
		if recent := recentFailures(times, now); len(recent) > 0 {
			s.Failed[name] = recent
		} else {
			delete(s.Failed, name)
		}
	}
	if s.Failed == nil && len(names) > 0 {
		s.Failed = make(map[string][]time.Time)
	}
	for _, name := range names {
		s.Failed[name] = append(s.Failed[name], now)
	}
}

// recentFailures returns the times of the last hour. Future ones are of a clock
// that was wrong.
func recentFailures(times []time.Time, now time.Time) []time.Time {
	var recent []time.Time
	for _, t := range times {
		if age := now.Sub(t); age >= 0 && age < failureWindow {
			recent = append(recent, t)
		}
	}
	return recent
}

// waitCert returns an error while this certificate is not to be ordered: the CA
// said so, or it failed before, under the same settings, and nobody has asked
// since then to try again.
func (s *certState) waitCert(now time.Time, setup string, retry time.Time) *Wait {
	if w := s.Asked.wait(now, longestAsk); w != nil {
		return w
	}
	if s.Setup != setup || !s.At.After(retry) {
		return nil
	}
	return s.Backoff.wait(now, withJitter(lastBackoff))
}
