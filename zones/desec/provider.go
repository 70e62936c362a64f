package desec

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"
	"golang.org/x/sync/semaphore"

	"github.com/tlsink/tlsink/zones/internal/records"
)

var (
	_ libdns.RecordGetter   = (*Provider)(nil)
	_ libdns.RecordAppender = (*Provider)(nil)
	_ libdns.RecordSetter   = (*Provider)(nil)
	_ libdns.RecordDeleter  = (*Provider)(nil)
)

// DefaultAPI is the API of desec.io.
const DefaultAPI = "https://desec.io/api/v1"

// manyNames is the number of names from which a listing of the zone is less work.
const manyNames = 8

// Doer sends HTTP requests; *http.Client is one.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Options describe an account.
type Options struct {
	API   string // default DefaultAPI
	Token string // of the account, with the right to write RRsets of the domain

	TTL     time.Duration // of records that have none; default 60 s
	MaxWait time.Duration // longest wait for the rate limit in one call; default 30 s
	Client  Doer          // default: one that follows no redirects, with a timeout of 30 s
	Now     func() time.Time
}

// Provider changes domains of a deSEC account. It is safe for concurrent use.
type Provider struct {
	opts    Options
	ttl     uint32
	writing *semaphore.Weighted // one call writes at a time

	mu    sync.Mutex
	until time.Time // no request before
}

// New returns a provider; nothing is sent before the first call.
func New(o Options) (*Provider, error) {
	if o.API == "" {
		o.API = DefaultAPI
	}
	o.API = strings.TrimSuffix(o.API, "/")
	u, err := url.Parse(o.API)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, fmt.Errorf("desec: api %q: want an https URL such as %s, because the token goes there", o.API, DefaultAPI)
	}
	if o.Token == "" || strings.ContainsFunc(o.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("desec: token is empty or not one word; give the token that desec.io/tokens showed")
	}
	if o.TTL == 0 {
		o.TTL = time.Minute
	}
	if o.TTL < time.Second {
		return nil, fmt.Errorf("desec: ttl %s: want at least 1s", o.TTL)
	}
	if o.MaxWait <= 0 {
		o.MaxWait = 30 * time.Second
	}
	if o.Client == nil {
		o.Client = &http.Client{
			Timeout:       30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Provider{opts: o, ttl: uint32(o.TTL / time.Second), writing: semaphore.NewWeighted(1)}, nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// GetRecords returns all records of the domain that deSEC lets its users see: all
// but SOA and those of DNSSEC.
func (p *Provider) GetRecords(ctx context.Context, zone string) ([]libdns.Record, error) {
	zone = dns.CanonicalName(zone)
	sets, err := p.list(ctx, zone, nil)
	if err != nil {
		return nil, fmt.Errorf("get records of %q: %w", zone, err)
	}
	out := []libdns.Record{}
	for _, set := range sets {
		rrs, err := set.parse(zone)
		switch {
		case err == nil:
			out = append(out, records.AllToLibdns(zone, rrs)...)
		case records.Settable(dns.StringToType[set.Type]):
			return nil, fmt.Errorf("get records of %q: %w", zone, err)
		default: // nothing that the sink works with: as it is
			for _, data := range set.Records {
				out = append(out, libdns.RR{Name: set.label(), TTL: time.Duration(set.TTL) * time.Second, Type: set.Type, Data: data})
			}
		}
	}
	return out, nil
}

// SetRecords makes the given records the only ones of their names and types, in one
// request, and returns them as deSEC stored them. Within an RRset the lowest TTL
// holds.
func (p *Provider) SetRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	zone = dns.CanonicalName(zone)
	sets, err := records.ParseAll(zone, recs, p.ttl)
	if err != nil {
		return nil, fmt.Errorf("set records of %q: %w", zone, err)
	}
	if err := p.writing.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("set records of %q: %w", zone, err)
	}
	defer p.writing.Release(1)
	out, err := p.patch(ctx, zone, sets)
	if err != nil {
		return nil, fmt.Errorf("set records of %q: %w", zone, err)
	}
	return records.AllToLibdns(zone, out), nil
}

// AppendRecords adds records in one request and returns them. A record that exists
// already is not added again; one that joins an RRset gets the TTL of that
// (RFC 2181 §5.2).
func (p *Provider) AppendRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	zone = dns.CanonicalName(zone)
	out, err := p.appendTo(ctx, zone, recs)
	if err != nil {
		return nil, fmt.Errorf("append records to %q: %w", zone, err)
	}
	return records.AllToLibdns(zone, out), nil
}

func (p *Provider) appendTo(ctx context.Context, zone string, recs []libdns.Record) ([]dns.RR, error) {
	sets, err := records.ParseAll(zone, recs, p.ttl)
	if err != nil {
		return nil, err
	}
	if err := p.writing.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer p.writing.Release(1)
	var names []string
	for _, id := range sets.Order {
		names = append(names, id.Name)
	}
	present, err := p.present(ctx, zone, names)
	if err != nil {
		return nil, err
	}
	change := records.Sets{Of: make(map[records.ID][]dns.RR)}
	for _, id := range sets.Order {
		if joining := records.Joining(present.Of[id], sets.Of[id]); len(joining) > 0 {
			change.Order = append(change.Order, id)
			change.Of[id] = slices.Concat(present.Of[id], joining)
		}
	}
	if _, err := p.patch(ctx, zone, change); err != nil {
		return nil, err
	}
	return sets.All(), nil
}

// DeleteRecords removes the records that are equal to the given ones in name, type,
// TTL and data, in one request, and returns them. An empty type, TTL or data matches
// every one, of the types that can be set. Records that do not exist are ignored.
func (p *Provider) DeleteRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	zone = dns.CanonicalName(zone)
	out, err := p.remove(ctx, zone, recs)
	if err != nil {
		return nil, fmt.Errorf("delete records of %q: %w", zone, err)
	}
	return records.AllToLibdns(zone, out), nil
}

func (p *Provider) remove(ctx context.Context, zone string, recs []libdns.Record) ([]dns.RR, error) {
	var matchers []func(dns.RR) bool
	var names []string
	for _, rec := range recs {
		match, err := records.Matcher(zone, rec)
		if err != nil {
			return nil, err
		}
		name, err := records.Owner(zone, rec.RR().Name)
		if err != nil {
			return nil, err
		}
		matchers, names = append(matchers, match), append(names, name)
	}
	if err := p.writing.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer p.writing.Release(1)
	present, err := p.present(ctx, zone, names)
	if err != nil {
		return nil, err
	}
	change := records.Sets{Of: make(map[records.ID][]dns.RR)}
	var gone []dns.RR
	for _, id := range present.Order {
		var rest []dns.RR
		for _, rr := range present.Of[id] {
			if slices.ContainsFunc(matchers, func(match func(dns.RR) bool) bool { return match(rr) }) {
				gone = append(gone, rr)
			} else {
				rest = append(rest, rr)
			}
		}
		if len(rest) < len(present.Of[id]) {
			change.Order = append(change.Order, id)
			change.Of[id] = rest
		}
	}
	if _, err := p.patch(ctx, zone, change); err != nil {
		return nil, err
	}
	return gone, nil
}

// present returns the RRsets at some names, of the types that can be set.
func (p *Provider) present(ctx context.Context, zone string, names []string) (records.Sets, error) {
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > manyNames {
		names = nil
	}
	var found []rrset
	if names == nil {
		var err error
		if found, err = p.list(ctx, zone, nil); err != nil {
			return records.Sets{}, err
		}
	}
	for _, name := range names {
		sub := subname(zone, name)
		sets, err := p.list(ctx, zone, &sub)
		if err != nil {
			return records.Sets{}, err
		}
		found = append(found, sets...)
	}
	var all []dns.RR
	for _, set := range found {
		if !records.Settable(dns.StringToType[set.Type]) {
			continue
		}
		rrs, err := set.parse(zone)
		if err != nil {
			return records.Sets{}, err
		}
		all = append(all, rrs...)
	}
	return records.Group(all), nil
}

// patch writes RRsets, atomically; an empty one is deleted. It returns the others
// as they were stored.
func (p *Provider) patch(ctx context.Context, zone string, sets records.Sets) ([]dns.RR, error) {
	if len(sets.Order) == 0 {
		return nil, ctx.Err()
	}
	in := make([]rrset, len(sets.Order))
	for i, id := range sets.Order {
		in[i] = newRRset(zone, id, sets.Of[id])
	}
	var stored []rrset
	if err := p.call(ctx, http.MethodPatch, p.url(zone), in, &stored); err != nil {
		return nil, err
	}
	var all []dns.RR
	for _, set := range stored {
		rrs, err := set.parse(zone)
		if err != nil {
			return nil, err
		}
		all = append(all, rrs...)
	}
	got := records.Group(all)
	var out []dns.RR
	for _, id := range sets.Order {
		if !records.SameSet(got.Of[id], sets.Of[id]) {
			return nil, fmt.Errorf("deSEC took the request but stored %q for %s", records.Lines(got.Of[id]), id)
		}
		out = append(out, got.Of[id]...)
	}
	return out, nil
}
