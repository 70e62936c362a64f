package inbound

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
)

// counting is a resolver that stops after a number of lookups: whatever the
// records of strangers refer to, they can't make us ask without end.
type counting struct {
	inner Resolver
	limit int64
	count atomic.Int64
}

// Lookup implements [Resolver].
func (c *counting) Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, error) {
	if c.count.Add(1) > c.limit {
		why := fmt.Sprintf("more than %d DNS lookups for one domain", c.limit)
		return dnssec.Answer{Status: dnssec.Error, CanonicalName: dns.CanonicalName(name), Why: why}, errors.New(why)
	}
	return c.inner.Lookup(ctx, name, qtype)
}

func (c *counting) exhausted() bool { return c.count.Load() > c.limit }

func (c *counting) made() int64 { return min(c.count.Load(), c.limit) }
