package operate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/tlsink/tlsink/blocklist"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

// ErrConflict is in the error of an action that comes too late, or that this
// service is not set up for.
var ErrConflict = errors.New("not possible")

// InvalidError says that what was asked for makes no sense.
type InvalidError struct {
	Field string // as ParseQuery knows it, e.g. "network"
	Value string
	Want  string // what it should be
}

func (e *InvalidError) Error() string { return fmt.Sprintf("%s %q: %s", e.Field, e.Value, e.Want) }

// Actor is who changes something.
type Actor struct {
	Kind string `json:"kind"`           // "cli" or "console"
	Name string `json:"name,omitempty"` // of the session; public
}

// Store is the part of *history.Store that is needed.
type Store interface {
	SearchTests(ctx context.Context, s history.TestSearch) (history.TestPage, error)
	Test(id string) (history.TestRecord, error)
	SearchConnections(ctx context.Context, s history.ConnectionSearch) (history.ConnectionPage, error)
	Connection(id evidence.ConnID) (history.ConnectionRecord, error)
	Written(testID string) (time.Time, error)
	Reports(ctx context.Context, s history.ReportSearch) (history.ReportPage, error)
	Report(id string) (history.QueueItem, error)
	RetryReport(ctx context.Context, id string, now time.Time) error
	Commit(ctx context.Context, b history.Batch) error
	Mailbox(ctx context.Context) ([]history.MailboxItem, error)
	Purge(ctx context.Context, before time.Time) (int, error)
	Oldest() (test, connection time.Time, err error)
	Stats() (history.Stats, error)
	Trouble() error
	Value(key string) ([]byte, error)
	SetValue(ctx context.Context, key string, value []byte) error
}

// Tests are the tests of the service, running ones included.
type Tests interface {
	// View returns a test as it stands now, with all that its report would say;
	// an error wraps history.ErrNotFound if there is none.
	View(ctx context.Context, id string) (history.TestRecord, report.Input, error)
	// Standing is the verdict on a running test as of its last attempt; ok is
	// false if there is none yet, or the test does not run. It is cheap.
	Standing(id string) (v policyinfer.Verdict, ok bool)
	// Delete deletes a test with its evidence, also a running one, and returns
	// the number of records.
	Delete(ctx context.Context, id string) (int, error)
	// Forget deletes everything of one mail address.
	Forget(ctx context.Context, address string) (int, error)
}

// Forgetter is a part of the service that keeps something of people on its own.
type Forgetter interface {
	// ForgetPerson deletes what is kept of a mail address and of tests that were
	// deleted with it, and returns the number of records.
	ForgetPerson(ctx context.Context, address string, tests []string) (int, error)
}

// Deliveries are the notifications of webhooks. Retry and Drop return an error
// that wraps history.ErrNotFound for one that is not pending.
type Deliveries interface {
	Deliveries() []Delivery
	Retry(ctx context.Context, id string) error
	Drop(ctx context.Context, id string) error
}

// Options are the parts that an Operator acts on. Store, Tests, Blocks, Now,
// Rand and Logger are required.
type Options struct {
	Store  Store
	Tests  Tests
	Blocks *blocklist.List
	Now    func() time.Time
	Rand   io.Reader // crypto/rand
	Logger *slog.Logger

	Link      func(capability string) string // to the page of a test; nil: none
	Check     func() SelfCheck               // nil: none
	Slots     func() []Slot                  // of the leases; nil: none
	Limits    func() []Limit                 // what is limited at present; nil: none
	Kick      func()                         // tells the mailer that a report is due; nil: nothing
	Days      func() int                     // days that evidence is kept
	Webhooks  Deliveries                     // nil: none
	Forgetter map[string]Forgetter           // by the name that a result gives them, e.g. "webhooks"
}

func (o *Options) check() error {
	if o.Store == nil || o.Tests == nil || o.Blocks == nil || o.Now == nil || o.Rand == nil || o.Logger == nil || o.Days == nil {
		return errors.New("operate: Store, Tests, Blocks, Now, Rand, Logger and Days are required")
	}
	return nil
}

// Operator carries out the operator's actions. Its methods are safe for
// concurrent use. The error of an action on something that does not exist wraps
// history.ErrNotFound.
type Operator struct {
	o      Options
	secret []byte     // of subject
	audit  sync.Mutex // held while the audit record is changed
}

// New checks the options.
func New(o Options) (*Operator, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	if _, err := io.ReadFull(o.Rand, secret); err != nil {
		return nil, fmt.Errorf("operate: random key: %w", err)
	}
	return &Operator{o: o, secret: secret}, nil
}
