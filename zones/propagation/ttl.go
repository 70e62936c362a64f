package propagation

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// TTL returns for how long caches may have an RRset of the zone, and for how long
// the absence of one: the largest values of any name server. Signers before RFC
// 9077 prove an absence with the SOA's minimum as the TTL, whatever the TTL of the
// SOA itself is, and RFC 2308 §5 allows no more than the minimum. It fails if a
// server does not say.
func (s *Servers) TTL(ctx context.Context, fqdn string, qtype uint16) (positive, negative time.Duration, err error) {
	for _, q := range []struct {
		name  string
		qtype uint16
	}{{fqdn, qtype}, {s.opts.Zone, dns.TypeSOA}} {
		answers, err := s.ask(ctx, q.name, q.qtype)
		if err != nil {
			return 0, 0, err
		}
		for _, a := range answers {
			if a.err != nil {
				return 0, 0, fmt.Errorf("name server %s: TTL of %s %s: %w", a.server, q.name, dns.TypeToString[q.qtype], a.err)
			}
			for _, rr := range a.rrs {
				if soa, ok := rr.(*dns.SOA); ok {
					negative = max(negative, time.Duration(soa.Minttl)*time.Second)
				} else {
					positive = max(positive, time.Duration(rr.Header().Ttl)*time.Second)
				}
			}
		}
	}
	return positive, negative, nil
}
