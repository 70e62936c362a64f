package zones

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones/internal/records"
)

var (
	_ libdns.RecordGetter   = (*Zone)(nil)
	_ libdns.RecordAppender = (*Zone)(nil)
	_ libdns.RecordSetter   = (*Zone)(nil)
	_ libdns.RecordDeleter  = (*Zone)(nil)
)

// checkZone refuses calls for other zones.
func (z *Zone) checkZone(ctx context.Context, zone string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if dns.CanonicalName(zone) != z.opts.Zone {
		return fmt.Errorf("zone %q is not served here, only %q", zone, z.opts.Zone)
	}
	return nil
}

// GetRecords returns the A, AAAA, MX, TLSA and TXT records of the zone, which are
// the types that can be set, in canonical order of names, then by type.
func (z *Zone) GetRecords(ctx context.Context, zone string) ([]libdns.Record, error) {
	if err := z.checkZone(ctx, zone); err != nil {
		return nil, fmt.Errorf("get records: %w", err)
	}
	snap := z.current.Load()
	var out []dns.RR
	for _, key := range snap.chain {
		sets := snap.nodes[key].sets
		for _, rrtype := range slices.Sorted(maps.Keys(sets)) {
			if settable(rrtype) {
				out = append(out, sets[rrtype].rrs...)
			}
		}
	}
	return records.AllToLibdns(z.opts.Zone, out), nil
}

// AppendRecords adds records, atomically, and returns them as they were added.
// A record that exists already is not added again. Its TTL is that of the RRset it
// joins (RFC 2181 §5.2), else at most that of the zone; 0 means the zone's.
func (z *Zone) AppendRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	return z.change(ctx, "append records", zone, recs, func(c content, ids []setID, rrs []dns.RR) ([]dns.RR, error) {
		added := make([]dns.RR, 0, len(rrs))
		for i, id := range ids {
			old := c[id]
			if len(old) > 0 {
				rrs[i].Header().Ttl = old[0].Header().Ttl
			}
			added = append(added, rrs[i])
			if records.Contains(old, rrs[i]) {
				continue
			}
			c[id] = append(slices.Clone(old), rrs[i])
		}
		return added, z.checkSizes(c, ids)
	})
}

// SetRecords makes the given records the only ones of their names and types,
// atomically, and returns them as they were set. TTLs are at most that of the
// zone, 0 means the zone's; within an RRset the lowest one holds. The order of
// records has no meaning. A call that changes nothing makes no new serial.
func (z *Zone) SetRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	return z.change(ctx, "set records", zone, recs, func(c content, ids []setID, rrs []dns.RR) ([]dns.RR, error) {
		sets := make(content)
		var set []dns.RR
		for i, id := range ids {
			if !records.Contains(sets[id], rrs[i]) {
				sets[id] = append(sets[id], rrs[i])
				set = append(set, rrs[i])
			}
		}
		for id, members := range sets {
			lowest := slices.MinFunc(members, func(a, b dns.RR) int { return int(a.Header().Ttl) - int(b.Header().Ttl) })
			for _, rr := range members {
				rr.Header().Ttl = lowest.Header().Ttl
			}
			if !sameSet(c[id], members) {
				c[id] = members
			}
		}
		return set, z.checkSizes(c, ids)
	})
}

// DeleteRecords removes records that are equal to the given ones in name, type,
// TTL and data, atomically, and returns them. An empty type, TTL or data
// matches every one. Records that do not exist are ignored.
func (z *Zone) DeleteRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	if err := z.checkZone(ctx, zone); err != nil {
		return nil, fmt.Errorf("delete records: %w", err)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	next := maps.Clone(z.content)
	var deleted []dns.RR
	for _, rec := range recs {
		key, match, err := z.matcher(rec)
		if err != nil {
			return nil, fmt.Errorf("delete records: %w", err)
		}
		for _, rrtype := range records.Types() {
			id := setID{key, rrtype}
			var rest, gone []dns.RR
			for _, rr := range next[id] {
				if match(rr) {
					gone = append(gone, rr)
				} else {
					rest = append(rest, rr)
				}
			}
			switch {
			case len(rest) == 0:
				delete(next, id)
			case len(gone) > 0:
				next[id] = rest
			}
			deleted = append(deleted, gone...)
		}
	}
	if len(deleted) == 0 {
		return nil, nil
	}
	if err := z.publish(next); err != nil {
		return nil, fmt.Errorf("delete records: %w", err)
	}
	return records.AllToLibdns(z.opts.Zone, deleted), nil
}

// matcher returns the name that rec is about, and what decides whether a
// record there is meant.
func (z *Zone) matcher(rec libdns.Record) (nameKey, func(dns.RR) bool, error) {
	if rec == nil {
		return "", nil, errors.New("a record is nil")
	}
	in := rec.RR()
	fqdn, err := records.Owner(z.opts.Zone, in.Name)
	if err != nil {
		return "", nil, err
	}
	key, err := keyOf(fqdn)
	if err != nil {
		return "", nil, err
	}
	if in.TTL != 0 { // of a record that was set with it
		in.TTL = time.Duration(z.clampTTL(in.TTL)) * time.Second
	}
	match, err := records.Matcher(z.opts.Zone, in)
	return key, match, err
}

// change reads recs, lets edit work on a copy of the content, and publishes it
// if it is another one. What edit returns is returned to the caller.
func (z *Zone) change(ctx context.Context, what, zone string, recs []libdns.Record,
	edit func(c content, ids []setID, rrs []dns.RR) ([]dns.RR, error),
) ([]libdns.Record, error) {
	if err := z.checkZone(ctx, zone); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	ids, rrs := make([]setID, len(recs)), make([]dns.RR, len(recs))
	for i, rec := range recs {
		if rec == nil {
			return nil, fmt.Errorf("%s: record %d is nil", what, i)
		}
		var err error
		if ids[i], rrs[i], err = z.fromLibdns(rec); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	next := maps.Clone(z.content)
	out, err := edit(next, ids, rrs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if z.changed(next, ids) {
		if err := z.publish(next); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	return records.AllToLibdns(z.opts.Zone, out), nil
}

// changed reports whether an RRset of ids is not the one published.
func (z *Zone) changed(next content, ids []setID) bool {
	return slices.ContainsFunc(ids, func(id setID) bool {
		a, b := next[id], z.content[id]
		return len(a) != len(b) || len(a) > 0 && &a[0] != &b[0]
	})
}

// checkSizes bounds the members of RRsets.
func (z *Zone) checkSizes(c content, ids []setID) error {
	for _, id := range ids {
		if n := len(c[id]); n > z.opts.Limits.RecordsPerName {
			return fmt.Errorf("%s %s: %d records, at most %d of one name and type are served",
				c[id][0].Header().Name, dns.TypeToString[id.rrtype], n, z.opts.Limits.RecordsPerName)
		}
		size := 0
		for _, rr := range c[id] {
			size += dns.Len(rr)
		}
		if size > dns.MaxMsgSize/2 {
			return errors.New("the RRset does not fit a DNS message")
		}
	}
	return nil
}

// sameSet reports whether two RRsets have the same TTL and members.
func sameSet(a, b []dns.RR) bool {
	return len(a) > 0 && len(b) > 0 && a[0].Header().Ttl == b[0].Header().Ttl && records.SameSet(a, b)
}
