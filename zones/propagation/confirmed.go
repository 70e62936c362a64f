package propagation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones/internal/records"
)

// Provider is what Confirmed stands before.
type Provider interface {
	libdns.RecordGetter
	libdns.RecordSetter
}

// Checker asks all name servers; *Servers is one.
type Checker interface {
	Check(ctx context.Context, fqdn string, qtype uint16, want []string) error
	Wait(ctx context.Context, fqdn string, qtype uint16, want []string) error
}

// parallelWaits bounds how many RRsets are asked for at a time.
const parallelWaits = 8

// Confirmed is a provider for whom records are set once every name server serves
// them. What it set at any time is read back only if every name server serves it,
// too: a provider that has taken a change which one of its name servers does not
// serve yet is an error, not a new state. It is safe for concurrent use.
type Confirmed struct {
	provider Provider
	servers  Checker

	mu  sync.Mutex
	set map[records.ID][]string // what all servers served; nil: not known
}

// Confirm returns a provider that sets and reads back through p what the servers
// confirm.
func Confirm(p Provider, servers Checker) *Confirmed {
	return &Confirmed{provider: p, servers: servers, set: make(map[records.ID][]string)}
}

// SetRecords sets records and waits, until ctx ends, for all name servers.
func (c *Confirmed) SetRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	sets, err := records.ParseAll(dns.CanonicalName(zone), recs, 0)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	for _, id := range sets.Order {
		c.set[id] = nil
	}
	c.mu.Unlock()
	out, err := c.provider.SetRecords(ctx, zone, recs)
	if err != nil {
		return nil, err
	}
	if err := c.all(ctx, sets, c.servers.Wait); err != nil {
		return nil, fmt.Errorf("set, but not served by every name server: %w", err)
	}
	return out, nil
}

// GetRecords returns the records of the provider. If an RRset that was set here is
// not the one that all name servers serve, the error is an [*UnconfirmedError], and
// the records are returned beside it.
func (c *Confirmed) GetRecords(ctx context.Context, zone string) ([]libdns.Record, error) {
	recs, err := c.provider.GetRecords(ctx, zone)
	if err != nil {
		return nil, err
	}
	if err := c.all(ctx, c.mine(dns.CanonicalName(zone), recs), c.servers.Check); err != nil {
		return recs, fmt.Errorf("the provider's records are not served by every name server: %w", err)
	}
	return recs, nil
}

// UnconfirmedError says which RRsets not all name servers serve.
type UnconfirmedError struct {
	names []string
	errs  error
}

func (e *UnconfirmedError) Error() string { return e.errs.Error() }

// Unwrap returns why, of each.
func (e *UnconfirmedError) Unwrap() error { return e.errs }

// Unconfirmed returns the names of the RRsets, with a final dot.
func (e *UnconfirmedError) Unconfirmed() []string { return e.names }

// mine returns the RRsets of recs that were set here and of which it is not known
// that all name servers serve them.
func (c *Confirmed) mine(zone string, recs []libdns.Record) records.Sets {
	var rrs []dns.RR
	for _, rec := range recs {
		if records.Settable(dns.StringToType[rec.RR().Type]) {
			rr, err := records.FromLibdns(zone, rec, 0)
			if err != nil {
				continue // not a name that could have been set here
			}
			rrs = append(rrs, rr)
		}
	}
	all := records.Group(rrs)
	out := records.Sets{Of: make(map[records.ID][]dns.RR)}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, confirmed := range c.set {
		if confirmed == nil || !slices.Equal(confirmed, records.Lines(all.Of[id])) {
			out.Order = append(out.Order, id)
			out.Of[id] = all.Of[id]
		}
	}
	slices.SortFunc(out.Order, func(a, b records.ID) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// all asks for every RRset, and notes those that every name server serves.
func (c *Confirmed) all(ctx context.Context, sets records.Sets, ask func(context.Context, string, uint16, []string) error) error {
	errs := make([]error, len(sets.Order))
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallelWaits)
	for i, id := range sets.Order {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			want := records.Lines(sets.Of[id])
			errs[i] = ask(ctx, id.Name, id.Type, want)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.set[id] = nil
			if errs[i] == nil {
				c.set[id] = want
			}
		})
	}
	wg.Wait()
	out := &UnconfirmedError{errs: errors.Join(errs...)}
	for i, err := range errs {
		if err != nil {
			out.names = append(out.names, sets.Order[i].Name)
		}
	}
	if len(out.names) == 0 {
		return nil
	}
	return out
}
