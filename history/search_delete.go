package history

import (
	"context"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// DeleteTest deletes a test, its connections, queries and fetches, and its
// report, also a pending one. It returns the number of records. An open test is
// deleted, too: whoever holds it in memory must forget it first. Connections that
// also carry mail of somebody else stay, without a test.
func (s *Store) DeleteTest(ctx context.Context, id string) (int, error) {
	if err := checkID("test", id); err != nil {
		return 0, err
	}
	n, missing := 0, false
	err := s.do(ctx, func(tx *bolt.Tx) error {
		r, ok := s.test(tx, []byte(id))
		if missing = !ok; missing {
			return nil
		}
		reports, err := s.deleteReports(tx, id)
		if err != nil {
			return err
		}
		rest, err := s.deleteTestAndConnections(tx, id, r.Test.Sender)
		n = reports + rest
		return err
	})
	if err == nil && missing {
		return 0, fmt.Errorf("test %q: %w", id, ErrNotFound)
	}
	return n, err
}

// deleteReports deletes the report of a test, whose ID it has.
func (s *Store) deleteReports(tx *bolt.Tx, id string) (int, error) {
	q, ok := s.queueItem(tx, []byte(id))
	if !ok || q.TestID != id {
		return 0, nil
	}
	return 1, removeQueueItem(tx, id)
}
