package history

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/internal/durable"
)

// maxPerTransaction bounds the batches that share one transaction.
const maxPerTransaction = 512

// ErrClosed is returned by every write after Close.
var ErrClosed = errors.New("history is closed")

// ErrNotFound is returned when a record that was asked for does not exist.
var ErrNotFound = errors.New("not found in the history")

// Options are the settings of a Store. Only Path is needed.
type Options struct {
	Path   string           // the file; its directory is made if needed
	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // default: discard

	MailboxMax   int   // messages kept in the mailbox; default 1000
	MailboxBytes int64 // octets kept in the mailbox; default 64 MiB
	MessageBytes int64 // octets of one message for the mailbox; default 10 MiB

	HistoryMax  int           // records of one kind that History returns at most, else it fails; default 100,000
	QueueLength int           // batches that wait for the writer before callers block; default 1024
	LockTimeout time.Duration // how long Open waits for another process; default 1 s
}

const (
	defaultMailboxMax   = 1000
	defaultMessageBytes = 10 << 20
)

func (o *Options) setDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.MailboxMax, defaultMailboxMax)
	setDefault(&o.MailboxBytes, 64<<20)
	setDefault(&o.MessageBytes, defaultMessageBytes)
	setDefault(&o.HistoryMax, 100_000)
	setDefault(&o.QueueLength, 1024)
	setDefault(&o.LockTimeout, time.Second)
}

func setDefault[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Store is an open history. Its methods are safe for concurrent use.
type Store struct {
	opt Options
	db  *bolt.DB

	mu      sync.RWMutex // held for reading while sending to queue
	closed  bool
	queue   chan op
	stopped chan struct{} // closed when the writer has ended

	aside   aside // of the writer
	trouble atomic.Pointer[error]

	mailbox  atomic.Pointer[mailboxLimits]
	boot     uint64
	sequence atomic.Uint64

	transactions   atomic.Uint64
	batches        atomic.Uint64
	failed         atomic.Uint64
	unreadable     atomic.Uint64
	mailboxRefused atomic.Uint64

	closeOnce sync.Once
	closeErr  error
}

// op is one atomic change. apply may run twice, each time in a fresh
// transaction.
type op struct {
	apply func(*bolt.Tx) error
	done  chan error // buffered; nil if nobody waits
	keep  bool       // tried again if the disk fails
}

// Open opens or creates the file and starts the writer. Its errors name what
// to do: the file is held by another process, its directory cannot be
// written, it is damaged, or it was written by a later version.
func Open(opt Options) (*Store, error) {
	opt.setDefaults()
	if opt.Path == "" {
		return nil, errors.New("open history: no path given: set data_dir")
	}
	dir := filepath.Dir(opt.Path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unwritable(dir, err)
	}
	if err := sound(opt.Path, opt.LockTimeout); err != nil {
		return nil, err
	}
	db, err := bolt.Open(opt.Path, 0o600, &bolt.Options{
		Timeout:        opt.LockTimeout,
		FreelistType:   bolt.FreelistMapType,
		NoFreelistSync: true,
	})
	if err != nil {
		return nil, openError(opt.Path, err)
	}
	s := &Store{opt: opt, db: db, queue: make(chan op, opt.QueueLength), stopped: make(chan struct{})}
	s.LimitMailbox(opt.MailboxMax, opt.MessageBytes)
	if err := guard(s.initialize); err != nil {
		return nil, errors.Join(fmt.Errorf("open history %q: %w", opt.Path, err), db.Close())
	}
	if err := durable.SyncDir(dir); err != nil {
		return nil, errors.Join(unwritable(dir, err), db.Close())
	}
	go s.run()
	return s, nil
}

func openError(path string, err error) error {
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("open history %q: another tlsink process holds the file: stop it, or ask the running one (tlsink history, tlsink inbox)", path)
	}
	if _, system := errors.AsType[syscall.Errno](err); !system {
		return fmt.Errorf("open history %q: not a tlsink history, or damaged: move it away and restore a backup: %w", path, err)
	}
	return unwritable(filepath.Dir(path), err)
}

func unwritable(dir string, err error) error {
	return fmt.Errorf("cannot write to %q: set data_dir to a directory that tlsink may write to: %w", dir, err)
}

// initialize makes the buckets of a new file, or brings an older one up to
// date, and counts this start.
func (s *Store) initialize() error {
	if err := s.migrate(migrations()); err != nil {
		return err
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		if err := checkBuckets(tx); err != nil {
			return err
		}
		meta := bucket(tx, bucketMeta)
		if v := meta.Get([]byte(keyBoot)); len(v) == 8 {
			s.boot = binary.BigEndian.Uint64(v)
		}
		s.boot++
		return meta.Put([]byte(keyBoot), number(s.boot))
	})
}

// Close lets the writer finish what was queued, and closes the file. Later
// calls return what the first one did.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.closed = true
		close(s.queue)
		s.mu.Unlock()
		<-s.stopped
		if err := s.db.Close(); err != nil {
			s.closeErr = fmt.Errorf("close history %q: %w", s.opt.Path, err)
		}
	})
	return s.closeErr
}

// NewConnID returns an ID that no other connection of this file has or had.
// It touches no disk: the number of the start is made durable by Open. IDs
// sort, as strings, in the order of the calls.
func (s *Store) NewConnID() evidence.ConnID {
	const bootDigits, sequenceDigits = 5, 8
	var b [bootDigits + sequenceDigits]byte
	digits(b[:bootDigits], s.boot)
	digits(b[bootDigits:], s.sequence.Add(1))
	return evidence.ConnID(b[:])
}

// digits fills b with n in base 32, most significant digit first. The digits
// sort as bytes.
func digits(b []byte, n uint64) {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = alphabet[n%32]
		n /= 32
	}
}

// enqueue hands an operation to the writer. It blocks while the queue is full.
func (s *Store) enqueue(ctx context.Context, o op) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return ErrClosed
	}
	select {
	case s.queue <- o:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("write history: the writer is behind: %w", ctx.Err())
	}
}

// do runs apply in the writer and waits until it is durable. If ctx ends
// first, the change may still happen.
func (s *Store) do(ctx context.Context, apply func(*bolt.Tx) error) error {
	wait, err := s.begin(ctx, op{apply: apply})
	if err != nil {
		return err
	}
	return wait(ctx)
}

func (s *Store) begin(ctx context.Context, o op) (wait func(context.Context) error, err error) {
	done := make(chan error, 1)
	o.done = done
	if err := s.enqueue(ctx, o); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return fmt.Errorf("write history: not yet known to be durable: %w", ctx.Err())
		}
	}, nil
}

// run is the writer.
func (s *Store) run() {
	defer close(s.stopped)
	ops := make([]op, 0, maxPerTransaction)
	for first := range s.queue {
		ops = append(ops[:0], first)
		for more := true; more && len(ops) < maxPerTransaction; {
			select {
			case o, ok := <-s.queue:
				if more = ok; ok {
					ops = append(ops, o)
				}
			default:
				more = false
			}
		}
		s.write(ops)
		clear(ops)
	}
	s.lastTry()
}

// write runs the operations in one transaction, behind those that an earlier
// failure of the disk left. If one of them is bad, each runs alone, so that it
// does not take others with it.
func (s *Store) write(ops []op) {
	all := append(s.aside.ops, ops...)
	if len(all) == 0 {
		return
	}
	if err := s.aside.pause(s.opt.Now()); err != nil {
		s.setAside(ops, err)
		return
	}
	bad, err := s.update(all)
	s.transactions.Add(1)
	switch {
	case err != nil && !bad:
		s.setAside(ops, err)
	case err != nil && len(all) > 1:
		s.aside.ops = nil
		for _, o := range all {
			s.write([]op{o})
		}
	default:
		if err == nil {
			s.recovered()
		}
		s.aside.ops = nil
		for _, o := range all {
			s.finish(o, err)
		}
	}
}

// update runs the operations. bad says that one of them failed; else the disk
// did.
func (s *Store) update(ops []op) (bad bool, err error) {
	err = s.db.Update(func(tx *bolt.Tx) error {
		for _, o := range ops {
			if err := o.apply(tx); err != nil {
				bad = true
				return err
			}
		}
		return nil
	})
	return bad, err
}

func (s *Store) finish(o op, err error) {
	s.batches.Add(1)
	if err != nil {
		s.failed.Add(1)
		err = fmt.Errorf("write history %q: %w", s.opt.Path, err)
	}
	switch {
	case o.done != nil:
		o.done <- err
	case err != nil:
		s.opt.Logger.Error("history write failed", "err", err)
	}
}
