package zones

import (
	"fmt"
	"strings"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/zones/internal/records"
)

func settable(rrtype uint16) bool { return records.Settable(rrtype) }

// fromLibdns turns a libdns record into ours, with the TTL it will have.
func (z *Zone) fromLibdns(rec libdns.Record) (setID, dns.RR, error) {
	rr, err := records.FromLibdns(z.opts.Zone, rec, z.ttl)
	if err != nil {
		return setID{}, nil, err
	}
	header := rr.Header()
	if err := z.checkUnprotected(header.Name, header.Rrtype); err != nil {
		return setID{}, nil, err
	}
	key, err := keyOf(header.Name)
	if err != nil {
		return setID{}, nil, err
	}
	header.Ttl = z.clampTTL(rec.RR().TTL)
	return setID{key, header.Rrtype}, rr, nil
}

// clampTTL turns a libdns TTL into seconds. Nothing in the zone may live longer
// than the zone's own TTL, so that every change is seen in time.
func (z *Zone) clampTTL(ttl time.Duration) uint32 {
	if ttl <= 0 {
		return z.ttl
	}
	return uint32(min(ttl/time.Second, time.Duration(z.ttl)))
}

// checkUnprotected refuses records that would make ut a protected domain: every
// verdict rests on it having neither DANE nor MTA-STS.
func (z *Zone) checkUnprotected(fqdn string, rrtype uint16) error {
	rest := strings.TrimSuffix(fqdn, "."+z.opts.Zone)
	first, _, _ := strings.Cut(rest, ".")
	last := rest[strings.LastIndexByte(rest, '.')+1:]
	t, ok := scenario.Find(z.opts.Zone, last+"."+z.opts.Zone)
	if !ok || t.Role != scenario.RoleUT {
		return nil
	}
	if rrtype == dns.TypeTLSA || first == "_mta-sts" || first == "mta-sts" {
		return fmt.Errorf("%s %s: ut is the unprotected test domain and must have neither TLSA nor MTA-STS", fqdn, dns.TypeToString[rrtype])
	}
	return nil
}
