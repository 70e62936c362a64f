package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/doctor"
)

// A resolver that was told that our zone has no DS record keeps that, while we
// see the record already: a sender behind it truthfully looks as if it did not
// enforce DANE. That is what happens to an operator who tries the sink before the
// DS record is there, and once more as soon as it is.

// longestAbsence is how long resolvers keep an absence, whatever the zone says:
// RFC 2308 §5 found one to three hours to work well.
const longestAbsence = 3 * time.Hour

// unsigned reports whether the world does not see our zone signed. A chain that is
// secure without a DS record at the parent begins at a trust anchor below it.
func unsigned(results []doctor.Result) bool {
	is := func(check string, status doctor.Status) bool {
		return slices.ContainsFunc(results, func(r doctor.Result) bool { return r.Check == check && r.Status == status })
	}
	return !is("chain", doctor.OK) && (is("ds", doctor.Wrong) || is("chain", doctor.Wrong))
}

// absence returns how long resolvers may keep that the zone has no DS record: the
// minimum of the SOA record of the zone above (RFC 2308 §5, RFC 4035 §2.4).
func absence(ctx context.Context, r doctor.Resolver, zone string) time.Duration {
	for name := dns.Fqdn(zone); name != "."; {
		next, last := dns.NextLabel(name, 0)
		if name = name[next:]; last {
			name = "."
		}
		a, err := r.Lookup(ctx, name, dns.TypeSOA)
		if err != nil {
			break
		}
		for _, rr := range a.RRs {
			if soa, ok := rr.(*dns.SOA); ok {
				return min(longestAbsence, time.Duration(soa.Minttl)*time.Second)
			}
		}
	}
	return longestAbsence
}

// cached says, once the world sees the zone signed, why some may not at a time.
func (p *passes) cached(now time.Time) string {
	if !now.Before(p.Unsigned) || p.Unsigned.Sub(now) > 2*longestAbsence { // the clock was set back
		return ""
	}
	return fmt.Sprintf("resolvers of senders may still have it from their caches, until %s, that the zone is not signed", p.Unsigned.UTC().Format("15:04 MST"))
}

// waits says why verdicts without protection wait although the zone verifies.
func (c *selfCheck) waits() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if unsigned(c.outside) {
		return "" // the checks tell
	}
	return c.good.cached(time.Now())
}
