package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// ErrBusy says that no more tests can have a URL now.
var ErrBusy = errors.New("too many webhooks are registered")

// The keys of the stored values.
const (
	keyRegistered = "webhook/registered"
	keyQueue      = "webhook/queue"
)

// registration is the URL of a test.
type registration struct {
	URL    string    `json:"url"`
	Secret string    `json:"secret"`
	Time   time.Time `json:"time"`
}

// item is a message to one URL.
type item struct {
	ID        string    `json:"id"`
	Test      string    `json:"test"`
	URL       string    `json:"url"`
	Secret    string    `json:"secret,omitempty"` // of a test's own URL; a target's is read when needed
	Body      []byte    `json:"body"`
	Created   time.Time `json:"created"`
	Due       time.Time `json:"due"`
	Attempts  int       `json:"attempts"`
	LastError string    `json:"last_error,omitempty"`
}

// Delivery is what operators see of a message: never its URL, which may hold a
// secret.
type Delivery struct {
	ID        string    `json:"id"`
	Test      string    `json:"test"`
	Host      string    `json:"host"`
	Own       bool      `json:"own"` // the URL came from who started the test
	Created   time.Time `json:"created"`
	Due       time.Time `json:"due,omitzero"`   // of the next attempt, while pending
	Ended     time.Time `json:"ended,omitzero"` // delivered or given up
	Delivered bool      `json:"delivered"`
	Attempts  int       `json:"attempts"`
	LastError string    `json:"last_error,omitempty"`
}

func (i *item) delivery() Delivery {
	return Delivery{
		ID: i.ID, Test: i.Test, Host: hostOf(i.URL), Own: i.Secret != "", Created: i.Created, Due: i.Due, Attempts: i.Attempts, LastError: i.LastError,
	}
}

// queue is the durable state.
type queue struct {
	Pending []item     `json:"pending"`
	Ended   []Delivery `json:"ended"` // the newest last
}

// Sender calls webhooks. It is safe for concurrent use.
type Sender struct {
	o    Options
	kick chan struct{}

	mu         sync.Mutex // held while storing: what is in memory is on disk
	registered map[string]registration
	queue      queue
}

// New restores what was pending.
func New(o Options) (*Sender, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	s := &Sender{o: o, kick: make(chan struct{}, 1), registered: make(map[string]registration)}
	for key, into := range map[string]any{keyRegistered: &s.registered, keyQueue: &s.queue} {
		b, err := o.State.Load(key)
		if err == nil && b != nil {
			err = json.Unmarshal(b, into)
		}
		if err != nil {
			return nil, fmt.Errorf("webhook: restore %s: %w", key, err)
		}
	}
	return s, nil
}

func (s *Sender) store(ctx context.Context, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	if err := s.o.State.Save(ctx, key, b); err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	return nil
}

// Register has url called once the test is over, and returns the key of the
// signatures. The caller has asked Check. It returns ErrBusy if too many are
// registered.
func (s *Sender) Register(ctx context.Context, testID, url string) (secret string, err error) {
	if err := s.Check(url); err != nil {
		return "", err
	}
	if secret, err = newSecret(s.o.Rand); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	next := make(map[string]registration, len(s.registered)+1)
	for id, r := range s.registered {
		if now.Sub(r.Time) < stale {
			next[id] = r
		}
	}
	if _, again := next[testID]; !again && len(next) >= s.o.Limits.Registered {
		return "", ErrBusy
	}
	next[testID] = registration{url, secret, now}
	if err := s.store(ctx, keyRegistered, next); err != nil {
		return "", err
	}
	s.registered = next
	return secret, nil
}

// Wanted reports whether anybody is to be told of a test: the operator's URLs
// are, of every one that is over.
func (s *Sender) Wanted(testID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, own := s.registered[testID]
	return own || len(s.o.Targets) > 0
}

// Registered lists the tests that have a URL of their own, and whose end nobody was
// told of.
func (s *Sender) Registered() (tests []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	for _, id := range slices.Sorted(maps.Keys(s.registered)) {
		if now.Sub(s.registered[id].Time) < stale {
			tests = append(tests, id)
		}
	}
	return tests
}

// Completed queues the message about a test that is over, durably. A test that
// no mail came to is told to its own URL only. Doing it twice does it once.
func (s *Sender) Completed(ctx context.Context, e Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	items, err := s.items(e)
	if err != nil {
		return err
	}
	next := s.queue
	next.Pending = slices.Clone(next.Pending)
	for _, it := range items {
		if s.has(it.ID) {
			continue
		}
		if why := s.full(next.Pending, hostOf(it.URL)); why != "" {
			s.o.Logger.Warn("webhook not called", "test", it.Test, "webhook", it.ID, "host", hostOf(it.URL), "reason", why)
			d := it.delivery()
			d.Due, d.Ended, d.LastError = time.Time{}, s.o.Now(), why
			next.Ended = remember(next.Ended, d)
			continue
		}
		next.Pending = append(next.Pending, it)
	}
	if len(items) > 0 {
		if err := s.store(ctx, keyQueue, next); err != nil {
			return err
		}
		s.queue = next
	}
	if _, ok := s.registered[e.Test]; ok {
		// After a crash in between it is queued again, under the same identifier.
		if err := s.unregister(ctx, e.Test); err != nil {
			return err
		}
	}
	s.wake()
	return nil
}

// items returns the messages about e.
func (s *Sender) items(e Event) ([]item, error) {
	var out []item
	add := func(url, secret string) error {
		body, err := s.body(e, secret != "")
		if err != nil {
			return err
		}
		now := s.o.Now()
		out = append(out, item{ID: identifier(e.Test, url), Test: e.Test, URL: url, Secret: secret, Body: body, Created: now, Due: now})
		return nil
	}
	if r, ok := s.registered[e.Test]; ok {
		if err := add(r.URL, r.Secret); err != nil {
			return nil, err
		}
	}
	if e.State == stateExpired {
		return out, nil
	}
	for _, t := range s.o.Targets {
		if slices.ContainsFunc(out, func(it item) bool { return it.URL == t.URL }) {
			continue // who started the test named the operator's own URL
		}
		if err := add(t.URL, ""); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// stateExpired is the state of a test that no mail came to.
const stateExpired = "expired"

func (s *Sender) has(id string) bool {
	return slices.ContainsFunc(s.queue.Pending, func(it item) bool { return it.ID == id }) ||
		slices.ContainsFunc(s.queue.Ended, func(d Delivery) bool { return d.ID == id })
}

// full says why there is no room for another message to host.
func (s *Sender) full(pending []item, host string) string {
	of := 0
	for _, it := range pending {
		if hostOf(it.URL) == host {
			of++
		}
	}
	switch {
	case len(pending) >= s.o.Limits.Pending:
		return "too many messages are pending"
	case of >= s.o.Limits.PerHost:
		return "too many messages are pending for this host"
	}
	return ""
}

func remember(ended []Delivery, d Delivery) []Delivery {
	ended = append(slices.Clone(ended), d)
	return ended[max(0, len(ended)-maxLog):]
}

func (s *Sender) unregister(ctx context.Context, testID string) error {
	next := make(map[string]registration, len(s.registered))
	for id, r := range s.registered {
		if id != testID {
			next[id] = r
		}
	}
	if err := s.store(ctx, keyRegistered, next); err != nil {
		return err
	}
	s.registered = next
	return nil
}

// Forget deletes what is kept about a test: its URL, and messages about it.
func (s *Sender) Forget(ctx context.Context, testID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.registered[testID]; ok {
		if err := s.unregister(ctx, testID); err != nil {
			return err
		}
	}
	next := queue{
		Pending: slices.DeleteFunc(slices.Clone(s.queue.Pending), func(it item) bool { return it.Test == testID }),
		Ended:   slices.DeleteFunc(slices.Clone(s.queue.Ended), func(d Delivery) bool { return d.Test == testID }),
	}
	if len(next.Pending) == len(s.queue.Pending) && len(next.Ended) == len(s.queue.Ended) {
		return nil
	}
	if err := s.store(ctx, keyQueue, next); err != nil {
		return err
	}
	s.queue = next
	return nil
}

// Deliveries lists what is pending, and then what has ended, the newest first.
func (s *Sender) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Delivery, 0, len(s.queue.Pending)+len(s.queue.Ended))
	for _, it := range s.queue.Pending {
		out = append(out, it.delivery())
	}
	for _, d := range slices.Backward(s.queue.Ended) {
		out = append(out, d)
	}
	return out
}

func (s *Sender) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}
