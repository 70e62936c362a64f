package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	setDefault(&q.Limit, 50)
	setDefault(&q.MostRead, mostRead)
	at, err := cursor(q.Cursor)
	if err != nil {
		return ReportPage{}, err
	}
	page := ReportPage{Reports: []QueueItem{}}
	for left := q.MostRead; ; {
		if err := ctx.Err(); err != nil {
			return page, err
		}
		before, more := left, false
		err := s.view(func(tx *bolt.Tx) error {
			c, head := bucket(tx, bucketQueue).Cursor(), 0
			if q.Pending {
				c, head = bucket(tx, bucketQueueDue).Cursor(), 8
			}
			for k := after(c, at, head); k != nil; k, _ = c.Next() {
				if more = left == 0 || before-left == searchChunk || len(page.Reports) == q.Limit; more {
					return nil
				}
				left--
				at = append(make([]byte, 8-head, 8+len(k)), k...)
				var it QueueItem
				v := bucket(tx, bucketQueue).Get(k[head:])
				if v != nil && s.read(bucketQueue, k[head:], v, 0, &it) && (q.To == "" || strings.EqualFold(it.To, q.To)) {
					page.Reports = append(page.Reports, it)
				}
			}
			return nil
		})
		full := len(page.Reports) == q.Limit
		switch {
		case err != nil || !more:
			return page, err
		case full || left == 0:
			page.Next, page.Cut = cursorOf(at), !full
			return page, nil
		}
	}
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
