package statistics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// State keeps values that survive a restart. It must be safe for concurrent use.
type State interface {
	// Value returns what SetValue stored; ok is false if there is nothing.
	Value(key string) (value []byte, ok bool, err error)
	// SetValue stores value; it is on disk when SetValue returns. nil deletes.
	SetValue(ctx context.Context, key string, value []byte) error
}

// Ended is a test that has ended.
type Ended struct {
	ID     string
	Opened time.Time
}

// Source knows the tests.
type Source interface {
	// Ended returns the tests that were opened since a time and have ended for
	// good. No test that was opened before mark will ever be named again.
	Ended(ctx context.Context, since time.Time) (tests []Ended, mark time.Time, err error)
	// Describe tells of one of them; ok is false if it was deleted meanwhile.
	Describe(ctx context.Context, id string) (t Test, ok bool, err error)
}

// Provider is one that may be named in the provider table.
type Provider struct {
	Name   string
	Domain string // registrable domain of its MX hosts, lower case
}

// Options are what a Collector needs. State, Source and Rand are required.
type Options struct {
	Zone      string
	State     State
	Source    Source
	Providers []Provider
	Interval  time.Duration    // between sweeps; default 10 min
	Batch     int              // tests counted in one sweep at most; default 500
	Rand      io.Reader        // for the key of hashes: crypto/rand
	Now       func() time.Time // default time.Now
	Logger    *slog.Logger     // default: discard
}

func (o *Options) check() error {
	if o.State == nil || o.Source == nil || o.Rand == nil {
		return errors.New("statistics: State, Source and Rand are required")
	}
	if o.Interval <= 0 {
		o.Interval = 10 * time.Minute
	}
	if o.Batch <= 0 {
		o.Batch = 500
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// The keys of values.
const (
	indexKey    = "statistics/index"
	monthPrefix = "statistics/"
)

// maxMonths bounds what is kept.
const maxMonths = 120

// index is what is stored besides the months.
type index struct {
	Key    []byte    `json:"key"`    // of hashes
	Mark   time.Time `json:"mark"`   // nothing that was opened before is still to be counted
	Months []string  `json:"months"` // ascending, e.g. "2026-11"
}

// Collector counts. It is safe for concurrent use.
type Collector struct {
	o      Options
	listed map[string]bool

	sweeping sync.Mutex

	mu     sync.RWMutex
	index  index
	months map[string]*month // never changed once they are here
}

// New reads what was counted before. Its errors name what cannot be read.
func New(ctx context.Context, o Options) (*Collector, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	c := &Collector{o: o, listed: make(map[string]bool), months: make(map[string]*month)}
	for _, p := range o.Providers {
		c.listed[p.Domain] = true
	}
	if err := c.read(indexKey, &c.index); err != nil {
		return nil, err
	}
	for _, name := range c.index.Months {
		m := &month{}
		if err := c.read(monthPrefix+name, m); err != nil {
			return nil, err
		}
		m.init()
		c.months[name] = m
	}
	if len(c.index.Key) == 0 {
		c.index.Key = make([]byte, 32)
		if _, err := io.ReadFull(o.Rand, c.index.Key); err != nil {
			return nil, fmt.Errorf("statistics: random key: %w", err)
		}
		return c, c.write(ctx, indexKey, c.index)
	}
	return c, nil
}

func (c *Collector) read(key string, to any) error {
	b, ok, err := c.o.State.Value(key)
	if err != nil || !ok {
		return err
	}
	if err := json.Unmarshal(b, to); err != nil {
		return fmt.Errorf("statistics: value %q: %w", key, err)
	}
	return nil
}

func (c *Collector) write(ctx context.Context, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("statistics: value %q: %w", key, err)
	}
	return c.o.State.SetValue(ctx, key, b)
}

// Run sweeps until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := c.Sweep(ctx); err != nil && ctx.Err() == nil {
			c.o.Logger.Error("statistics not brought up to date, trying again", "err", err)
		}
		timer.Reset(c.o.Interval)
	}
}

// Sweep counts what has ended since the last time.
func (c *Collector) Sweep(ctx context.Context) error {
	c.sweeping.Lock()
	defer c.sweeping.Unlock()
	next := c.begin()
	tests, mark, err := c.o.Source.Ended(ctx, next.index.Mark)
	if err != nil {
		return err
	}
	slices.SortFunc(tests, func(a, b Ended) int { return a.Opened.Compare(b.Opened) })
	next.publish(c.o.Now().UTC().Format(time.DateOnly))
	if mark, err = next.countAll(ctx, c, tests, mark); err != nil {
		return err
	}
	next.forget() // by the mark of the last sweep: it is on disk
	for name := range next.changed {
		if err := c.write(ctx, monthPrefix+name, next.months[name]); err != nil {
			return err
		}
	}
	if mark.After(next.index.Mark) {
		next.index.Mark = mark
	}
	if err := next.trim(ctx, c); err != nil {
		return err
	}
	if err := c.write(ctx, indexKey, next.index); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index, c.months = next.index, next.months
	return nil
}

// sweep is the state after a sweep, as long as it is not on disk.
type sweep struct {
	index   index
	months  map[string]*month
	changed map[string]bool
}

func (c *Collector) begin() *sweep {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s := &sweep{index: c.index, months: make(map[string]*month), changed: make(map[string]bool)}
	s.index.Months = slices.Clone(c.index.Months)
	for name, m := range c.months {
		s.months[name] = m.clone()
	}
	return s
}

func (s *sweep) publish(day string) {
	for name, m := range s.months {
		if m.publish(day) {
			s.changed[name] = true
		}
	}
}

func (s *sweep) forget() {
	for name, m := range s.months {
		if m.forget(s.index.Mark) {
			s.changed[name] = true
		}
	}
}

// countAll counts tests, the oldest first, and returns how far it came.
func (s *sweep) countAll(ctx context.Context, c *Collector, tests []Ended, mark time.Time) (time.Time, error) {
	n := 0
	for _, e := range tests {
		m, err := s.month(c, e.Opened)
		if err != nil {
			return mark, err
		}
		h := hash(s.index.Key, e.ID)
		if m.has(h) {
			continue
		}
		if n++; n > c.o.Batch || len(m.Seen) >= maxSeen { // the rest comes later
			if e.Opened.Before(mark) {
				mark = e.Opened
			}
			return mark, nil
		}
		t, ok, err := c.o.Source.Describe(ctx, e.ID)
		if err != nil {
			return mark, err
		}
		if !ok {
			continue
		}
		m.count(t, c.listed)
		m.remember(h, e.Opened)
		s.changed[e.Opened.UTC().Format("2006-01")] = true
	}
	return mark, nil
}

// month returns the month of a time. One that the index does not know may be on
// disk all the same: it is written before the index.
func (s *sweep) month(c *Collector, t time.Time) (*month, error) {
	name := t.UTC().Format("2006-01")
	if m := s.months[name]; m != nil {
		return m, nil
	}
	m := &month{}
	if err := c.read(monthPrefix+name, m); err != nil {
		return nil, err
	}
	m.init()
	if m.Day == "" { // nothing is public before tomorrow
		m.Day = c.o.Now().UTC().Format(time.DateOnly)
	}
	s.months[name], s.changed[name] = m, true
	s.index.Months = append(s.index.Months, name)
	slices.SortFunc(s.index.Months, strings.Compare)
	return m, nil
}

// trim drops the oldest months beyond maxMonths.
func (s *sweep) trim(ctx context.Context, c *Collector) error {
	for len(s.index.Months) > maxMonths {
		name := s.index.Months[0]
		if err := c.o.State.SetValue(ctx, monthPrefix+name, nil); err != nil {
			return err
		}
		delete(s.months, name)
		s.index.Months = s.index.Months[1:]
	}
	return nil
}
