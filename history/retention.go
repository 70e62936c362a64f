package history

import (
	"bytes"
	"context"
	"time"

	bolt "go.etcd.io/bbolt"
)

// purgeChunk bounds what one transaction of a purge looks at, so that commits
// of others need not wait for it.
const purgeChunk = 500

// Purge deletes tests whose last activity was before the given time, with
// their connections, queries and fetches; connections without a test that
// started before it; and reports sent or given up before it. Open tests, tests
// whose report is pending, pending reports and the mailbox are kept. It
// returns the number of tests and connections deleted. The file does not
// shrink; its pages are used again.
func (s *Store) Purge(ctx context.Context, before time.Time) (int, error) {
	total := 0
	for _, step := range []func(*bolt.Tx, time.Time, []byte) (purged, error){s.purgeTests, s.purgeConnections, s.purgeQueue, s.purgeStates} {
		n, err := s.inChunks(ctx, func(tx *bolt.Tx, resume []byte) (purged, error) { return step(tx, before, resume) })
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// purged is what one chunk did, and the key to go on at; nil at the end.
type purged struct {
	n      int
	resume []byte
}

func (s *Store) inChunks(ctx context.Context, chunk func(tx *bolt.Tx, resume []byte) (purged, error)) (int, error) {
	total := 0
	for resume := []byte{}; resume != nil; {
		var p purged
		err := s.do(ctx, func(tx *bolt.Tx) (err error) {
			p, err = chunk(tx, resume)
			return err
		})
		if err != nil {
			return total, err
		}
		total += p.n
		resume = p.resume
	}
	return total, nil
}

// chunkOf returns copies of at most purgeChunk keys from resume on, while keep
// says so, and where to resume.
func chunkOf(b *bolt.Bucket, resume []byte, while func(k []byte) bool) (keys [][]byte, next []byte) {
	c := b.Cursor()
	for k, _ := c.Seek(resume); k != nil && while(k); k, _ = c.Next() {
		if len(keys) == purgeChunk {
			return keys, bytes.Clone(k)
		}
		keys = append(keys, bytes.Clone(k))
	}
	return keys, nil
}

func (s *Store) purgeTests(tx *bolt.Tx, before time.Time, resume []byte) (purged, error) {
	pending, err := pendingTests(tx)
	if err != nil {
		return purged{}, err
	}
	keys, next := chunkOf(bucket(tx, bucketTestsTime), resume, func(k []byte) bool { return timeOf(k).Before(before) })
	p := purged{resume: next}
	for _, k := range keys {
		r, ok := s.test(tx, k[8:])
		switch {
		case !ok: // the record cannot be read: nothing else of the test can be found by anyone
			if err := firstError(s.deleteTest(tx, string(k[8:])), bucket(tx, bucketTestsTime).Delete(k)); err != nil {
				return p, err
			}
			continue
		case r.Open(), pending[r.Test.ID], !r.lastActivity().Before(before):
			continue
		}
		n, err := s.deleteTestAndConnections(tx, r.Test.ID, "")
		if err != nil {
			return p, err
		}
		p.n += n
	}
	return p, nil
}

// deleteTestAndConnections returns how many records it deleted.
func (s *Store) deleteTestAndConnections(tx *bolt.Tx, id, sender string) (int, error) {
	n := 1
	prefix := prefixKey(id)
	for _, k := range keysWith(bucket(tx, bucketTestConnections), prefix) {
		conn := k[len(prefix):]
		if err := detach(tx, conn); err != nil {
			return n, err
		}
		if sender != "" {
			if r, ok := s.connection(tx, conn); ok && !onlySender(r.Connection, sender) {
				continue // also carries somebody else's mail
			}
		}
		if err := deleteConnection(tx, conn); err != nil {
			return n, err
		}
		n++
	}
	return n, s.deleteTest(tx, id)
}

func (s *Store) deleteTest(tx *bolt.Tx, id string) error {
	if err := unindexTest(tx, id); err != nil {
		return err
	}
	for _, name := range []string{bucketTestStates, bucketTestQueries, bucketTestFetches, bucketTestConnections} {
		b := bucket(tx, name)
		if err := deleteAll(b, keysWith(b, prefixKey(id))); err != nil {
			return err
		}
	}
	return firstError(
		bucket(tx, bucketTestsOpen).Delete([]byte(id)),
		bucket(tx, bucketAnalyses).Delete([]byte(id)),
		remove(bucket(tx, bucketTests), []byte(id)),
	)
}

func deleteConnection(tx *bolt.Tx, id []byte) error {
	b := ordered(tx, bucketConnections)
	if v := b.Get(id); len(v) >= 9 {
		if err := ordered(tx, bucketConnectionsTime).Delete(append(bytes.Clone(v[1:9]), id...)); err != nil {
			return err
		}
	}
	return firstError(detach(tx, id), remove(b, id))
}

func (s *Store) purgeConnections(tx *bolt.Tx, before time.Time, resume []byte) (purged, error) {
	keys, next := chunkOf(bucket(tx, bucketConnectionsTime), resume, func(k []byte) bool { return timeOf(k).Before(before) })
	p := purged{resume: next}
	for _, k := range keys {
		var a attachment
		v := bucket(tx, bucketAttached).Get(k[8:])
		if v != nil && decode(v, 0, &a) == nil && bucket(tx, bucketTests).Get([]byte(a.Test)) != nil {
			continue // its test is kept
		}
		if err := firstError(deleteConnection(tx, k[8:]), bucket(tx, bucketConnectionsTime).Delete(k)); err != nil {
			return p, err
		}
		p.n++
	}
	return p, nil
}

func (s *Store) purgeQueue(tx *bolt.Tx, before time.Time, resume []byte) (purged, error) {
	keys, next := chunkOf(bucket(tx, bucketQueue), resume, func([]byte) bool { return true })
	p := purged{resume: next}
	for _, k := range keys {
		q, ok := s.queueItem(tx, k)
		if !ok || q.Pending() {
			continue
		}
		last := q.Created
		for _, t := range []time.Time{q.LastAttempt, q.Sent} {
			if t.After(last) {
				last = t
			}
		}
		if last.Before(before) {
			if err := removeQueueItem(tx, q.ID); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// purgeStates deletes states of slots that were over before the oldest test
// that is left began, and before the given time.
func (s *Store) purgeStates(tx *bolt.Tx, before time.Time, resume []byte) (purged, error) {
	if k, _ := bucket(tx, bucketTestsTime).Cursor().First(); k != nil && timeOf(k).Before(before) {
		before = timeOf(k)
	}
	before = before.Add(-24 * time.Hour) // adopted connections and the margin of a test
	b := bucket(tx, bucketStates)
	keys, next := chunkOf(b, resume, func([]byte) bool { return true })
	for i, k := range keys {
		// A state is over when the next one of its slot began.
		following := next
		if i+1 < len(keys) {
			following = keys[i+1]
		}
		if following == nil || !bytes.Equal(following[:4], k[:4]) || !timeOf(following[4:]).Before(before) {
			continue
		}
		if err := b.Delete(k); err != nil {
			return purged{}, err
		}
	}
	return purged{resume: next}, nil
}
