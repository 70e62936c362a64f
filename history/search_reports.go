package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// ErrSent is in the error of RetryReport for a report that was delivered.
var ErrSent = errors.New("the report was delivered already")

// ReportSearch selects items of the queue.
type ReportSearch struct {
	Pending bool   // only those that still have to be sent, in the order they are due
	To      string // only those to this address

	Cursor   string // ReportPage.Next of the page before
	Limit    int    // default 50
	MostRead int    // after so many items the search stops; default 100,000
}

// ReportPage is a part of the queue: in the order of IDs, or of when they are due.
// The messages are left out.
type ReportPage struct {
	Reports []QueueItem
	Next    string // where the search goes on; empty at its end
	Cut     bool   // MostRead was reached before Limit
}

// Reports returns a page of the queue.
func (s *Store) Reports(ctx context.Context, q ReportSearch) (ReportPage, error) {
	page := ReportPage{Reports: []QueueItem{}}
	places := func(tx *bolt.Tx, at []byte) iter.Seq[[]byte] {
		return func(yield func([]byte) bool) {
			c, head := bucket(tx, bucketQueue).Cursor(), 0
			if q.Pending {
				c, head = bucket(tx, bucketQueueDue).Cursor(), 8
			}
			place := make([]byte, 8-head)
			for k := after(c, at, head); k != nil && yield(append(place, k...)); {
				k, _ = c.Next()
			}
		}
	}
	var err error
	page.Next, page.Cut, err = s.page(ctx, paging{q.Cursor, q.Limit, q.MostRead}, places, func(tx *bolt.Tx, id []byte) bool {
		var it QueueItem
		v := bucket(tx, bucketQueue).Get(id)
		if v == nil || !s.read(bucketQueue, id, v, 0, &it) || q.To != "" && !strings.EqualFold(it.To, q.To) {
			return false
		}
		page.Reports = append(page.Reports, it)
		return true
	})
	return page, err
}

// after moves c behind a place in a list. Places have eight octets before the ID:
// a time, or nothing in buckets that have none in their keys.
func after(c *bolt.Cursor, at []byte, head int) (k []byte) {
	if at == nil {
		k, _ = c.First()
		return k
	}
	at = at[8-head:]
	if k, _ = c.Seek(at); bytes.Equal(k, at) {
		k, _ = c.Next()
	}
	return k
}

// RetryReport makes a report due at a time, also one that was given up. It wraps
// ErrNotFound or ErrSent if there is nothing to send, and returns when that is
// durable. An attempt that is under way goes on.
func (s *Store) RetryReport(ctx context.Context, id string, due time.Time) error {
	var refused error
	err := s.do(ctx, func(tx *bolt.Tx) error {
		q, ok := s.queueItem(tx, []byte(id))
		switch {
		case !ok:
			refused = fmt.Errorf("report %q: %w", id, ErrNotFound)
			return nil
		case !q.Sent.IsZero():
			refused = fmt.Errorf("report %q: %w", id, ErrSent)
			return nil
		}
		refused = nil
		q.GaveUp, q.Due = false, due
		put, err := putQueueItem(q, false)
		if err != nil {
			return err
		}
		return put(tx)
	})
	if err != nil {
		return err
	}
	return refused
}

// Report returns the report of a test without its message, or an error that
// wraps ErrNotFound.
func (s *Store) Report(id string) (QueueItem, error) {
	var q QueueItem
	err := s.view(func(tx *bolt.Tx) error {
		v := bucket(tx, bucketQueue).Get([]byte(id))
		if v == nil || !s.read(bucketQueue, []byte(id), v, 0, &q) {
			return fmt.Errorf("report %q: %w", id, ErrNotFound)
		}
		return nil
	})
	return q, err
}
