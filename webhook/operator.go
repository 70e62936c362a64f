package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrNotPending is in the error of Retry and Drop for a message that does not
// wait any more, or never did.
var ErrNotPending = errors.New("no such message is pending")

// Retry has a pending message sent now. An attempt that is under way goes on, and
// its outcome decides.
func (s *Sender) Retry(ctx context.Context, id string) error {
	return s.change(ctx, id, func(pending []item, i int) []item {
		pending[i].Due = s.o.Now()
		return pending
	})
}

// Drop gives a pending message up. An attempt that is under way may still deliver
// it.
func (s *Sender) Drop(ctx context.Context, id string) error {
	return s.change(ctx, id, func(pending []item, i int) []item { return slices.Delete(pending, i, i+1) })
}

func (s *Sender) change(ctx context.Context, id string, f func(pending []item, i int) []item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.queue.Pending, func(it item) bool { return it.ID == id })
	if i < 0 {
		return fmt.Errorf("webhook message %q: %w", id, ErrNotPending)
	}
	next := queue{Pending: f(slices.Clone(s.queue.Pending), i), Ended: s.queue.Ended}
	if err := s.store(ctx, keyQueue, next); err != nil {
		return err
	}
	s.queue = next
	s.wake()
	return nil
}
