package main

import (
	"fmt"
	"time"
)

// spoiled is what senders may have met that somebody else put into the zone.
type spoiled struct {
	what  string
	since time.Time // it may have been there; zero: not known
	until time.Time // caches may have it
}

// spoil notes that senders may have met, since a time and until another one, what
// they must not: no verdict rests on what is seen meanwhile, although it is
// repaired.
func (c *selfCheck) spoil(what string, since, until time.Time) {
	c.mu.Lock()
	if old := c.foreign; old.now() {
		what = old.what
		if old.since.Before(since) {
			since = old.since
		}
		if until.Before(old.until) {
			until = old.until
		}
	}
	c.foreign = spoiled{what, since, until}
	c.mu.Unlock()
	c.decided()
}

func (s spoiled) now() bool { return time.Now().Before(s.until) }

// spoiledNow says what spoils verdicts now.
func (c *selfCheck) spoiledNow() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.foreign.now() {
		return nil
	}
	return fmt.Errorf("%s; caches may have it until %s", c.foreign.what, c.foreign.until.UTC().Format(time.DateTime))
}
