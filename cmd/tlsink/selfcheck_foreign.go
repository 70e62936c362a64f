package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// spoiled is what senders may have met that somebody else put into the zone.
type spoiled struct {
	What  string    `json:"what"`
	Since time.Time `json:"since,omitzero"` // it may have been there; zero: not known
	Until time.Time `json:"until"`          // caches may have it
}

// foreignKey is where the store keeps it: caches outlive us.
const foreignKey = "selfcheck/foreign"

func (s spoiled) now() bool { return time.Now().Before(s.Until) }

// with is both.
func (s spoiled) with(other spoiled) spoiled {
	switch {
	case !s.now():
		return other
	case !other.now():
		return s
	}
	if other.Since.Before(s.Since) {
		s.Since = other.Since
	}
	if other.Until.After(s.Until) {
		s.Until = other.Until
	}
	return s
}

// spoil notes that senders may have met, since a time and until another one, what
// they must not: no verdict rests on what is seen meanwhile, although it is
// repaired.
func (c *selfCheck) spoil(what string, since, until time.Time) {
	c.mu.Lock()
	c.foreign = c.foreign.with(spoiled{what, since.Round(0), until.Round(0)})
	c.mu.Unlock()
	c.decided()
}

// spoiledNow says what spoils verdicts now.
func (c *selfCheck) spoiledNow() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.foreign.now() {
		return nil
	}
	return fmt.Errorf("%s; caches may have it until %s", c.foreign.What, c.foreign.Until.UTC().Format(time.DateTime))
}

// loadForeign restores what an earlier process found. c.mu must be held.
func (c *selfCheck) loadForeign() error {
	b, err := values{c.service.store}.Load(foreignKey)
	if err != nil {
		return fmt.Errorf("read what spoils verdicts: %w", err)
	}
	var before spoiled
	if b != nil && json.Unmarshal(b, &before) == nil && before.now() {
		c.foreign, c.foreignKept = before.with(c.foreign), before
	}
	return nil
}

// keepForeign stores it, if it is new.
func (c *selfCheck) keepForeign(ctx context.Context) {
	c.mu.Lock()
	found := c.foreign
	stored := found == c.foreignKept
	c.mu.Unlock()
	if stored {
		return
	}
	b, err := json.Marshal(found)
	if err == nil {
		err = values{c.service.store}.Save(ctx, foreignKey, b)
	}
	if err != nil {
		if ctx.Err() == nil {
			c.service.log.Error("what spoils verdicts could not be stored", "err", err)
		}
		return
	}
	c.mu.Lock()
	c.foreignKept = found
	c.mu.Unlock()
}
