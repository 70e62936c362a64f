package history

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrDisk is in the errors of writes that the disk did not take: it is full,
// read-only or broken. That is logged once, and again when it has passed;
// callers need not.
var ErrDisk = errors.New("the disk does not take it")

const (
	firstRetry = time.Second // until the next attempt to write; then doubling
	lastRetry  = 15 * time.Second
	remind     = 10 * time.Minute // between log lines
	maxAside   = 10_000           // batches that wait for the disk
)

// aside is what the disk did not take. Batches that were refused wait here in
// their order: memory has them, so that what is stored later makes sense only
// with them.
type aside struct {
	ops  []op
	err  error         // nil: the disk works
	next time.Time     // attempt
	wait time.Duration // before the one after it

	since, logged time.Time
	refused, lost int
}

// pause returns the last failure until it is time for another attempt.
func (a *aside) pause(now time.Time) error {
	if a.err != nil && now.Before(a.next) {
		return a.err
	}
	return nil
}

// setAside refuses the operations, and keeps those that must not be lost.
func (s *Store) setAside(ops []op, cause error) {
	a, now := &s.aside, s.opt.Now()
	if a.err == nil {
		a.since = now
		s.trouble.Store(&cause)
	}
	if a.err == nil || !now.Before(a.next) {
		a.wait = min(max(2*a.wait, firstRetry), lastRetry)
		a.next = now.Add(a.wait)
	}
	a.err = cause
	refusal := fmt.Errorf("write history %q: %w: %w", s.opt.Path, ErrDisk, cause)
	for _, o := range ops {
		a.refused++
		s.failed.Add(1)
		if o.done != nil {
			o.done <- refusal
			o.done = nil
		}
		switch {
		case !o.keep:
		case len(a.ops) < maxAside:
			a.ops = append(a.ops, o)
		default:
			a.lost++
		}
	}
	if a.logged.IsZero() || now.Sub(a.logged) >= remind {
		a.logged = now
		s.opt.Logger.Error("history cannot be written: mail to test addresses and to postmaster is put off (451, 452) until it can, everything else goes on",
			"err", cause, "fix", s.diskHint(cause), "since", a.since, "waiting", len(a.ops), "lost", a.lost)
	}
}

func (s *Store) diskHint(err error) string {
	dir := filepath.Dir(s.opt.Path)
	is := func(e syscall.Errno) bool { return errors.Is(err, e) || strings.HasSuffix(err.Error(), e.Error()) } // bbolt drops some
	switch {
	case is(syscall.ENOSPC), is(syscall.EDQUOT), is(syscall.EFBIG):
		return fmt.Sprintf("free some space on the disk of %s", dir)
	case is(syscall.EROFS):
		return fmt.Sprintf("make the file system of %s writable again; it is often read-only after a fault of the disk: see the kernel log", dir)
	}
	return fmt.Sprintf("check the disk of %s: see the kernel log", dir)
}

// recovered notes that the disk takes writes again.
func (s *Store) recovered() {
	a := &s.aside
	if a.err == nil {
		return
	}
	s.opt.Logger.Info("history is written again", "after", s.opt.Now().Sub(a.since), "refused", a.refused, "written_late", len(a.ops), "lost", a.lost)
	*a = aside{ops: a.ops}
	s.trouble.Store(nil)
}

// lastTry writes what waits before the file is closed.
func (s *Store) lastTry() {
	s.aside.next = time.Time{}
	s.write(nil)
	if n := len(s.aside.ops); n > 0 {
		s.opt.Logger.Error("evidence that the disk did not take is lost; none of it was acknowledged", "batches", n, "err", s.aside.err)
	}
}

// Trouble returns why the file cannot be written now; nil if it can.
func (s *Store) Trouble() error {
	if err := s.trouble.Load(); err != nil {
		return fmt.Errorf("%w: %w: %s", ErrDisk, *err, s.diskHint(*err))
	}
	return nil
}
