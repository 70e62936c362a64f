package inbound

import (
	"context"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/records"
)

// How long it is remembered whether the resolver is of use, and that it is not.
const (
	rootGood = 10 * time.Minute
	rootBad  = time.Minute
)

// preflight looks whether DNSSEC works at all from here. Behind a resolver that
// does not pass DNSSEC records on, or with a wrong clock, everything is bogus,
// and none of it the fault of a domain.
type preflight struct {
	mu    sync.Mutex
	why   string // why nothing can be said; empty if something can
	until time.Time
}

// believed is a resolver whose word is taken, as *dnssec.Trusting. Check says
// whether it validates at all.
type believed interface {
	Check(ctx context.Context) error
}

// check looks at the root zone. Insecure is fine where we validate: then trust
// anchors lie below it. A resolver that is believed and calls the root insecure
// would call everything so. An error is fine, too: where it is not that of a
// moment, all other lookups say so themselves.
func (p *preflight) check(ctx context.Context, r Resolver, now func() time.Time) (why string) {
	p.mu.Lock()
	why, known := p.why, now().Before(p.until)
	p.mu.Unlock()
	if known {
		return why
	}
	a, err := r.Lookup(ctx, ".", dns.TypeSOA)
	if err != nil {
		return ""
	}
	why, lifetime := "", rootGood
	if a.Status == dnssec.Bogus {
		lifetime = rootBad
		why = clean("not even the root zone can be validated, so nothing could be tested: the resolver does not pass DNSSEC records on, or the clock is wrong (" + a.Why + ")")
	}
	if b, ok := r.(believed); ok && a.Status == dnssec.Insecure {
		if err := b.Check(ctx); err != nil {
			lifetime = rootBad
			why = clean("nothing could be tested: " + err.Error())
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.why, p.until = why, now().Add(lifetime)
	return why
}

// untested makes the analysis one in which nothing could be tested.
func (r *run) untested(why string) {
	r.failed.Store(true)
	set, skipped := RRset{Status: dnssec.Error, Why: why}, check.Skip(why)
	out := &r.out
	out.Route, out.Why = RouteUnknown, why
	out.Zone, out.MX, out.TXT = set, set, set
	out.SPF = records.SPF{Published: skipped, DNSSEC: dnssec.Error}
	out.DMARC = records.DMARC{Published: skipped, DNSSEC: dnssec.Error}
	out.TLSRPT = records.TLSRPT{Published: skipped}
	out.MTASTS = records.MTASTS{Published: skipped, DNSSEC: dnssec.Error}
}
