package rfc2136

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
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

// manySets is the number of RRsets from which a transfer is less work than queries.
const manySets = 16

// Options describe a server and the key for it.
type Options struct {
	Server    string // primary name server, host:port; port 53 if there is none
	KeyName   string
	Algorithm string // default "hmac-sha256"
	Secret    string // base64

	TTL     time.Duration // of records that have none; default 60 s
	Timeout time.Duration // of one exchange, or of one transfer; default 10 s
	Settle  time.Duration // until the server serves what it has taken; default 5 s

	// Dial replaces the network, for tests.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Now  func() time.Time // signs; default time.Now
}

// Provider changes zones of a name server. It is safe for concurrent use.
type Provider struct {
	opts      Options
	key, algo string // canonical
	ttl       uint32
	writing   *semaphore.Weighted // one call writes at a time
}

// New returns a provider; nothing is sent before the first call.
func New(o Options) (*Provider, error) {
	if o.Server == "" {
		return nil, errors.New("rfc2136: server is empty; give host:port of the primary name server")
	}
	if _, _, err := net.SplitHostPort(o.Server); err != nil {
		o.Server = net.JoinHostPort(strings.Trim(o.Server, "[]"), "53")
	}
	if _, ok := dns.IsDomainName(o.KeyName); !ok || o.KeyName == "" {
		return nil, fmt.Errorf("rfc2136: key_name %q: want the name of a TSIG key", o.KeyName)
	}
	if o.Algorithm == "" {
		o.Algorithm = "hmac-sha256"
	}
	known := []string{dns.HmacSHA1, dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512}
	algo := dns.CanonicalName(o.Algorithm)
	if !slices.Contains(known, algo) {
		return nil, fmt.Errorf("rfc2136: algorithm %q: want one of %s", o.Algorithm, strings.Join(known, " "))
	}
	if raw, err := base64.StdEncoding.DecodeString(o.Secret); err != nil || len(raw) == 0 {
		return nil, fmt.Errorf("rfc2136: secret of key %q: want base64, as in the key file of the name server", o.KeyName)
	}
	if o.TTL == 0 {
		o.TTL = time.Minute
	}
	if o.TTL < time.Second {
		return nil, fmt.Errorf("rfc2136: ttl %s: want at least 1s", o.TTL)
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Settle <= 0 {
		o.Settle = 5 * time.Second
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Provider{
		opts: o, key: dns.CanonicalName(o.KeyName), algo: algo,
		ttl: uint32(o.TTL / time.Second), writing: semaphore.NewWeighted(1),
	}, nil
}

// GetRecords returns all records of the zone but SOA and those of DNSSEC, by a
// transfer (AXFR).
func (p *Provider) GetRecords(ctx context.Context, zone string) ([]libdns.Record, error) {
	zone = dns.CanonicalName(zone)
	rrs, err := p.transfer(ctx, zone)
	if err != nil {
		return nil, fmt.Errorf("get records of %q: %w", zone, err)
	}
	return records.AllToLibdns(zone, rrs), nil
}

// SetRecords makes the given records the only ones of their names and types, in one
// UPDATE, and returns them as they were read back. Within an RRset the lowest TTL
// holds.
func (p *Provider) SetRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	zone = dns.CanonicalName(zone)
	out, err := p.set(ctx, zone, recs)
	if err != nil {
		return nil, fmt.Errorf("set records of %q: %w", zone, err)
	}
	return records.AllToLibdns(zone, out), nil
}

func (p *Provider) set(ctx context.Context, zone string, recs []libdns.Record) ([]dns.RR, error) {
	sets, err := records.ParseAll(zone, recs, p.ttl)
	if err != nil {
		return nil, err
	}
	if err := p.writing.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer p.writing.Release(1)
	if len(sets.Order) == 0 {
		return nil, nil
	}
	m := new(dns.Msg).SetUpdate(zone)
	for _, id := range sets.Order {
		m.RemoveRRset(sets.Of[id][:1]) // RFC 2136 §2.5.2
	}
	m.Insert(sets.All()) // RFC 2136 §2.5.1
	if err := p.update(ctx, m); err != nil {
		return nil, err
	}
	return p.readBack(ctx, zone, sets, sameWithTTL, records.SameSet)
}

// AppendRecords adds records in one UPDATE and returns them as they were read back.
// A record that exists already is not added again; one that joins an RRset gets the
// TTL of that (RFC 2181 §5.2).
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
	if len(sets.Order) == 0 {
		return nil, nil
	}
	present, err := p.present(ctx, zone, sets.Order)
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg).SetUpdate(zone)
	for _, id := range sets.Order {
		m.Insert(records.Joining(present[id], sets.Of[id]))
	}
	if len(m.Ns) == 0 {
		return sets.All(), nil
	}
	if err := p.update(ctx, m); err != nil {
		return nil, err
	}
	if _, err := p.readBack(ctx, zone, sets, containsAll, containsAll); err != nil {
		return nil, err
	}
	return sets.All(), nil
}

func sameWithTTL(have, want []dns.RR) bool {
	return records.SameSet(have, want) && have[0].Header().Ttl == want[0].Header().Ttl
}

func containsAll(have, want []dns.RR) bool {
	return !slices.ContainsFunc(want, func(rr dns.RR) bool { return !records.Contains(have, rr) })
}

func containsNone(have, gone []dns.RR) bool {
	return !slices.ContainsFunc(gone, func(rr dns.RR) bool { return records.Contains(have, rr) })
}

// DeleteRecords removes the records that are equal to the given ones in name, type,
// TTL and data, in one UPDATE, and returns them. An empty type, TTL or data matches
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
	for _, rec := range recs {
		match, err := records.Matcher(zone, rec)
		if err != nil {
			return nil, err
		}
		matchers = append(matchers, match)
	}
	if err := p.writing.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer p.writing.Release(1)
	if len(matchers) == 0 {
		return nil, nil
	}
	all, err := p.transfer(ctx, zone)
	if err != nil {
		return nil, err
	}
	var gone []dns.RR
	m := new(dns.Msg).SetUpdate(zone)
	for _, rr := range all {
		if slices.ContainsFunc(matchers, func(match func(dns.RR) bool) bool { return match(rr) }) {
			gone = append(gone, rr)
			m.Remove([]dns.RR{dns.Copy(rr)}) // RFC 2136 §2.5.4
		}
	}
	if len(gone) == 0 {
		return nil, nil
	}
	if err := p.update(ctx, m); err != nil {
		return nil, err
	}
	_, err = p.readBack(ctx, zone, records.Group(gone), containsNone, containsNone)
	return gone, err
}

// readBack returns the RRsets as the server serves them, once all of them are what
// done wants. BIND with inline-signing (the default since 9.20) serves an update some
// time after it has answered it. What is not done in time must be what ok wants: a
// server may have a TTL of its own.
func (p *Provider) readBack(ctx context.Context, zone string, sets records.Sets, done, ok func(have, want []dns.RR) bool) ([]dns.RR, error) {
	deadline := time.NewTimer(p.opts.Settle)
	defer deadline.Stop()
	for pause := 20 * time.Millisecond; ; pause *= 2 {
		present, err := p.present(ctx, zone, sets.Order)
		if err != nil {
			return nil, fmt.Errorf("the update was applied, but reading it back failed: %w", err)
		}
		var out []dns.RR
		for _, id := range sets.Order {
			out = append(out, present[id]...)
		}
		first := func(ok func(have, want []dns.RR) bool) int {
			return slices.IndexFunc(sets.Order, func(id records.ID) bool { return !ok(present[id], sets.Of[id]) })
		}
		if first(done) < 0 {
			return out, nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("the update was applied, but is not served yet: %w", ctx.Err())
		case <-deadline.C:
			timer.Stop()
			wrong := first(ok)
			if wrong < 0 {
				return out, nil
			}
			id := sets.Order[wrong]
			return nil, fmt.Errorf("%s answered NOERROR to the update of %s, but has %q there: is there a CNAME at that name, or does something else write the zone?",
				p.opts.Server, id, records.Lines(present[id]))
		}
	}
}

// present returns the given RRsets as the server has them.
func (p *Provider) present(ctx context.Context, zone string, ids []records.ID) (map[records.ID][]dns.RR, error) {
	if len(ids) >= manySets {
		rrs, err := p.transfer(ctx, zone)
		return records.Group(rrs).Of, err
	}
	s, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.close()
	out := make(map[records.ID][]dns.RR, len(ids))
	for _, id := range ids {
		rrs, err := s.query(zone, id)
		if err != nil {
			return nil, err
		}
		out[id] = rrs
	}
	return out, nil
}
