package blocklist

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
)

const (
	key = "blocklist/entries" // of the value

	maxEntries = 3000
	maxReason  = 120 // octets
	maxOctets  = 1000 << 10
)

// ErrNotFound is in the error of Remove for an entry that does not exist.
var ErrNotFound = errors.New("no such block")

// ErrFull is in the error of Add when there is no room.
var ErrFull = errors.New("the block list is full: remove some entries, or block a network or domain as a whole")

// BadError says that an entry makes no sense.
type BadError struct {
	Field, Value string // what, reason or until
	Want         string
}

func (e *BadError) Error() string { return fmt.Sprintf("%s %q: %s", e.Field, e.Value, e.Want) }

// Entry is one block.
type Entry struct {
	ID     string    `json:"id"`
	Kind   Kind      `json:"kind"`
	Value  string    `json:"value"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until removed
}

func (e Entry) over(now time.Time) bool { return !e.Until.IsZero() && !now.Before(e.Until) }

// State keeps values. Load returns nil if there is none; Save returns once it
// is durable.
type State interface {
	Load(key string) ([]byte, error)
	Save(ctx context.Context, key string, value []byte) error
}

// Options are the settings of a List. State, Now and Rand are required.
type Options struct {
	State State
	Now   func() time.Time
	Rand  io.Reader      // crypto/rand
	Never []netip.Prefix // are not blocked whatever the list says: our own addresses
}

// List is a durable block list, safe for concurrent use.
type List struct {
	o     Options
	mu    sync.Mutex // held by those who change it
	index atomic.Pointer[index]
}

// index is immutable.
type index struct {
	entries  []Entry // in order of Since
	networks map[netip.Prefix]Entry
	bits4    []int // lengths of the networks
	bits6    []int
	senders  map[string]Entry // domains and addresses
}

// Open reads the list.
func Open(o Options) (*List, error) {
	if o.State == nil || o.Now == nil || o.Rand == nil {
		return nil, errors.New("blocklist: State, Now and Rand are required")
	}
	l := &List{o: o}
	b, err := o.State.Load(key)
	if err != nil {
		return nil, fmt.Errorf("read block list: %w", err)
	}
	var entries []Entry
	if b != nil {
		if err := json.Unmarshal(b, &entries); err != nil {
			return nil, fmt.Errorf("read block list: damaged: restore a backup: %w", err)
		}
	}
	l.index.Store(newIndex(entries))
	return l, nil
}

// newIndex leaves out what it cannot read.
func newIndex(entries []Entry) *index {
	x := &index{networks: make(map[netip.Prefix]Entry), senders: make(map[string]Entry)}
	for _, e := range entries {
		switch e.Kind {
		case Network:
			p, err := netip.ParsePrefix(e.Value)
			if err != nil || p != p.Masked() {
				continue
			}
			x.networks[p] = e
			bits := &x.bits6
			if p.Addr().Is4() {
				bits = &x.bits4
			}
			if !slices.Contains(*bits, p.Bits()) {
				*bits = append(*bits, p.Bits())
			}
		case Domain, Address:
			x.senders[e.Value] = e
		default:
			continue
		}
		x.entries = append(x.entries, e)
	}
	return x
}

// Blocked reports whether a client is blocked, and the reason that was given.
func (l *List) Blocked(a netip.Addr) (why string, blocked bool) {
	x := l.index.Load()
	a = a.Unmap().WithZone("")
	bits := x.bits6
	if a.Is4() {
		bits = x.bits4
	}
	if len(bits) == 0 || slices.ContainsFunc(l.o.Never, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return "", false
	}
	now := l.o.Now()
	for _, n := range bits {
		p, err := a.Prefix(n)
		if err != nil {
			continue
		}
		if e, ok := x.networks[p]; ok && !e.over(now) {
			return e.Reason, true
		}
	}
	return "", false
}

// BlockedSender reports whether an envelope sender is blocked, and the reason
// that was given. What is no address is not, nor is the null reverse-path.
func (l *List) BlockedSender(address string) (why string, blocked bool) {
	x := l.index.Load()
	at := strings.LastIndexByte(address, '@')
	if len(x.senders) == 0 || at < 0 || len(address) > 320 {
		return "", false
	}
	domain, err := canonicalDomain(address[at+1:])
	if err != nil {
		domain = strings.ToLower(address[at+1:])
	}
	now := l.o.Now()
	if e, ok := x.senders[strings.ToLower(address[:at])+"@"+domain]; ok && !e.over(now) {
		return e.Reason, true
	}
	for domain != "" {
		if e, ok := x.senders[domain]; ok && !e.over(now) {
			return e.Reason, true
		}
		_, domain, _ = strings.Cut(domain, ".")
	}
	return "", false
}

// Entries lists what is blocked now, the last added first.
func (l *List) Entries() []Entry {
	now := l.o.Now()
	out := slices.DeleteFunc(slices.Clone(l.index.Load().entries), func(e Entry) bool { return e.over(now) })
	slices.Reverse(out)
	return out
}

// ours reports whether a network has no address that is ever blocked.
func (l *List) ours(kind Kind, value string) bool {
	p, err := netip.ParsePrefix(value)
	return kind == Network && err == nil && slices.ContainsFunc(l.o.Never, func(never netip.Prefix) bool {
		return never.Bits() <= p.Bits() && never.Contains(p.Addr())
	})
}

// Add blocks what, in a form that [Parse] reads, and returns the entry once it
// is durable. One that was blocked already gets the new reason and end. What
// would block very many is refused with ErrWide unless wide is set.
func (l *List) Add(ctx context.Context, what, reason string, until time.Time, wide bool) (Entry, error) {
	kind, value, tooWide, err := Parse(what)
	if err != nil {
		return Entry{}, err
	}
	if tooWide && !wide {
		return Entry{}, fmt.Errorf("%s %s: %w", kind, value, ErrWide)
	}
	if l.ours(kind, value) {
		return Entry{}, &BadError{"what", value, "holds addresses of this service only, which are never blocked"}
	}
	now := l.o.Now().UTC()
	if !until.IsZero() && !until.After(now) {
		return Entry{}, &BadError{"until", until.UTC().Format(time.RFC3339), "is over already"}
	}
	if reason = line(reason); len(reason) > maxReason {
		return Entry{}, &BadError{"reason", reason[:20] + "…", fmt.Sprintf("has %d octets, at most %d are kept", len(reason), maxReason)}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	entries := slices.DeleteFunc(slices.Clone(l.index.Load().entries), func(e Entry) bool { return e.over(now) })
	e := Entry{Kind: kind, Value: value, Reason: reason, Since: now}
	if !until.IsZero() {
		e.Until = until.UTC()
	}
	if i := slices.IndexFunc(entries, func(o Entry) bool { return o.Kind == kind && o.Value == value }); i >= 0 {
		e.ID, e.Since = entries[i].ID, entries[i].Since
		entries[i] = e
	} else {
		if len(entries) >= maxEntries {
			return Entry{}, ErrFull
		}
		if e.ID, err = l.freshID(entries); err != nil {
			return Entry{}, err
		}
		entries = append(entries, e)
	}
	return e, l.save(ctx, entries)
}

// Remove ends a block, and returns what it was.
func (l *List) Remove(ctx context.Context, id string) (Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entries := slices.Clone(l.index.Load().entries)
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.ID == id })
	if i < 0 {
		return Entry{}, fmt.Errorf("block %q: %w", id, ErrNotFound)
	}
	e := entries[i]
	return e, l.save(ctx, slices.Delete(entries, i, i+1))
}

// save makes the entries durable, and then the list.
func (l *List) save(ctx context.Context, entries []Entry) error {
	b, err := json.Marshal(entries)
	if err != nil {
		return fmt.Errorf("block list: %w", err)
	}
	if len(b) > maxOctets {
		return ErrFull
	}
	if err := l.o.State.Save(ctx, key, b); err != nil {
		return fmt.Errorf("keep block list: %w", err)
	}
	l.index.Store(newIndex(entries))
	return nil
}

func (l *List) freshID(entries []Entry) (string, error) {
	for {
		b := make([]byte, 4)
		if _, err := io.ReadFull(l.o.Rand, b); err != nil {
			return "", fmt.Errorf("id of a block: %w", err)
		}
		id := hex.EncodeToString(b)
		if !slices.ContainsFunc(entries, func(e Entry) bool { return e.ID == id }) {
			return id, nil
		}
	}
}

// line makes text fit for one line.
func line(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s))
}
