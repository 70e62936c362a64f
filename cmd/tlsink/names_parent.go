package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/doctor"
)

// What is known of a zone that another server signs: what its parent has to
// publish, and for how long caches keep what is in it.

// forParent are the records of the parent zone.
type forParent struct {
	known bool
	ns    []dns.RR // and glue
	keyed bool     // the provider tells its keys
	ds    []*dns.DS
}

// keyTeller is a provider that tells the keys of the zone.
type keyTeller interface {
	Keys(ctx context.Context, zone string) ([]*dns.DNSKEY, error)
}

// parentTTL is that of records for the parent zone, in seconds, where its
// operator has no reason for another one.
const parentTTL = 3600

// learn asks the provider what the parent has to publish. What was known stays if
// it does not say.
func (n *externalNames) learn(ctx context.Context) {
	zone := dns.Fqdn(n.service.cfg.Zone)
	records, err := n.Provider.GetRecords(ctx, zone)
	if err != nil {
		return // a round will say so
	}
	p := forParent{known: true, ns: delegationOf(zone, records)}
	if k, ok := n.Provider.(keyTeller); ok {
		keys, err := k.Keys(ctx, zone)
		if err != nil {
			return
		}
		p.keyed = true
		for _, key := range keys {
			if ds := key.ToDS(dns.SHA256); ds != nil {
				ds.Hdr.Ttl = parentTTL
				p.ds = append(p.ds, ds)
			}
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.parent = p
}

// delegationOf returns the NS records of a zone, and the addresses of those of its
// name servers that are in it.
func delegationOf(zone string, records []libdns.Record) (out []dns.RR) {
	var hosts []string
	for _, types := range [][]string{{"NS"}, {"A", "AAAA"}} {
		for _, r := range records {
			in := r.RR()
			name := dns.CanonicalName(libdns.AbsoluteName(in.Name, zone))
			if !slices.Contains(types, in.Type) || (in.Type == "NS" && name != zone) || (in.Type != "NS" && !slices.Contains(hosts, name)) {
				continue
			}
			if in.Type == "NS" {
				in.Data = libdns.AbsoluteName(in.Data, zone)
				hosts = append(hosts, dns.CanonicalName(in.Data))
			}
			if rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", name, parentTTL, in.Type, in.Data)); err == nil && rr != nil {
				out = append(out, rr)
			}
		}
	}
	return out
}

// delegation implements nameService.
func (n *externalNames) delegation() string {
	n.mu.Lock()
	p := n.parent
	n.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "; The zone is served and signed by the name server of dns.provider (%s).\n", n.service.cfg.DNS.Provider)
	switch {
	case !p.known:
		b.WriteString("; It has not been reached yet, so that its NS and DS records are not known here.\n")
	case len(p.ns) == 0:
		b.WriteString("; It has no NS records: publish those that the provider names.\n")
	}
	for _, rr := range p.ns {
		b.WriteString(rr.String() + "\n")
	}
	for _, ds := range p.ds {
		b.WriteString(ds.String() + "\n")
	}
	switch {
	case p.known && !p.keyed:
		b.WriteString("; The provider shows the DS records: publish them, too.\n")
	case p.keyed && len(p.ds) == 0:
		b.WriteString("; It does not sign the zone: no sender uses DANE. Turn on DNSSEC signing there (Knot: dnssec-signing; BIND: dnssec-policy).\n")
	}
	return b.String()
}

// status says what `tlsink zone status` shows.
func (n *externalNames) status() string {
	n.mu.Lock()
	p, problem, positive, negative := n.parent, n.problem, n.positive, n.negative
	n.mu.Unlock()
	var b strings.Builder
	at := n.service.cfg.DNS.Desec.API
	if n.service.cfg.DNS.Provider == config.ProviderRFC2136 {
		at = n.service.cfg.DNS.RFC2136.Server
	}
	fmt.Fprintf(&b, "zone      %s\nserver    %s (%s): it serves and signs the zone, and rolls its keys\n", dns.Fqdn(n.service.cfg.Zone), at, n.service.cfg.DNS.Provider)
	for _, ds := range p.ds {
		fmt.Fprintf(&b, "key       tag %d, algorithm %s\n", ds.KeyTag, dns.AlgorithmToString[ds.Algorithm])
	}
	if problem != nil {
		fmt.Fprintf(&b, "problem   %s\n", cli.Printable(problem.Error()))
	}
	if p.known && problem == nil {
		b.WriteString("records   as they have to be\n")
	}
	if positive > 0 {
		fmt.Fprintf(&b, "caches    keep TLSA records for %v, and their absence for %v (minimum of the SOA record);\n          `tlsink keys roll` waits for both and for timing.propagation, %v\n",
			positive, negative, time.Duration(n.service.cfg.Timing.Propagation))
	}
	return b.String()
}

// ds are the DS records of the keys, if the provider tells them.
func (n *externalNames) ds() []*dns.DS {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.parent.ds)
}

// unknownTTL is taken where TTLs could not be asked for.
const unknownTTL = time.Hour

// measure asks the name servers for how long caches keep TLSA records, and the
// absence of any. What was once seen counts: caches may have it still.
func (n *externalNames) measure(ctx context.Context) error {
	positive := time.Duration(n.service.cfg.DNS.TTL)
	var negative time.Duration
	for host := range n.service.certs.TLSA() {
		p, neg, err := n.servers.TTL(ctx, "_25._tcp."+host, dns.TypeTLSA)
		if err != nil {
			return fmt.Errorf("TTL of TLSA records: %w", err)
		}
		positive, negative = max(positive, p), max(negative, neg)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.positive, n.negative = max(n.positive, positive), max(n.negative, negative)
	return nil
}

// rollWait is how long after every name server has a change somebody may still see
// what was there before: what was served, for its TTL, or that nothing was, for the
// negative TTL. timing.propagation is for what nobody can ask, such as servers
// behind one address. Secondaries need no time of their own: they are asked.
func (n *externalNames) rollWait() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.positive == 0 {
		return externalRollWait
	}
	return n.positive + n.negative + time.Duration(n.service.cfg.Timing.Propagation)
}

// own validates what the name servers themselves say, from the DS records of the
// parent: caches would hide what was changed just now. The resolver's own begins
// empty.
func (n *externalNames) own(ctx context.Context) (doctor.Resolver, error) {
	world := n.service.network.resolver
	a, err := world.Lookup(ctx, n.service.cfg.Zone, dns.TypeDS)
	if err != nil || a.Status != dnssec.Secure || len(a.RRs) == 0 {
		return world, nil //nolint:nilerr // there is nothing to begin with, as the world will say
	}
	servers, err := n.servers.Servers(ctx)
	if err != nil {
		return world, nil //nolint:nilerr // as the world will say
	}
	var o dnssec.Options
	for _, rr := range a.RRs {
		if _, ok := rr.(*dns.DS); ok {
			o.TrustAnchors = append(o.TrustAnchors, rr)
		}
	}
	for _, s := range servers {
		o.Servers = append(o.Servers, s.Addr)
	}
	return dnssec.New(o)
}
