package history

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/tlsink/tlsink/evidence"
)

// The values of TestRecord.State.
const (
	StateRunning   = "running"   // evidence is still missing
	StateConcluded = "concluded" // the verdict is reached, the mail not yet accepted
	StateAcked     = "acked"     // the mail was accepted
	StateClosed    = "closed"    // over without that
)

// TestRecord is a test and what became of it.
type TestRecord struct {
	Schema        int             `json:"schema"` // set by the store
	Test          evidence.Test   `json:"test"`
	Capability    string          `json:"capability"` // unguessable; gives access to the result
	MessageIDs    []string        `json:"message_ids,omitempty"`
	Clients       []string        `json:"clients,omitempty"` // client keys that belong to the test
	State         string          `json:"state"`
	Opened        time.Time       `json:"opened,omitzero"`
	LastSeen      time.Time       `json:"last_seen,omitzero"`
	Concluded     time.Time       `json:"concluded,omitzero"`
	Acked         time.Time       `json:"acked,omitzero"`
	Closed        time.Time       `json:"closed,omitzero"`
	Verdict       json.RawMessage `json:"verdict,omitempty"` // as mailed; else recomputed from evidence
	Engine        string          `json:"engine,omitempty"`  // version that Verdict came from
	Reported      bool            `json:"reported,omitempty"`
	Note          string          `json:"note,omitempty"`
	ReportTo      string          `json:"report_to,omitempty"`
	ReportBlocked string          `json:"report_blocked,omitempty"` // why no report is mailed
	Resent        time.Time       `json:"resent,omitzero"`          // when its mail first came again under another Message-ID
	Secured       time.Time       `json:"secured,omitzero"`         // when a client of it was first offered STARTTLS
	Provider      *Provider       `json:"provider,omitempty"`
	Leased        bool            `json:"leased,omitempty"` // its slot was leased to it, see evidence.BySlot
	Token         string          `json:"token,omitempty"`  // that its mails go to, at a leased slot
	Shared        bool            `json:"shared,omitempty"` // somebody else used that slot meanwhile: its names tell nothing any more
}

// Provider is what several tests that ran at the same time, behind the same
// addresses, show together about the servers behind those. It names nothing of
// the other tests, and is never the verdict of this one.
type Provider struct {
	Policy      string   `json:"policy"`
	Candidates  []string `json:"candidates"`
	Tests       int      `json:"tests"`       // that it rests on, this one included
	Connections int      `json:"connections"` // that it rests on
}

// Open reports whether the test still waits for mail: it is running, or
// concluded and not yet acknowledged.
func (r TestRecord) Open() bool { return r.State == StateRunning || r.State == StateConcluded }

// lastActivity is what retention counts from.
func (r TestRecord) lastActivity() time.Time {
	last := r.Test.Started
	for _, t := range []time.Time{r.Opened, r.LastSeen, r.Concluded, r.Acked, r.Closed} {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// Attachment gives a connection to a test, instead of the one that had it. An
// empty Test takes it away.
type Attachment struct {
	Connection  evidence.ConnID
	Test        string
	Attribution evidence.Attribution
}

// StateRecord is a change of what a slot presents.
type StateRecord struct {
	Slot  int
	State evidence.State
}

// TestState is a change of what the client of one test is shown.
type TestState struct {
	TestID string
	State  evidence.State
}

// TestQuery gives a DNS query to a test.
type TestQuery struct {
	TestID string
	Query  evidence.Query
}

// TestFetch gives a policy fetch to a test.
type TestFetch struct {
	TestID string
	Fetch  evidence.PolicyFetch
}

// Batch is one atomic, durable change.
type Batch struct {
	Connections []evidence.Connection // inserted, or overwritten by ID
	Attach      []Attachment          // a connection has at most one test; overwrites
	Tests       []TestRecord          // inserted, or overwritten by Test.ID
	States      []StateRecord
	TestStates  []TestState
	Queries     []TestQuery
	Fetches     []TestFetch

	Enqueue []QueueItem // reports due; an item whose ID is known is left as it is
	Update  []QueueItem // overwrites by ID; one that is no longer there stays away
	Remove  []string    // IDs of queue items
}

// Merge adds what o holds to b.
func (b *Batch) Merge(o Batch) {
	b.Connections = append(b.Connections, o.Connections...)
	b.Attach = append(b.Attach, o.Attach...)
	b.Tests = append(b.Tests, o.Tests...)
	b.States = append(b.States, o.States...)
	b.TestStates = append(b.TestStates, o.TestStates...)
	b.Queries = append(b.Queries, o.Queries...)
	b.Fetches = append(b.Fetches, o.Fetches...)
	b.Enqueue = append(b.Enqueue, o.Enqueue...)
	b.Update = append(b.Update, o.Update...)
	b.Remove = append(b.Remove, o.Remove...)
}

// Commit writes b and returns when it is durable. If ctx ends first, b may
// still be written. If the disk fails (ErrDisk), b is written once it works
// again, before everything later: what others hold in memory then is on disk,
// too. The caller may reuse b at once.
func (s *Store) Commit(ctx context.Context, b Batch) error {
	wait, err := s.Begin(ctx, b)
	if err != nil {
		return err
	}
	return wait(ctx)
}

// Begin gives b to the writer and returns a function that waits until it is
// durable, like Commit. Callers that must fix the order of their changes call
// Begin under their own lock, and wait outside of it. Begin blocks only while
// the queue to the writer is full.
func (s *Store) Begin(ctx context.Context, b Batch) (wait func(context.Context) error, err error) {
	apply, err := b.prepare()
	if err != nil {
		return nil, fmt.Errorf("write history: %w", err)
	}
	return s.begin(ctx, op{apply: apply, keep: true})
}

// Submit writes b like Commit, in the same order, but does not wait. It blocks
// only while the queue to the writer is full. Failures are logged and counted
// in [Stats]; if the disk fails, b is written once it works again.
func (s *Store) Submit(b Batch) {
	apply, err := b.prepare()
	if err == nil {
		err = s.enqueue(context.Background(), op{apply: apply, keep: true})
	}
	if err != nil {
		s.failed.Add(1)
		s.opt.Logger.Error("history write failed", "err", err)
	}
}

// prepare checks and encodes b, so that only the file can fail later.
func (b Batch) prepare() (func(*bolt.Tx) error, error) {
	var steps []func(*bolt.Tx) error
	add := func(step func(*bolt.Tx) error, err error) error {
		steps = append(steps, step)
		return err
	}
	err := firstError(
		each(b.Connections, func(c evidence.Connection) error { return add(putConnection(c)) }),
		each(b.Tests, func(r TestRecord) error { return add(putTest(r)) }),
		each(b.Attach, func(a Attachment) error { return add(attach(a)) }),
		each(b.States, func(r StateRecord) error {
			return add(appendRecord(bucketStates, slotKey(r.Slot), r.State.Time, r.State))
		}),
		each(b.TestStates, func(r TestState) error {
			return add(appendToTest(bucketTestStates, r.TestID, r.State.Time, r.State))
		}),
		each(b.Queries, func(r TestQuery) error {
			return add(appendToTest(bucketTestQueries, r.TestID, r.Query.Time, r.Query))
		}),
		each(b.Fetches, func(r TestFetch) error {
			return add(appendToTest(bucketTestFetches, r.TestID, r.Fetch.Time, r.Fetch))
		}),
		each(b.Enqueue, func(q QueueItem) error { return add(putQueueItem(q, true)) }),
		each(b.Update, func(q QueueItem) error { return add(putQueueItem(q, false)) }),
		each(b.Remove, func(id string) error {
			return add(func(tx *bolt.Tx) error { return removeQueueItem(tx, id) }, nil)
		}),
	)
	if err != nil {
		return nil, err
	}
	return func(tx *bolt.Tx) error {
		for _, step := range steps {
			if err := step(tx); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func each[T any](list []T, f func(T) error) error {
	for _, v := range list {
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// putConnection keeps the start in front of the JSON, so that an overwrite
// finds the entry of the index without reading it.
func putConnection(c evidence.Connection) (func(*bolt.Tx) error, error) {
	if err := checkID("connection", string(c.ID)); err != nil {
		return nil, err
	}
	c.Attribution = "" // belongs to the attachment
	start := appendTime(nil, c.Start)
	value, err := encode(start, c)
	if err != nil {
		return nil, fmt.Errorf("connection %q: %w", c.ID, err)
	}
	key, indexKey := []byte(c.ID), timeKey(c.Start, string(c.ID))
	return func(tx *bolt.Tx) error {
		connections, index := ordered(tx, bucketConnections), ordered(tx, bucketConnectionsTime)
		if old := connections.Get(key); len(old) >= 9 && !bytes.Equal(old[1:9], start) {
			if err := index.Delete(append(bytes.Clone(old[1:9]), key...)); err != nil {
				return err
			}
		}
		return firstError(insert(connections, key, value), index.Put(indexKey, nil))
	}, nil
}

// attachment is the stored form of Attachment.
type attachment struct {
	Test        string               `json:"test"`
	Attribution evidence.Attribution `json:"by"`
}

func attach(a Attachment) (func(*bolt.Tx) error, error) {
	if err := checkID("attached connection", string(a.Connection)); err != nil {
		return nil, err
	}
	if a.Test != "" {
		if err := checkID("test", a.Test); err != nil {
			return nil, err
		}
	}
	value, err := encode(nil, attachment{a.Test, a.Attribution})
	if err != nil {
		return nil, fmt.Errorf("attachment of connection %q: %w", a.Connection, err)
	}
	return func(tx *bolt.Tx) error {
		key := []byte(a.Connection)
		if err := detach(tx, key); err != nil || a.Test == "" {
			return err
		}
		return firstError(
			ordered(tx, bucketAttached).Put(key, value),
			bucket(tx, bucketTestConnections).Put(prefixKey(a.Test, key...), value),
		)
	}, nil
}

func detach(tx *bolt.Tx, key []byte) error {
	attached := ordered(tx, bucketAttached)
	var old attachment
	if v := attached.Get(key); v == nil || decode(v, 0, &old) != nil {
		return attached.Delete(key)
	}
	return firstError(
		bucket(tx, bucketTestConnections).Delete(prefixKey(old.Test, key...)),
		attached.Delete(key),
	)
}

func putTest(r TestRecord) (func(*bolt.Tx) error, error) {
	if err := checkID("test", r.Test.ID); err != nil {
		return nil, err
	}
	r.Schema = valueVersion
	if r.Opened.IsZero() {
		r.Opened = r.Test.Started
	}
	value, err := encode(nil, r)
	if err != nil {
		return nil, fmt.Errorf("test %q: %w", r.Test.ID, err)
	}
	index := r.indexed()
	return func(tx *bolt.Tx) error {
		if err := unindexTest(tx, r.Test.ID); err != nil {
			return err
		}
		for _, e := range index {
			if err := bucket(tx, e.bucket).Put(e.key, nil); err != nil {
				return err
			}
		}
		return insert(bucket(tx, bucketTests), []byte(r.Test.ID), value)
	}, nil
}

type indexEntry struct {
	bucket string
	key    []byte
}

// indexed returns the entries of r in the indexes.
func (r TestRecord) indexed() []indexEntry {
	id := r.Test.ID
	out := []indexEntry{{bucketTestsTime, timeKey(r.Opened, id)}}
	if r.Open() {
		out = append(out, indexEntry{bucketTestsOpen, []byte(id)})
	}
	if r.Capability != "" {
		out = append(out, indexEntry{bucketTestsCapability, hashKey(r.Capability, id)})
	}
	for _, m := range r.MessageIDs {
		out = append(out, indexEntry{bucketTestsMessageID, hashKey(m, id)})
	}
	return out
}

// unindexTest takes the stored version of a test out of the indexes. A version
// that cannot be read leaves entries behind, which lookups check.
func unindexTest(tx *bolt.Tx, id string) error {
	var old TestRecord
	v := bucket(tx, bucketTests).Get([]byte(id))
	if v == nil || decode(v, 0, &old) != nil {
		return nil
	}
	for _, e := range old.indexed() {
		if err := bucket(tx, e.bucket).Delete(e.key); err != nil {
			return err
		}
	}
	return nil
}

func slotKey(slot int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(slot)) }

func appendToTest(name, testID string, t time.Time, v any) (func(*bolt.Tx) error, error) {
	if err := checkID("test", testID); err != nil {
		return nil, err
	}
	return appendRecord(name, prefixKey(testID), t, v)
}

// appendRecord stores v under prefix, time and a number.
func appendRecord(name string, prefix []byte, t time.Time, v any) (func(*bolt.Tx) error, error) {
	value, err := encode(nil, v)
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", name, t.Format(time.RFC3339), err)
	}
	return func(tx *bolt.Tx) error {
		b := bucket(tx, name)
		n, err := b.NextSequence()
		if err != nil {
			return err
		}
		key := binary.BigEndian.AppendUint64(appendTime(bytes.Clone(prefix), t), n)
		return b.Put(key, value)
	}, nil
}
