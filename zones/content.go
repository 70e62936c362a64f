package zones

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/zones/internal/records"
)

// setID names an RRset of the zone.
type setID struct {
	key    nameKey
	rrtype uint16
}

// content is the unsigned zone. The record slices are immutable and replaced as
// a whole: a slice that stayed the same one keeps its signature.
type content map[setID][]dns.RR

// builder collects the initial content.
type builder struct {
	opts Options
	ttl  uint32
	out  content
	errs []error
}

// initialContent builds every record that Options describe.
func initialContent(o Options) (content, error) {
	b := &builder{opts: o, ttl: uint32(o.TTL.Seconds()), out: make(content)}
	b.apex()
	for slot := range o.Slots {
		b.slot(scenario.Names(o.Zone, slot))
	}
	b.tlsa()
	return b.out, errors.Join(b.errs...)
}

// Content returns what the zone of Options contains, for an external provider
// that serves it: everything that can be set through libdns, which is all but
// SOA, NS and DNSSEC, and without ns1, which is the name server of New. Names are
// relative, in canonical order.
func Content(o Options) ([]libdns.Record, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("zone options: %w", err)
	}
	all, err := initialContent(o)
	if err != nil {
		return nil, fmt.Errorf("zone options: %w", err)
	}
	own := dns.CanonicalName(scenario.NameServer(o.Zone))
	ids := slices.SortedFunc(maps.Keys(all), func(a, b setID) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.rrtype, b.rrtype))
	})
	var out []dns.RR
	for _, id := range ids {
		if settable(id.rrtype) && all[id][0].Header().Name != own {
			out = append(out, all[id]...)
		}
	}
	return records.AllToLibdns(o.Zone, out), nil
}

// add appends a record to its RRset. Its header needs neither class nor TTL.
func (b *builder) add(name string, rrtype uint16, rr dns.RR) {
	name = dns.CanonicalName(name)
	key, err := keyOf(name)
	if err == nil {
		err = checkHostname(name)
	}
	if err != nil {
		b.errs = append(b.errs, fmt.Errorf("name %q: %w", name, err))
		return
	}
	*rr.Header() = dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: b.ttl}
	id := setID{key, rrtype}
	b.out[id] = append(b.out[id], rr)
}

func (b *builder) addresses(name string, addrs []netip.Addr) {
	for _, a := range addrs {
		rrtype, rr := addressRR(a)
		b.add(name, rrtype, rr)
	}
}

func addressRR(a netip.Addr) (rrtype uint16, rr dns.RR) {
	if a.Is4() {
		return dns.TypeA, &dns.A{A: a.AsSlice()}
	}
	return dns.TypeAAAA, &dns.AAAA{AAAA: a.AsSlice()}
}

func (b *builder) txt(name, text string) {
	b.add(name, dns.TypeTXT, &dns.TXT{Txt: records.SplitTXT(text)})
}

func (b *builder) mx(name string, preference uint16, host string) {
	b.add(name, dns.TypeMX, &dns.MX{Preference: preference, Mx: dns.Fqdn(host)})
}

// apex adds the records of the sink's own identity.
func (b *builder) apex() {
	zone := scenario.Canonical(b.opts.Zone)
	service, ns := scenario.ServiceHost(zone), scenario.NameServer(zone)
	b.add(zone, dns.TypeNS, &dns.NS{Ns: dns.Fqdn(ns)})
	for _, extra := range b.opts.NameServers {
		extra = dns.CanonicalName(extra)
		if err := checkHostname(extra); err != nil {
			b.errs = append(b.errs, fmt.Errorf("name server %q: %w", extra, err))
			continue
		}
		if extra != dns.Fqdn(ns) {
			b.add(zone, dns.TypeNS, &dns.NS{Ns: extra})
		}
	}
	b.addresses(ns, b.opts.Addresses)
	b.addresses(zone, b.opts.Addresses)
	b.mx(zone, 10, service)
	b.txt(zone, "v=spf1 mx -all") // RFC 7208
	b.addresses(service, b.opts.Addresses)
	// RFC 7208 §2.3: reports have a null reverse-path, so the EHLO name is checked.
	b.txt(service, "v=spf1 a -all")
	b.txt("_dmarc."+zone, "v=DMARC1; p=reject") // RFC 7489 §6.3
	for _, d := range b.opts.DKIM {
		b.txt(d.Selector+"._domainkey."+zone, d.Record) // RFC 6376 §3.6.2.1
	}
}

// slot adds the two test domains of one slot.
func (b *builder) slot(n scenario.SlotNames) {
	for _, h := range scenario.MXHosts() {
		preference := b.opts.Preferences[h]
		if n.Slot > 0 {
			preference = uint16(10 * (slices.Index(scenario.Resting(), h) + 1))
		}
		b.mx(n.ET, preference, n.Host(h))
		b.addresses(n.Host(h), b.opts.MXAddresses)
	}
	b.txt(n.ET, "v=spf1 -all")
	b.txt(n.STSRecord(), "v=STSv1; id="+b.opts.PolicyID+";") // RFC 8461 §3.1
	b.addresses(n.Policy, b.opts.Addresses)
	// RFC 8460 §3: where senders report failures, which they will have.
	b.txt("_smtp._tls."+n.ET, "v=TLSRPTv1; rua=mailto:tlsrpt@"+n.Zone)

	b.mx(n.UT, 10, n.UT)
	b.addresses(n.UT, b.opts.UTAddresses)
	b.txt(n.UT, "v=spf1 -all")
}

// tlsa adds the TLSA records that the caller gave.
func (b *builder) tlsa() {
	for _, host := range slices.Sorted(maps.Keys(b.opts.TLSA)) {
		name := "_25._tcp." + scenario.Canonical(host) // RFC 6698 §3
		target, ok := scenario.Find(b.opts.Zone, name)
		if !ok || target.Role != scenario.RoleTLSA || target.Slot >= b.opts.Slots {
			b.errs = append(b.errs, fmt.Errorf("TLSA host %q: not a mail host of the zone", host))
			continue
		}
		if target.Host == scenario.UT {
			b.errs = append(b.errs, fmt.Errorf("TLSA host %q: ut must not have TLSA records", host))
			continue
		}
		for _, r := range b.opts.TLSA[host] {
			b.add(name, dns.TypeTLSA, &dns.TLSA{
				Usage: r.Usage, Selector: r.Selector, MatchingType: r.MatchingType,
				Certificate: hex.EncodeToString(r.Data),
			})
		}
	}
}

// soaRR returns the SOA record. TTL and minimum are the zone's TTL, so that
// neither an answer nor its absence is cached longer (RFC 2308 §5).
func soaRR(zone string, ttl, serial uint32, expire time.Duration) *dns.SOA {
	return &dns.SOA{
		Hdr:  dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:   dns.Fqdn(scenario.NameServer(zone)),
		Mbox: "hostmaster." + zone, Serial: serial,
		Refresh: uint32(soaRefresh.Seconds()), Retry: uint32(soaRetry.Seconds()), Expire: uint32(expire.Seconds()), Minttl: ttl,
	}
}
