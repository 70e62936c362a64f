package history

import (
	"bytes"
	"context"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// QueueItem is a report that is due, or was sent or given up.
type QueueItem struct {
	ID          string    `json:"id"`
	TestID      string    `json:"test"`
	To          string    `json:"to"`
	Network     string    `json:"network,omitempty"` // of the client that caused it, for limits
	Due         time.Time `json:"due"`
	Created     time.Time `json:"created"`
	Attempts    int       `json:"attempts,omitempty"`
	LastError   string    `json:"last_error,omitempty"`
	Message     []byte    `json:"-"` // the report as sent; empty until rendered
	GaveUp      bool      `json:"gave_up,omitempty"`
	Sent        time.Time `json:"sent,omitzero"`
	LastAttempt time.Time `json:"last_attempt,omitzero"`
}

// Pending reports whether the item still has to be sent.
func (q QueueItem) Pending() bool { return !q.GaveUp && q.Sent.IsZero() }

// putQueueItem inserts a new item if fresh, else overwrites an existing one.
func putQueueItem(q QueueItem, fresh bool) (func(*bolt.Tx) error, error) {
	if err := checkID("queue item", q.ID); err != nil {
		return nil, err
	}
	value, err := encode(nil, q)
	if err != nil {
		return nil, fmt.Errorf("queue item %q: %w", q.ID, err)
	}
	message := append([]byte{valueVersion}, q.Message...)
	return func(tx *bolt.Tx) error {
		key, queue := []byte(q.ID), bucket(tx, bucketQueue)
		if known := queue.Get(key) != nil; known == fresh {
			return nil
		}
		if err := firstError(unindexQueueItem(tx, key), queue.Put(key, value), bucket(tx, bucketQueueMessage).Put(key, message)); err != nil {
			return err
		}
		if !q.Pending() {
			return nil
		}
		return bucket(tx, bucketQueueDue).Put(timeKey(q.Due, q.ID), []byte(q.TestID))
	}, nil
}

func unindexQueueItem(tx *bolt.Tx, key []byte) error {
	var old QueueItem
	v := bucket(tx, bucketQueue).Get(key)
	if v == nil || decode(v, 0, &old) != nil {
		return nil
	}
	return bucket(tx, bucketQueueDue).Delete(timeKey(old.Due, old.ID))
}

func removeQueueItem(tx *bolt.Tx, id string) error {
	key := []byte(id)
	return firstError(
		unindexQueueItem(tx, key),
		bucket(tx, bucketQueue).Delete(key),
		bucket(tx, bucketQueueMessage).Delete(key),
	)
}

// Queue lists all items in order of their ID, without their messages: pending
// ones, and those sent or given up until retention removes them.
func (s *Store) Queue(ctx context.Context) ([]QueueItem, error) {
	var out []QueueItem
	err := s.view(func(tx *bolt.Tx) error {
		return bucket(tx, bucketQueue).ForEach(func(k, v []byte) error {
			var q QueueItem
			if s.read(bucketQueue, k, v, 0, &q) {
				out = append(out, q)
			}
			return ctx.Err()
		})
	})
	return out, err
}

// QueueItem returns one item with its message, or an error that wraps
// ErrNotFound.
func (s *Store) QueueItem(id string) (QueueItem, error) {
	var q QueueItem
	err := s.view(func(tx *bolt.Tx) error {
		var ok bool
		if q, ok = s.queueItem(tx, []byte(id)); !ok {
			return fmt.Errorf("queue item %q: %w", id, ErrNotFound)
		}
		return nil
	})
	return q, err
}

func (s *Store) queueItem(tx *bolt.Tx, id []byte) (QueueItem, bool) {
	var q QueueItem
	v := bucket(tx, bucketQueue).Get(id)
	if v == nil || !s.read(bucketQueue, id, v, 0, &q) {
		return QueueItem{}, false
	}
	if m := bucket(tx, bucketQueueMessage).Get(id); len(m) > 1 {
		q.Message = bytes.Clone(m[1:])
	}
	return q, true
}

// Due returns the pending items whose time has come at now, with their
// messages, the longest due first, at most limit (0: 100).
func (s *Store) Due(now time.Time, limit int) ([]QueueItem, error) {
	setDefault(&limit, 100)
	var out []QueueItem
	err := s.view(func(tx *bolt.Tx) error {
		c := bucket(tx, bucketQueueDue).Cursor()
		for k, _ := c.First(); k != nil && len(out) < limit && !timeOf(k).After(now); k, _ = c.Next() {
			if q, ok := s.queueItem(tx, k[8:]); ok && q.Pending() {
				out = append(out, q)
			}
		}
		return nil
	})
	return out, err
}

// NextDue returns when the next pending item is due; ok is false if none is
// pending.
func (s *Store) NextDue() (due time.Time, ok bool, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		c := bucket(tx, bucketQueueDue).Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			if _, readable := s.queueItem(tx, k[8:]); readable {
				due, ok = timeOf(k), true
				return nil
			}
		}
		return nil
	})
	return due, ok, err
}

// pendingTests returns the tests that a pending item names.
func pendingTests(tx *bolt.Tx) (map[string]bool, error) {
	out := make(map[string]bool)
	err := bucket(tx, bucketQueueDue).ForEach(func(_, v []byte) error {
		out[string(v)] = true
		return nil
	})
	return out, err
}
