package external

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/zones/internal/records"
)

// maxPerCall is how many records are set in one call: what fits one message.
const maxPerCall = 200

// parallelWaits bounds how many RRsets the name servers are asked for at a time.
const parallelWaits = 8

func indexDot(name string) int { return strings.IndexByte(name, '.') }

// below reports whether name is a name of some slot with this role, or below one.
func below(zone, name string, role scenario.Role) bool {
	for n := name; len(n) > len(zone); {
		if t, ok := scenario.Find(zone, n); ok && t.Role == role {
			return true
		}
		n = n[indexDot(n)+1:]
	}
	return false
}

// ours reports whether a name belongs to the sink and to nobody else.
func ours(zone, name string) bool {
	t, ok := scenario.Find(zone, name)
	if owner, found := strings.CutPrefix(name, "_smtp._tls."); found && !ok { // RFC 8460 §3
		t, ok = scenario.Find(zone, owner)
		return ok && t.Role == scenario.RoleET
	}
	switch t.Role {
	case scenario.RoleApex, scenario.RoleService, scenario.RoleNS:
		return false
	}
	return ok
}

// difference is what a round has to do.
type difference struct {
	report Report
	set    []records.ID
	want   records.Sets
	remove []dns.RR
	rotate bool
}

// compare finds out what differs from the content.
func (p *Publisher) compare(want records.Sets, recs []libdns.Record, rotated bool) *difference {
	d := &difference{want: records.Sets{Of: make(map[records.ID][]dns.RR)}}
	have := p.read(recs, want, d)
	for _, id := range order(want.Order) {
		wantSet, haveSet := want.Of[id], have.Of[id]
		if id.Name == p.zone && id.Type == dns.TypeTXT {
			wantSet = beside(wantSet, haveSet)
		}
		same, ttl := records.SameSet(haveSet, wantSet), ttlOf(haveSet) <= ttlOf(wantSet)
		if id.Type == dns.TypeMX && below(p.zone, id.Name, scenario.RoleET) {
			if sameHosts(haveSet, wantSet) {
				continue // the order is the rotator's, and so is the TTL
			}
			if rotated && len(haveSet) == 0 { // nobody has seen an order
				d.rotate = true
				continue
			}
			if rotated {
				d.rotate = true
				d.report.Wrong = append(d.report.Wrong, fmt.Sprintf("%s: the MX records were %q, which no turn of the rotation has; the order was not known since they were changed", id.Name, records.Lines(haveSet)))
				continue
			}
		} else if same && ttl {
			continue
		}
		d.set = append(d.set, id)
		d.want.Of[id] = wantSet
		d.report.Changed = append(d.report.Changed, Change{
			Name: id.Name, Type: dns.TypeToString[id.Type], Have: records.Lines(haveSet), Want: records.Lines(wantSet), TTL: same,
			Cached: cached(haveSet),
		})
	}
	for _, id := range have.Order {
		if _, wanted := want.Of[id]; wanted {
			continue
		}
		if protects(p.zone, id.Name, id.Type) || ours(p.zone, id.Name) {
			d.remove = append(d.remove, have.Of[id]...)
			d.report.Changed = append(d.report.Changed, Change{Name: id.Name, Type: dns.TypeToString[id.Type], Have: records.Lines(have.Of[id]), Cached: cached(have.Of[id])})
		}
	}
	return d
}

// read takes the RRsets of the provider, and notes what is wrong and can't be
// repaired.
func (p *Publisher) read(recs []libdns.Record, want records.Sets, d *difference) records.Sets {
	names := make(map[string]bool)
	for _, id := range want.Order {
		names[id.Name] = true
	}
	var rrs []dns.RR
	for _, rec := range recs {
		in := rec.RR()
		name := dns.CanonicalName(libdns.AbsoluteName(in.Name, p.zone))
		switch {
		case strings.HasPrefix(name, "*.") && below(p.zone, name[2:], scenario.RoleUT):
			d.report.Wrong = append(d.report.Wrong, fmt.Sprintf("%s %s: this wildcard answers for names below ut, which must not exist; delete it", name, in.Type))
		case in.Type == "CNAME" && (names[name] || protects(p.zone, name, dns.TypeCNAME)):
			d.report.Wrong = append(d.report.Wrong, fmt.Sprintf("%s is an alias (CNAME) of %s, but belongs to the sink; delete it", name, in.Data))
		case (in.Type == "NS" || in.Type == "DNAME") && name != p.zone && delegates(name, names):
			d.report.Wrong = append(d.report.Wrong, fmt.Sprintf("%s %s takes names of the sink out of the zone; delete it", name, in.Type))
		}
		if rr, err := records.FromLibdns(p.zone, rec, 0); err == nil {
			rrs = append(rrs, rr)
		}
	}
	slices.Sort(d.report.Wrong)
	d.report.Wrong = slices.Compact(d.report.Wrong)
	return records.Group(rrs)
}

// delegates reports whether one of the names is at or below name.
func delegates(name string, names map[string]bool) bool {
	for n := range names {
		if dns.IsSubDomain(name, n) {
			return true
		}
	}
	return false
}

// order puts addresses first: BIND takes no MX records of hosts without them.
func order(ids []records.ID) []records.ID {
	rank := func(id records.ID) int {
		if id.Type == dns.TypeA || id.Type == dns.TypeAAAA {
			return 0
		}
		return 1
	}
	return slices.SortedStableFunc(slices.Values(ids), func(a, b records.ID) int { return cmp.Compare(rank(a), rank(b)) })
}

// beside returns our TXT records of the zone itself and those of others, without
// another SPF record (RFC 7208 §3.2: there may be only one).
func beside(own, have []dns.RR) []dns.RR {
	out := slices.Clone(own)
	for _, rr := range have {
		text := strings.ToLower(records.Data(rr))
		if !records.Contains(out, rr) && text != "v=spf1" && !strings.HasPrefix(text, "v=spf1 ") {
			other := dns.Copy(rr)
			other.Header().Ttl = own[0].Header().Ttl
			out = append(out, other)
		}
	}
	return out
}

func ttlOf(set []dns.RR) uint32 {
	if len(set) == 0 {
		return 0
	}
	return set[0].Header().Ttl
}

func cached(set []dns.RR) time.Duration { return time.Duration(ttlOf(set)) * time.Second }

// sameHosts reports whether two MX RRsets have the same hosts, each once, with
// preferences that differ.
func sameHosts(a, b []dns.RR) bool {
	hosts := func(set []dns.RR) []string {
		var out []string
		seen := make(map[uint16]bool)
		for _, rr := range set {
			mx, ok := rr.(*dns.MX)
			if !ok || seen[mx.Preference] {
				return nil
			}
			seen[mx.Preference] = true
			out = append(out, dns.CanonicalName(mx.Mx))
		}
		slices.Sort(out)
		return out
	}
	return len(a) > 0 && slices.Equal(hosts(a), hosts(b))
}

// apply writes a difference. What protects ut goes first: it spoils verdicts.
func (p *Publisher) apply(ctx context.Context, d *difference) error {
	if len(d.remove) > 0 {
		gone := make([]libdns.Record, len(d.remove))
		for i, rr := range d.remove {
			in := records.ToLibdns(p.zone, rr).RR()
			in.TTL = 0 // whatever it is
			gone[i] = in
		}
		if _, err := p.opts.Provider.DeleteRecords(ctx, p.zone, gone); err != nil {
			return fmt.Errorf("remove records: %w", err)
		}
	}
	var call []libdns.Record
	for i, id := range d.set {
		call = append(call, records.AllToLibdns(p.zone, d.want.Of[id])...)
		if len(call) < maxPerCall && i < len(d.set)-1 {
			continue
		}
		got, err := p.opts.Provider.SetRecords(ctx, p.zone, call)
		if err != nil {
			return fmt.Errorf("publish records: %w", err)
		}
		if err := p.checkTTL(got, d.want); err != nil {
			return err
		}
		call = nil
	}
	return nil
}

// confirmAll waits for all name servers to have a difference.
func (p *Publisher) confirmAll(ctx context.Context, d *difference) error {
	removed := records.Group(d.remove)
	for _, id := range removed.Order {
		removed.Of[id] = nil
	}
	return errors.Join(p.confirm(ctx, removed, removed.Order), p.confirm(ctx, d.want, d.set))
}

// checkTTL fails if a provider has raised a TTL: nothing of the sink may be cached
// for longer, or changes are seen too late.
func (p *Publisher) checkTTL(got []libdns.Record, want records.Sets) error {
	for _, rec := range got {
		rr, err := records.FromLibdns(p.zone, rec, 0)
		if err != nil {
			continue
		}
		id := records.IDOf(rr)
		if asked := want.Of[id]; len(asked) > 0 && rr.Header().Ttl > ttlOf(asked) {
			return fmt.Errorf("the provider has given %s a TTL of %d s instead of %d s: use one that takes it", id, rr.Header().Ttl, ttlOf(asked))
		}
	}
	return nil
}

// confirm waits until every name server serves these RRsets.
func (p *Publisher) confirm(ctx context.Context, sets records.Sets, ids []records.ID) error {
	if p.opts.Servers == nil {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelWaits)
	for _, id := range ids {
		group.Go(func() error {
			return p.opts.Servers.Wait(ctx, id.Name, id.Type, records.Lines(sets.Of[id]))
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("published, but not served by every name server: %w", err)
	}
	return nil
}

// maxTTL is the largest TTL of the content.
func maxTTL(sets records.Sets) time.Duration {
	var out uint32
	for _, set := range sets.Of {
		out = max(out, ttlOf(set))
	}
	return time.Duration(out) * time.Second
}
