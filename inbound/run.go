package inbound

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound/check"
)

const (
	maxAddresses = 16 // of a host, that are listed
	maxNames     = 4  // host names under which one address is probed
	maxLabels    = 8  // names up to the zone of the domain
)

// run is one analysis while it is made.
type run struct {
	a        *Analyzer
	resolver *counting
	records  Records
	out      Analysis
	places   []place     // of out.Hosts
	failed   atomic.Bool // something did not work that may work the next time

	mu sync.Mutex // for what several goroutines add to: LeftOut, Faults
}

// do fills in the analysis. Every step works on fields of its own.
func (r *run) do(ctx context.Context) {
	if why := r.a.root.check(ctx, r.a.opts.Resolver, r.a.opts.Now); why != "" {
		r.untested(why)
		return
	}
	r.say("looking up how mail is routed")
	missing := r.route(ctx)
	r.parallel(len(r.out.Hosts), func(i int) { r.locate(ctx, i) })
	r.settle()
	r.parallel(2, func(i int) {
		if i == 0 {
			r.out.Zone = r.zone(ctx)
		} else {
			_, r.out.TXT = r.lookup(ctx, r.out.Domain, dns.TypeTXT)
		}
	})
	var work errgroup.Group
	work.Go(func() error { r.servers(ctx); return nil })
	if !missing {
		work.Go(func() error { r.readRecords(ctx); return nil })
	}
	_ = work.Wait() // they return nil
	r.judge()
	if r.resolver.exhausted() {
		r.failed.Store(true)
		r.leaveOut("after %d DNS lookups no more were made", r.resolver.limit)
	}
	if ctx.Err() != nil {
		r.failed.Store(true)
		r.leaveOut("the time was up after %s: what was not done by then is not tested", r.a.opts.Timeout)
	}
}

// parallel calls f for each index, a few at a time.
func (r *run) parallel(n int, f func(i int)) {
	var g errgroup.Group
	g.SetLimit(r.a.opts.Parallel)
	for i := range n {
		g.Go(func() error { f(i); return nil })
	}
	_ = g.Wait() // they return nil
}

func (r *run) say(format string, args ...any) { r.a.say(r.out.Domain, fmt.Sprintf(format, args...)) }

func (r *run) late() string { return fmt.Sprintf("it was not done within %s", r.a.opts.Timeout) }

func (r *run) leaveOut(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.LeftOut = append(r.out.LeftOut, fmt.Sprintf(format, args...))
}

func (r *run) fault(id, subject, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Faults = append(r.out.Faults, Fault{ID: id, Subject: clean(subject), Text: clean(fmt.Sprintf(format, args...))})
}

// lookup asks for one RRset. With the status Error the answer is empty.
func (r *run) lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, RRset) {
	a, err := r.resolver.Lookup(ctx, name, qtype)
	if err == nil {
		return a, RRset{Status: a.Status, Count: len(a.RRs), Why: clean(a.Why)}
	}
	r.failed.Store(true)
	why := cmp.Or(a.Why, err.Error())
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		why = r.late()
	}
	return dnssec.Answer{Status: dnssec.Error, CanonicalName: dns.CanonicalName(name)}, RRset{Status: dnssec.Error, Why: clean(why)}
}

// zone looks for the SOA record of the zone that the domain is in.
func (r *run) zone(ctx context.Context) RRset {
	labels := strings.Split(r.out.Domain, ".")
	last := RRset{}
	for i := range min(len(labels), maxLabels) {
		name := strings.Join(labels[i:], ".")
		a, set := r.lookup(ctx, name, dns.TypeSOA)
		// The SOA record behind an alias is that of another zone.
		if set.Status == dnssec.Error || set.Status == dnssec.Bogus || len(a.RRs) > 0 && bare(a.CanonicalName) == name {
			return set
		}
		last = RRset{Status: set.Status, Why: set.Why}
		if a.Rcode == dns.RcodeNameError {
			break // what is above is not its zone
		}
	}
	return last
}

func (r *run) readRecords(ctx context.Context) {
	domain := r.out.Domain
	r.parallel(4, func(i int) {
		switch i {
		case 0:
			r.out.SPF = r.records.SPF(ctx, domain)
		case 1:
			r.out.DMARC = r.records.DMARC(ctx, domain)
		case 2:
			r.out.TLSRPT = r.records.TLSRPT(ctx, domain)
		case 3:
			r.out.MTASTS = r.records.MTASTS(ctx, domain)
		}
	})
	for _, c := range []check.Result{r.out.SPF.Published, r.out.DMARC.Published, r.out.TLSRPT.Published, r.out.MTASTS.Published, r.out.MTASTS.Policy} {
		if c.Outcome == check.Untested {
			r.failed.Store(true)
		}
	}
	r.say("its records were read")
}

// judge says what follows from servers and records together.
func (r *run) judge() {
	sts := &r.out.MTASTS
	for i := range r.out.Hosts {
		h := &r.out.Hosts[i]
		switch {
		case !sts.Published.OK() || sts.Mode == "none":
		case sts.Policy.Outcome == check.Untested:
			h.Listed = check.Skip("the policy could not be read")
		case !sts.Policy.OK():
		case sts.Lists(h.Name): // RFC 8461 §4.1: the name of the MX record, not what it is an alias of
			h.Listed = check.Pass()
		default:
			h.Listed = check.Fail(clean("the policy lists only " + strings.Join(sts.MX[:min(len(sts.MX), 10)], ", ")))
		}
		for j := range h.Servers {
			h.Servers[j].Chain = nil // what is remembered or stored has none either
		}
	}
	// In the order of hosts that were looked at side by side there is no meaning.
	slices.Sort(r.out.LeftOut)
	slices.SortFunc(r.out.Faults, func(a, b Fault) int { return strings.Compare(a.ID+a.Subject, b.ID+b.Subject) })
}

func bare(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
