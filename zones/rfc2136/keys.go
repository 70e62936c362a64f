package rfc2136

import (
	"context"
	"fmt"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones/internal/records"
)

// Keys returns the keys of the zone that DS records of its parent are made of
// (RFC 4034 §2.1.1: with the SEP flag), none if the server does not sign it. The
// answer is authenticated with the TSIG key.
func (p *Provider) Keys(ctx context.Context, zone string) ([]*dns.DNSKEY, error) {
	zone = dns.CanonicalName(zone)
	s, err := p.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("get keys of %q: %w", zone, err)
	}
	defer s.close()
	rrs, err := s.query(zone, records.ID{Name: zone, Type: dns.TypeDNSKEY})
	if err != nil {
		return nil, fmt.Errorf("get keys of %q: %w", zone, err)
	}
	var out []*dns.DNSKEY
	for _, rr := range rrs {
		if key, ok := rr.(*dns.DNSKEY); ok && key.Flags&dns.SEP != 0 && key.Flags&dns.REVOKE == 0 {
			out = append(out, key)
		}
	}
	return out, nil
}
