package zones

import (
	"strings"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/scenario"
)

// parentTTL is the TTL proposed for the records in the parent zone, in seconds.
const parentTTL = 3600

// Delegation is what the parent zone must contain.
type Delegation struct {
	NS   []*dns.NS
	Glue []dns.RR // A and AAAA of ns1
	DS   []*dns.DS
}

// String returns the records as lines of a zone file.
func (d Delegation) String() string {
	var b strings.Builder
	for _, rr := range d.NS {
		b.WriteString(rr.String() + "\n")
	}
	for _, rr := range d.Glue {
		b.WriteString(rr.String() + "\n")
	}
	for _, rr := range d.DS {
		b.WriteString(rr.String() + "\n")
	}
	return b.String()
}

// DNSKEY returns a copy of the public key record that DS is about.
func (z *Zone) DNSKEY() *dns.DNSKEY {
	keys := z.current.Load().keys
	for _, k := range keys.sep {
		if k.Status == KeyActive {
			record := *k.dnskey
			return &record
		}
	}
	return nil // newKeySet makes no set without one
}

// DS returns the DS records that belong at the parent now: during a key roll
// those of the old key until every cache has the new one. They are digests in
// SHA-256 (RFC 4509; SHA-1 must not be used any more, RFC 8624 §3.3), or as
// Options say. The zone validates by them at any time.
func (z *Zone) DS() []*dns.DS { return z.current.Load().keys.ds(KeyActive) }

// ValidDS returns the DS records of which any at the parent is good: those of DS,
// first, and in a key roll those of the old key, which the parent may still have.
func (z *Zone) ValidDS() []*dns.DS {
	keys := z.current.Load().keys
	return append(keys.ds(KeyActive), keys.ds(KeyRetiring)...)
}

// Delegation returns the records for the parent zone.
func (z *Zone) Delegation() Delegation {
	d := Delegation{DS: z.DS()}
	snap := z.current.Load()
	for _, rr := range snap.set(z.apex, dns.TypeNS).rrs {
		if ns, ok := dns.Copy(rr).(*dns.NS); ok {
			ns.Hdr.Ttl = parentTTL
			d.NS = append(d.NS, ns)
		}
	}
	// The name was checked when the zone was built.
	key, err := keyOf(dns.Fqdn(scenario.NameServer(z.opts.Zone)))
	if err != nil {
		return d
	}
	for _, rrtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		set := snap.set(key, rrtype)
		if set == nil {
			continue
		}
		for _, rr := range set.rrs {
			glue := dns.Copy(rr)
			glue.Header().Ttl = parentTTL
			d.Glue = append(d.Glue, glue)
		}
	}
	return d
}
