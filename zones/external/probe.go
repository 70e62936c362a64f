package external

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones/internal/records"
)

// ProbeName is the name in the zone at which Probe writes. It has no underscore:
// BIND takes no addresses at names that have one.
const ProbeName = "tlsink-probe"

// Probe finds out whether the provider can do all that the content needs, by doing
// it at ProbeName: every record type, its TTL, replacing an RRset as a whole, and
// removing it. The error says what it can't do.
func (p *Publisher) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
	defer cancel()
	want, _ := p.wanted()
	first, second := p.samples(want, 1), p.samples(want, 2)
	if err := p.roundTrip(ctx, first, second); err != nil {
		if unreachable(err) {
			return fmt.Errorf("DNS provider of zone %q: %w", p.zone, err)
		}
		if cleanErr := p.removeProbe(context.WithoutCancel(ctx), first); cleanErr != nil {
			p.opts.Logger.WarnContext(ctx, "records of the probe not removed", slog.String("name", ProbeName), slog.Any("err", cleanErr))
		}
		return fmt.Errorf("DNS provider can't serve zone %q: %w", p.zone, err)
	}
	return nil
}

// samples returns records of every type of the content, of which round makes others.
func (p *Publisher) samples(want records.Sets, round int) []libdns.Record {
	ttl := maxTTL(want)
	types := make(map[uint16]bool)
	for _, id := range want.Order {
		types[id.Type] = true
	}
	var out []libdns.Record
	if types[dns.TypeA] {
		out = append(out, libdns.Address{Name: ProbeName, TTL: ttl, IP: netip.AddrFrom4([4]byte{192, 0, 2, byte(round)})})
	}
	if types[dns.TypeAAAA] {
		out = append(out, libdns.Address{Name: ProbeName, TTL: ttl, IP: netip.MustParseAddr(fmt.Sprint("2001:db8::", round))})
	}
	if types[dns.TypeMX] {
		for i := range 4 { // BIND takes no hosts of the zone without an address
			target := fmt.Sprintf("mx%d.example.net.", (i+round)%4)
			out = append(out, libdns.MX{Name: ProbeName, TTL: ttl, Preference: uint16(10 * (i + 1)), Target: target})
		}
	}
	if types[dns.TypeTXT] {
		out = append(out, libdns.TXT{Name: ProbeName, TTL: ttl, Text: fmt.Sprintf("v=probe%d; \"%s\"", round, strings.Repeat("0123456789", 30))})
	}
	if types[dns.TypeTLSA] {
		out = append(out, libdns.RR{Name: "_25._tcp." + ProbeName, TTL: ttl, Type: "TLSA", Data: "3 1 1 " + strings.Repeat(fmt.Sprintf("%02x", 0xa0+round), 32)})
	}
	return out
}

func (p *Publisher) roundTrip(ctx context.Context, first, second []libdns.Record) error {
	for _, recs := range [][]libdns.Record{first, second} {
		if _, err := p.opts.Provider.SetRecords(ctx, p.zone, recs); err != nil {
			return p.blame(ctx, err, recs)
		}
		if err := p.holds(ctx, recs); err != nil {
			return err
		}
	}
	if err := p.removeProbe(ctx, second); err != nil {
		return err
	}
	return p.holds(ctx, nil)
}

// holds compares what is at the probe's names.
func (p *Publisher) holds(ctx context.Context, want []libdns.Record) error {
	recs, err := p.opts.Provider.GetRecords(ctx, p.zone)
	if err != nil {
		return fmt.Errorf("it can't be read back: %w", err)
	}
	wantSets, err := records.ParseAll(p.zone, want, 0)
	if err != nil {
		return err
	}
	var rrs []dns.RR
	for _, rec := range recs {
		if rr, err := records.FromLibdns(p.zone, rec, 0); err == nil && dns.IsSubDomain(ProbeName+"."+p.zone, rr.Header().Name) {
			rrs = append(rrs, rr)
		}
	}
	have := records.Group(rrs)
	for _, id := range slices.Concat(wantSets.Order, have.Order) {
		if err := compareProbe(id, have.Of[id], wantSets.Of[id]); err != nil {
			return err
		}
	}
	return nil
}

func compareProbe(id records.ID, have, want []dns.RR) error {
	rrtype := dns.TypeToString[id.Type]
	switch {
	case len(have) == 0 && len(want) > 0:
		return fmt.Errorf("provider drops %s: it took the records of %s, and they are not there", rrtype, id.Name)
	case len(have) > 0 && len(want) == 0:
		return fmt.Errorf("provider does not remove %s: %q is still there", rrtype, records.Lines(have))
	case !records.SameSet(have, want):
		return fmt.Errorf("provider changes %s: set %q, read back %q", rrtype, records.Lines(want), records.Lines(have))
	case ttlOf(have) > ttlOf(want):
		return fmt.Errorf("provider stores %s with a TTL of %d s instead of %d s: changes would be seen too late", rrtype, ttlOf(have), ttlOf(want))
	}
	return nil
}

// unreachable reports whether the provider was not there to answer. To go on
// asking would only take long; the next probe removes what is left of this one.
func unreachable(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network
}

// blame tries each type by itself, to say which ones the provider refuses.
func (p *Publisher) blame(ctx context.Context, err error, recs []libdns.Record) error {
	if unreachable(err) {
		return err
	}
	byType := make(map[string][]libdns.Record)
	var types []string
	for _, rec := range recs {
		t := rec.RR().Type
		if byType[t] == nil {
			types = append(types, t)
		}
		byType[t] = append(byType[t], rec)
	}
	var refused, taken []string
	for _, t := range types {
		if _, setErr := p.opts.Provider.SetRecords(ctx, p.zone, byType[t]); setErr != nil {
			refused = append(refused, t)
		} else {
			taken = append(taken, t)
		}
	}
	if len(refused) == 0 || len(refused) == len(types) || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("provider refuses %s, but takes %s; let the key or token change records of every type at and below the zone (Knot: update-type, BIND: update-policy), or use another provider. It says: %w",
		strings.Join(refused, ", "), strings.Join(taken, ", "), err)
}

// removeProbe removes everything at the probe's names.
func (p *Publisher) removeProbe(ctx context.Context, recs []libdns.Record) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var gone []libdns.Record
	for _, rec := range recs {
		rr := libdns.RR{Name: rec.RR().Name, Type: rec.RR().Type}
		if !slices.Contains(gone, libdns.Record(rr)) {
			gone = append(gone, rr)
		}
	}
	if _, err := p.opts.Provider.DeleteRecords(ctx, p.zone, gone); err != nil {
		return fmt.Errorf("records at %s.%s can't be removed: %w", ProbeName, p.zone, err)
	}
	return nil
}
