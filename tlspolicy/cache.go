package tlspolicy

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// CacheOptions configure a [Cache]. Records and Client are needed.
type CacheOptions struct {
	// Records returns the TXT records at _mta-sts.<domain>, character-strings
	// joined; none is not an error.
	Records func(ctx context.Context, domain string) ([]string, error)
	Client  *http.Client
	Now     func() time.Time // time.Now by default
	// Retry is the pause after a failed fetch, 5 minutes by default (RFC 8461
	// §3.3); negative means none.
	Retry time.Duration
	// Max is the number of domains remembered; 10,000 by default.
	Max int
}

// Cache remembers the policies of domains as a sender does. It is safe for
// concurrent use; two refreshes of a domain at a time may both fetch.
type Cache struct {
	opts CacheOptions

	mu      sync.Mutex
	entries map[string]cacheEntry
}

type cacheEntry struct {
	policy  Policy
	id      string // empty: no policy, only a failure to remember
	expires time.Time
	failed  time.Time // of the last fetch, if it failed
}

// NewCache returns an empty cache.
func NewCache(opts CacheOptions) *Cache {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Retry == 0 {
		opts.Retry = 5 * time.Minute
	}
	if opts.Max <= 0 {
		opts.Max = 10_000
	}
	return &Cache{opts: opts, entries: make(map[string]cacheEntry)}
}

// Cached returns the policy in force without asking anyone.
func (c *Cache) Cached(domain string) (Policy, bool) {
	e := c.entry(domain)
	if e.id == "" {
		return Policy{}, false
	}
	return e.policy, true
}

// Refresh asks for the record and, if its id is new, for the policy, and
// returns the policy that is then in force. The error says why there is none
// or why it could not be renewed; a policy that is still valid stays in force
// all the same.
func (c *Cache) Refresh(ctx context.Context, domain string) (Policy, bool, error) {
	old := c.entry(domain)
	inForce := old.id != ""
	txts, err := c.opts.Records(ctx, domain)
	if err != nil {
		// RFC 8461 §3.3: no live policy, but a cached one: it MUST be applied.
		return old.policy, inForce, err
	}
	record, err := FindRecord(txts)
	if err != nil {
		return old.policy, inForce, err
	}
	now := c.opts.Now()
	// RFC 8461 §10.2: refreshed before it runs out, here from half-time on.
	if inForce && record.ID == old.id && now.Before(old.expires.Add(-old.policy.MaxAge/2)) {
		return old.policy, true, nil
	}
	if !old.failed.IsZero() && now.Before(old.failed.Add(c.opts.Retry)) {
		return old.policy, inForce, nil
	}
	fresh, err := Fetch(ctx, c.opts.Client, domain)
	now = c.opts.Now()
	if err != nil {
		// RFC 8461 §5.1: a failed update leaves the unexpired policy as it is.
		old.failed = now
		if !inForce {
			old.expires = now.Add(max(c.opts.Retry, 0))
		}
		c.store(domain, old, now)
		return old.policy, inForce, err
	}
	c.store(domain, cacheEntry{policy: fresh, id: record.ID, expires: now.Add(fresh.MaxAge)}, now)
	return fresh, true, nil
}

func key(domain string) string { return strings.ToLower(strings.TrimSuffix(domain, ".")) }

// entry returns what is remembered and not expired.
func (c *Cache) entry(domain string) cacheEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key(domain)]
	if !ok || !c.opts.Now().Before(e.expires) {
		return cacheEntry{}
	}
	return e
}

func (c *Cache) store(domain string, e cacheEntry, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[key(domain)]; !ok && len(c.entries) >= c.opts.Max {
		c.evict(now)
	}
	c.entries[key(domain)] = e
}

// evict makes room: all that is expired, else what expires first.
func (c *Cache) evict(now time.Time) {
	first := ""
	for d, e := range c.entries {
		if !now.Before(e.expires) {
			delete(c.entries, d)
			continue
		}
		if first == "" || e.expires.Before(c.entries[first].expires) {
			first = d
		}
	}
	if len(c.entries) >= c.opts.Max {
		delete(c.entries, first)
	}
}
