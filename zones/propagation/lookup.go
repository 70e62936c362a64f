package propagation

import (
	"context"
	"fmt"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
)

// Resolver looks up names; *dnssec.Resolver is one.
type Resolver interface {
	Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, error)
}

// Through returns a LookupFunc that asks a resolver. What is bogus is an error;
// what is insecure is good enough to find name servers, because what they serve is
// compared with what was published.
func Through(r Resolver) LookupFunc {
	return func(ctx context.Context, name string, qtype uint16) ([]dns.RR, error) {
		a, err := r.Lookup(ctx, name, qtype)
		if err != nil {
			return nil, err
		}
		if a.Status == dnssec.Bogus {
			return nil, fmt.Errorf("%s %s is bogus: %s", name, dns.TypeToString[qtype], a.Why)
		}
		return a.RRs, nil
	}
}
