package history

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/tlsink/tlsink/evidence"
)

// defaultLimit bounds lists whose caller gave no limit.
const defaultLimit = 10_000

// defaultMargin is how long before the start of a test what was presented
// still matters: an earlier MX order stays in resolvers for its TTL.
const defaultMargin = 2 * time.Minute

// view runs f in a read transaction.
func (s *Store) view(f func(*bolt.Tx) error) error {
	if err := s.db.View(f); err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	return nil
}

// TestFilter selects tests. The zero value selects all.
type TestFilter struct {
	Running bool      // only those that are open, see [TestRecord.Open]
	Since   time.Time // only those opened at or after
	Limit   int       // default 10,000
}

// Tests returns tests, the last opened first.
func (s *Store) Tests(ctx context.Context, f TestFilter) ([]TestRecord, error) {
	setDefault(&f.Limit, defaultLimit)
	var out []TestRecord
	err := s.view(func(tx *bolt.Tx) error {
		if f.Running {
			out = s.openTests(tx, f)
			return ctx.Err()
		}
		c := bucket(tx, bucketTestsTime).Cursor()
		for k, _ := c.Last(); k != nil && len(out) < f.Limit; k, _ = c.Prev() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if timeOf(k).Before(f.Since) {
				break
			}
			if r, ok := s.test(tx, k[8:]); ok && r.Opened.Equal(timeOf(k)) {
				out = append(out, r)
			}
		}
		return nil
	})
	return out, err
}

// openTests reads the index of open tests; there are never many.
func (s *Store) openTests(tx *bolt.Tx, f TestFilter) []TestRecord {
	var out []TestRecord
	for _, id := range keysWith(bucket(tx, bucketTestsOpen), nil) {
		if r, ok := s.test(tx, id); ok && r.Open() && !r.Opened.Before(f.Since) {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b TestRecord) int {
		return cmp.Or(b.Opened.Compare(a.Opened), cmp.Compare(b.Test.ID, a.Test.ID))
	})
	return out[:min(len(out), f.Limit)]
}

func (s *Store) test(tx *bolt.Tx, id []byte) (TestRecord, bool) {
	var r TestRecord
	v := bucket(tx, bucketTests).Get(id)
	return r, v != nil && s.read(bucketTests, id, v, 0, &r)
}

// Test returns the test with the ID, or an error that wraps ErrNotFound.
func (s *Store) Test(id string) (TestRecord, error) {
	var r TestRecord
	err := s.view(func(tx *bolt.Tx) (err error) {
		r, err = s.mustTest(tx, id)
		return err
	})
	return r, err
}

func (s *Store) mustTest(tx *bolt.Tx, id string) (TestRecord, error) {
	r, ok := s.test(tx, []byte(id))
	if !ok {
		return TestRecord{}, fmt.Errorf("test %q: %w", id, ErrNotFound)
	}
	return r, nil
}

// ByCapability returns the test that capability gives access to, or an error
// that wraps ErrNotFound. The error does not repeat the capability.
func (s *Store) ByCapability(capability string) (TestRecord, error) {
	found, err := s.byHash(bucketTestsCapability, capability, func(r TestRecord) bool { return r.Capability == capability })
	switch {
	case err != nil:
		return TestRecord{}, err
	case len(found) == 0 || capability == "":
		return TestRecord{}, fmt.Errorf("test of this capability: %w", ErrNotFound)
	}
	return found[0], nil
}

// ByMessageID returns the tests that a mail with the Message-ID belongs to,
// the last opened first. Message-IDs are chosen by senders: two of them can
// use the same.
func (s *Store) ByMessageID(id string) ([]TestRecord, error) {
	return s.byHash(bucketTestsMessageID, id, func(r TestRecord) bool { return slices.Contains(r.MessageIDs, id) })
}

func (s *Store) byHash(index, text string, match func(TestRecord) bool) ([]TestRecord, error) {
	var out []TestRecord
	err := s.view(func(tx *bolt.Tx) error {
		prefix := hashKey(text, "")
		c := bucket(tx, index).Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && len(out) < defaultLimit; k, _ = c.Next() {
			if r, ok := s.test(tx, k[len(prefix):]); ok && match(r) {
				out = append(out, r)
			}
		}
		return nil
	})
	slices.SortStableFunc(out, func(a, b TestRecord) int { return b.Opened.Compare(a.Opened) })
	return out, err
}

// ConnectionRecord is a connection, with its Attribution, and its test.
type ConnectionRecord struct {
	Connection evidence.Connection
	Test       string // ID; empty if no test has it
}

// ConnectionFilter selects connections. The zero value selects all.
type ConnectionFilter struct {
	From, To   time.Time // started at or after From and before To; zero: no bound
	Unattached bool      // only those that no test has
	Newest     bool      // the last started first
	Limit      int       // default 10,000
}

// Connections returns connections in order of their start.
func (s *Store) Connections(ctx context.Context, f ConnectionFilter) ([]ConnectionRecord, error) {
	setDefault(&f.Limit, defaultLimit)
	var out []ConnectionRecord
	err := s.view(func(tx *bolt.Tx) error {
		c := bucket(tx, bucketConnectionsTime).Cursor()
		k, next := f.start(c), c.Next
		if f.Newest {
			next = c.Prev
		}
		for ; k != nil && len(out) < f.Limit; k, _ = next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			start := timeOf(k)
			if start.Before(f.From) || !f.To.IsZero() && !start.Before(f.To) {
				break
			}
			if f.Unattached && bucket(tx, bucketAttached).Get(k[8:]) != nil {
				continue
			}
			if r, ok := s.connection(tx, k[8:]); ok {
				out = append(out, r)
			}
		}
		return nil
	})
	return out, err
}

// start returns the first key to read.
func (f ConnectionFilter) start(c *bolt.Cursor) []byte {
	var k []byte
	switch {
	case !f.Newest:
		k, _ = c.Seek(appendTime(nil, f.From))
	case f.To.IsZero():
		k, _ = c.Last()
	default:
		if k, _ = c.Seek(appendTime(nil, f.To)); k == nil {
			k, _ = c.Last()
		} else {
			k, _ = c.Prev()
		}
	}
	return k
}

// Connection returns one connection, or an error that wraps ErrNotFound.
func (s *Store) Connection(id evidence.ConnID) (ConnectionRecord, error) {
	var r ConnectionRecord
	err := s.view(func(tx *bolt.Tx) error {
		var ok bool
		if r, ok = s.connection(tx, []byte(id)); !ok {
			return fmt.Errorf("connection %q: %w", id, ErrNotFound)
		}
		return nil
	})
	return r, err
}

func (s *Store) connection(tx *bolt.Tx, id []byte) (ConnectionRecord, bool) {
	var r ConnectionRecord
	v := bucket(tx, bucketConnections).Get(id)
	if v == nil || !s.read(bucketConnections, id, v, 8, &r.Connection) {
		return r, false
	}
	var a attachment
	if v := bucket(tx, bucketAttached).Get(id); v != nil && s.read(bucketAttached, id, v, 0, &a) {
		r.Test, r.Connection.Attribution = a.Test, a.Attribution
	}
	return r, true
}

// History returns the evidence of a test, each kind in order of time: its
// connections with their Attribution, its queries and fetches, and what was
// presented to it. States of the slot and of the test are merged, each
// completed with what the other said last: phase and MX order hold until
// changed. Until is now while the test is open. It fails with ErrNotFound, or
// if the test has more records than Options.HistoryMax.
func (s *Store) History(testID string) (evidence.History, error) {
	var h evidence.History
	err := s.view(func(tx *bolt.Tx) error {
		r, err := s.mustTest(tx, testID)
		if err != nil {
			return err
		}
		h.Test = r.Test
		prefix := prefixKey(testID)
		if err := firstError(
			s.testConnections(tx, prefix, &h),
			collect(s, tx, bucketTestQueries, prefix, &h.Queries),
			collect(s, tx, bucketTestFetches, prefix, &h.Fetches),
			collect(s, tx, bucketTestStates, prefix, &h.States),
			s.slotStates(tx, r, &h),
		); err != nil {
			return fmt.Errorf("test %q: %w", testID, err)
		}
		if r.Open() {
			h.Until = s.opt.Now()
		}
		return nil
	})
	if err != nil {
		return evidence.History{}, err
	}
	slices.SortStableFunc(h.Connections, func(a, b evidence.Connection) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID))
	})
	slices.SortStableFunc(h.States, func(a, b evidence.State) int { return a.Time.Compare(b.Time) })
	carryForward(h.States)
	return h, nil
}

func (s *Store) tooMany(name string, n int) error {
	if n < s.opt.HistoryMax {
		return nil
	}
	return fmt.Errorf("more than %d records in %s", s.opt.HistoryMax, name)
}

func (s *Store) testConnections(tx *bolt.Tx, prefix []byte, h *evidence.History) error {
	c := bucket(tx, bucketTestConnections).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		if err := s.tooMany(bucketTestConnections, len(h.Connections)); err != nil {
			return err
		}
		if r, ok := s.connection(tx, k[len(prefix):]); ok {
			h.Connections = append(h.Connections, r.Connection)
		}
	}
	return nil
}

// collect reads the records under prefix.
func collect[T any](s *Store, tx *bolt.Tx, name string, prefix []byte, to *[]T) error {
	c := bucket(tx, name).Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if err := s.tooMany(name, len(*to)); err != nil {
			return err
		}
		var r T
		if s.read(name, k, v, 0, &r) {
			*to = append(*to, r)
		}
	}
	return nil
}

// slotStates adds what the slot presented during the life of the test, which
// begins with the first connection it adopted.
func (s *Store) slotStates(tx *bolt.Tx, r TestRecord, h *evidence.History) error {
	from, until := r.Opened, time.Time{}
	if !r.Open() {
		until = r.lastActivity()
	}
	for _, c := range h.Connections {
		if c.Start.Before(from) {
			from = c.Start
		}
		if !until.IsZero() && c.End.After(until) {
			until = c.End
		}
	}
	margin := defaultMargin
	if t := r.Test.Timing; t != nil && t.Margin > 0 {
		margin = time.Duration(t.Margin)
	}
	slot := slotKey(r.Test.Slot)
	c := bucket(tx, bucketStates).Cursor()
	k, v := lastBefore(c, slot, from.Add(-margin))
	for ; bytes.HasPrefix(k, slot); k, v = c.Next() {
		if !until.IsZero() && timeOf(k[4:]).After(until) {
			break
		}
		if err := s.tooMany(bucketStates, len(h.States)); err != nil {
			return err
		}
		var state evidence.State
		if s.read(bucketStates, k, v, 0, &state) {
			h.States = append(h.States, state)
		}
	}
	return nil
}

// lastBefore moves c to the last state of the slot before t, which is in force
// at t, or else to the first one.
func lastBefore(c *bolt.Cursor, slot []byte, t time.Time) (k, v []byte) {
	if k, _ = c.Seek(appendTime(bytes.Clone(slot), t)); k == nil {
		k, v = c.Last()
	} else {
		k, v = c.Prev()
	}
	if !bytes.HasPrefix(k, slot) {
		k, v = c.Seek(slot)
	}
	return k, v
}

// carryForward completes states that tell only the phase or only the order. Those
// of tests have a phase, and nothing else; those of slots have none, and tell of
// the zone even before an order is known.
func carryForward(states []evidence.State) {
	for i := 1; i < len(states); i++ {
		before := states[i-1]
		switch s := &states[i]; {
		case s.Phase != "" && s.MX == nil: // a change of phase says nothing about the zone
			before.Time, before.Phase = s.Time, s.Phase
			*s = before
		case s.MX == nil:
			s.Phase, s.MX = before.Phase, before.MX
		case s.Phase == "":
			s.Phase = before.Phase
		}
	}
}
