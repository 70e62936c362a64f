package inbound

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Analyzer analyses domains. It is safe for concurrent use.
type Analyzer struct {
	opts  Options
	slots chan struct{} // one for each analysis that runs
	busy  *locks        // addresses that a connection is open to

	budget *budget // of looks at addresses

	progress sync.Mutex // held while Progress runs
	root     preflight

	mu      sync.Mutex
	flights map[string]*flight // by domain
	cache   map[string]cached  // by domain
}

// flight is an analysis that somebody waits for.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int      // under Analyzer.mu
	result  Analysis // once done
}

type cached struct {
	analysis Analysis
	expires  time.Time
}

// Analyze returns the analysis of a domain, from memory if it is recent. It
// may wait for one that runs, and for its turn. The error says that the domain
// is none ([ParseDomain]), or is that of ctx; the analysis goes on as long as
// somebody waits for it. The result is the caller's own.
func (a *Analyzer) Analyze(ctx context.Context, domain string) (Analysis, error) {
	domain, err := ParseDomain(domain)
	if err != nil {
		return Analysis{}, err
	}
	if err := ctx.Err(); err != nil {
		return Analysis{}, err
	}
	f, known := a.join(ctx, domain)
	if f == nil {
		return known, nil
	}
	select {
	case <-f.done:
		return clone(f.result), nil
	case <-ctx.Done():
		a.leave(domain, f)
		return Analysis{}, ctx.Err()
	}
}

// join returns what is remembered, or the flight of the domain, which it
// starts if there is none.
func (a *Analyzer) join(ctx context.Context, domain string) (*flight, Analysis) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.cache[domain]; ok && a.opts.Now().Before(c.expires) {
		return nil, clone(c.analysis)
	}
	f := a.flights[domain]
	if f == nil {
		// The flight outlives the caller that started it if others wait, too.
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{done: make(chan struct{}), cancel: cancel}
		a.flights[domain] = f
		go a.fly(ctx, domain, f)
	}
	f.waiting++
	return f, Analysis{}
}

// leave gives up waiting. A flight that nobody waits for ends, and the next
// caller starts a new one.
func (a *Analyzer) leave(domain string, f *flight) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		if a.flights[domain] == f {
			delete(a.flights, domain)
		}
	}
}

func (a *Analyzer) fly(ctx context.Context, domain string, f *flight) {
	defer f.cancel()
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return // nobody waits any more
	}
	result, complete := a.analyze(ctx, domain)
	a.mu.Lock()
	defer a.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	f.result = result
	defer close(f.done)
	delete(a.flights, domain)
	lifetime := a.opts.CacheFor
	if !complete {
		lifetime = a.opts.RetryAfter
	}
	a.remember(domain, result, lifetime)
}

// remember keeps an analysis. It makes room if there is none: all that has
// expired goes, else what expires first.
func (a *Analyzer) remember(domain string, result Analysis, lifetime time.Duration) {
	if lifetime <= 0 {
		return
	}
	now := a.opts.Now()
	if _, ok := a.cache[domain]; !ok && len(a.cache) >= a.opts.CacheEntries {
		first := ""
		for d, c := range a.cache {
			if !now.Before(c.expires) {
				delete(a.cache, d)
			} else if first == "" || c.expires.Before(a.cache[first].expires) {
				first = d
			}
		}
		if len(a.cache) >= a.opts.CacheEntries {
			delete(a.cache, first)
		}
	}
	a.cache[domain] = cached{result, now.Add(lifetime)}
}

// analyze makes one analysis. It is complete if nothing failed that may work
// the next time.
func (a *Analyzer) analyze(ctx context.Context, domain string) (result Analysis, complete bool) {
	ctx, cancel := context.WithTimeout(ctx, a.opts.Timeout)
	defer cancel()
	resolver := &counting{inner: a.opts.Resolver, limit: int64(a.opts.MaxLookups)}
	r := &run{
		a: a, resolver: resolver, records: a.opts.NewRecords(resolver),
		out: Analysis{Domain: domain, Started: a.now()},
	}
	r.do(ctx)
	r.out.Ended = a.now()
	a.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "domain analysed",
		slog.String("domain", domain), slog.String("route", string(r.out.Route)),
		slog.Int("hosts", len(r.out.Hosts)), slog.Int64("dns_lookups", resolver.made()),
		slog.Duration("took", r.out.Ended.Sub(r.out.Started)), slog.Bool("complete", !r.failed.Load()))
	return r.out, !r.failed.Load()
}

// now is the time as it is written down.
func (a *Analyzer) now() time.Time { return a.opts.Now().UTC().Round(0) }

func (a *Analyzer) say(domain, text string) {
	a.progress.Lock()
	defer a.progress.Unlock()
	a.opts.Progress(domain + ": " + text)
}
