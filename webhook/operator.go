package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrNotPending is in the error of Retry and Drop for a message that does not
// wait any more, or never did.
var ErrNotPending = errors.New("no such message is pending")

// Retry has a pending message sent now. An attempt that is under way goes on, and
// its outcome decides.
func (s *Sender) Retry(ctx context.Context, id string) error {
	return s.change(ctx, id, func(q *queue, i int) { q.Pending[i].Due = s.o.Now() })
}

// Drop gives a pending message up. An attempt that is under way may still deliver
// it.
func (s *Sender) Drop(ctx context.Context, id string) error {
	return s.change(ctx, id, func(q *queue, i int) {
		d := q.Pending[i].delivery()
		d.Due, d.Ended, d.LastError = time.Time{}, s.o.Now(), "dropped by the operator"
		// Who tells of the test again, e.g. after a restart, does not revive it.
		q.Ended = remember(q.Ended, d)
		q.Pending = slices.Delete(q.Pending, i, i+1)
	})
}

func (s *Sender) change(ctx context.Context, id string, f func(q *queue, i int)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.queue.Pending, func(it item) bool { return it.ID == id })
	if i < 0 {
		return fmt.Errorf("webhook message %q: %w", id, ErrNotPending)
	}
	next := queue{Pending: slices.Clone(s.queue.Pending), Ended: s.queue.Ended}
	f(&next, i)
	if err := s.store(ctx, keyQueue, next); err != nil {
		return err
	}
	s.queue = next
	s.wake()
	return nil
}
