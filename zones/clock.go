package zones

import (
	"fmt"
	"math"
	"sync"
	"time"
)

const (
	// setBack is how much a clock may go back without being in doubt.
	setBack = 10 * time.Minute
	// longPause is the longest time that a zone is believed to have not run.
	longPause = 2 * 365 * 24 * time.Hour
	// doubtful is how long a clock is in doubt if nothing else is learned.
	doubtful = 24 * time.Hour
)

// earliest is a time that has passed for certain.
func earliest() time.Time { return time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC) }

// watch compares the clock with itself.
type watch struct {
	mu    sync.Mutex
	seen  time.Time     // the latest time that was not in doubt
	last  time.Time     // of the last look
	doubt time.Duration // since the first look that found the clock in doubt
	err   error         // of the last look
}

// look reads the clock: when it is, for signatures; by how much it was set
// since the last look, as far as that can be told; whether a doubt has begun or
// ended.
func (w *watch) look(now time.Time) (when interval, set time.Duration, changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.err
	if !w.last.IsZero() {
		elapsed := now.Sub(w.last) // by the monotonic clock, if now has it
		set = now.Round(0).Sub(w.last.Round(0)) - elapsed
		if before != nil {
			w.doubt += max(0, elapsed)
		}
	}
	w.last = now
	w.err = doubt(now, w.seen)
	if w.err != nil && w.doubt >= doubtful && !now.Before(earliest()) {
		w.seen, w.err = time.Time{}, nil
	}
	when = interval{now, now}
	switch {
	case w.err == nil:
		w.doubt = 0
		if now.After(w.seen) {
			w.seen = now.Round(0)
		}
	case w.seen.IsZero():
	case now.Before(w.seen):
		when.to = w.seen
	default:
		when.from = w.seen
	}
	// RFC 4034 §3.1.5: signature times can't be further apart.
	if when.to.Sub(when.from) > math.MaxInt32*time.Second*3/4 {
		when = interval{w.seen, w.seen}
	}
	return when, set, (before == nil) != (w.err == nil)
}

// sure returns the latest time that was not in doubt.
func (w *watch) sure() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// doubt says what is wrong with the time now, if the zone has run at seen.
func doubt(now, seen time.Time) error {
	const stamp = "2006-01-02 15:04"
	says := now.UTC().Format(stamp)
	switch {
	case now.Before(earliest()):
		return fmt.Errorf("the clock of this host says %s, which is long past: set it, best by NTP; signatures and certificates need it", says)
	case seen.IsZero():
	case now.Before(seen.Add(-setBack)):
		return fmt.Errorf("the clock of this host says %s, but this program has seen %s already: set the clock, best by NTP; if it is right now, this ends by itself within a day",
			says, seen.UTC().Format(stamp))
	case now.After(seen.Add(longPause)):
		return fmt.Errorf("the clock of this host says %s, but this program ran last at %s: set the clock, best by NTP; if it is right now, this ends by itself within a day",
			says, seen.UTC().Format(stamp))
	}
	return nil
}

// ClockProblem says what is wrong with the clock, or returns nil. While there
// is something, signatures are made to hold at both times that may be right.
func (z *Zone) ClockProblem() error {
	z.watch.mu.Lock()
	defer z.watch.mu.Unlock()
	return z.watch.err
}
