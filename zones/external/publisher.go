package external

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/zones/internal/records"
)

// MaxTTL is the largest TTL of records of the sink, in seconds.
const MaxTTL = 60

// Provider is what the publisher needs of a libdns provider.
type Provider interface {
	libdns.RecordGetter
	libdns.RecordAppender
	libdns.RecordSetter
	libdns.RecordDeleter
}

// Waiter waits until every name server serves an RRset; *propagation.Servers is one.
type Waiter interface {
	Wait(ctx context.Context, fqdn string, qtype uint16, want []string) error
}

// Options are the settings of a Publisher.
type Options struct {
	Zone     string // required
	Slots    int    // number of slots in use, at least 1
	Provider Provider
	Content  []libdns.Record // all records of the sink, e.g. zones.Content

	// Servers confirm what was changed; nil: the provider's word is enough.
	Servers Waiter
	// Rotate makes a turn of the MX rotation, which repairs a wrong order. Until Run
	// begins, and if it is nil, the order of Content is published where none is.
	Rotate func(ctx context.Context) error
	// OnReport is called when something is wrong, before it is repaired: from then on
	// name servers may show nothing of it.
	OnReport func(Report)
	// OnRound is called by Run after each round, with its error.
	OnRound func(ctx context.Context, err error)

	Interval time.Duration // of Run; default 5 min
	Timeout  time.Duration // of one round; default 2 min
	Now      func() time.Time
	Logger   *slog.Logger // default: discard
}

// Change is an RRset that was not as it should be, and now is.
type Change struct {
	Name, Type string
	Have, Want []string // record data, sorted; Want is empty if the RRset was removed
	TTL        bool     // only the TTL was wrong
	// Foreign: somebody else made it what it was; not so if the content is new.
	Foreign bool
	// Cached is for how long caches may still have what was there.
	Cached time.Duration
}

func (c Change) String() string {
	switch {
	case len(c.Want) == 0:
		return fmt.Sprintf("removed %s %s %q", c.Name, c.Type, c.Have)
	case c.TTL:
		return fmt.Sprintf("changed the TTL of %s %s", c.Name, c.Type)
	}
	return fmt.Sprintf("changed %s %s from %q to %q", c.Name, c.Type, c.Have, c.Want)
}

// Report says what one round found.
type Report struct {
	Changed []Change // repaired
	Wrong   []string // not repaired, with what to do
	// Since is when the last round began that found nothing wrong; zero if there
	// was none.
	Since time.Time
}

// Empty reports whether all was as it should be.
func (r Report) Empty() bool { return len(r.Changed) == 0 && len(r.Wrong) == 0 }

// Spoils says what senders may have met that they must not meet, "" if nothing,
// and for how long caches may still have it.
func (r Report) Spoils() (what string, cached time.Duration) {
	for _, c := range r.Changed {
		if c.Foreign {
			what, cached = cmp.Or(what, c.String()), max(cached, c.Cached)
		}
	}
	for _, w := range r.Wrong {
		what = cmp.Or(what, w)
	}
	return what, cached
}

// Publisher keeps records at a provider. It is safe for concurrent use.
type Publisher struct {
	opts Options
	zone string // with a final dot

	round chan struct{} // holds one value during a round

	mu      sync.Mutex
	want    records.Sets
	rotated bool         // the MX order is the rotator's
	done    records.Sets // what the last round left there
	since   time.Time    // the last round that found nothing wrong began
}

// New returns a publisher; nothing is asked before the first call.
func New(o Options) (*Publisher, error) {
	zone := dns.CanonicalName(o.Zone)
	if err := records.CheckName(zone); err != nil {
		return nil, fmt.Errorf("external DNS: zone %q: %w", o.Zone, err)
	}
	switch {
	case o.Slots < 1:
		return nil, fmt.Errorf("external DNS: slots %d: want at least 1", o.Slots)
	case o.Provider == nil:
		return nil, errors.New("external DNS: no provider")
	}
	if o.Interval <= 0 {
		o.Interval = 5 * time.Minute
	}
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnReport == nil {
		o.OnReport = func(Report) {}
	}
	if o.OnRound == nil {
		o.OnRound = func(context.Context, error) {}
	}
	p := &Publisher{opts: o, zone: zone, round: make(chan struct{}, 1)}
	var err error
	p.want, err = p.parse(o.Content)
	return p, err
}

// parse checks content.
func (p *Publisher) parse(content []libdns.Record) (records.Sets, error) {
	sets, err := records.ParseAll(p.zone, content, MaxTTL)
	if err != nil {
		return sets, fmt.Errorf("external DNS: content: %w", err)
	}
	if len(sets.Order) == 0 {
		return sets, errors.New("external DNS: content is empty")
	}
	for _, id := range sets.Order {
		if ttl := ttlOf(sets.Of[id]); ttl < 1 || ttl > MaxTTL {
			return sets, fmt.Errorf("external DNS: content: %s: TTL of %d s, want 1 to %d s", id, ttl, MaxTTL)
		}
		if protects(p.zone, id.Name, id.Type) {
			return sets, fmt.Errorf("external DNS: content: %s: ut is the unprotected test domain and must have neither TLSA nor MTA-STS", id)
		}
	}
	return sets, nil
}

// wanted returns the content, and whether the MX order is the rotator's.
func (p *Publisher) wanted() (records.Sets, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.want, p.rotated
}

// Publish makes one round: it brings the provider's zone in line and returns what
// was changed and what is wrong beyond that. After an error some may be published.
func (p *Publisher) Publish(ctx context.Context) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
	defer cancel()
	select {
	case p.round <- struct{}{}:
		defer func() { <-p.round }()
	case <-ctx.Done():
		return Report{}, ctx.Err()
	}
	want, rotated := p.wanted()
	began := p.opts.Now()
	recs, err := p.opts.Provider.GetRecords(ctx, p.zone)
	if err != nil {
		return Report{}, fmt.Errorf("read the zone of the provider: %w", err)
	}
	d := p.compare(want, recs, rotated)
	p.judge(d, began)
	if err := p.apply(ctx, d); err != nil {
		return d.report, err
	}
	p.mu.Lock()
	p.done = want
	p.mu.Unlock()
	if err := p.confirmAll(ctx, d); err != nil {
		return d.report, err
	}
	if d.rotate {
		if err := p.turn(ctx); err != nil {
			return d.report, err
		}
	}
	return d.report, nil
}

// judge tells what was found.
func (p *Publisher) judge(d *difference, began time.Time) {
	p.mu.Lock()
	for i, c := range d.report.Changed {
		id := records.ID{Name: c.Name, Type: dns.StringToType[c.Type]}
		was, known := p.done.Of[id]
		switch {
		case protects(p.zone, c.Name, id.Type):
			d.report.Changed[i].Foreign = true
		case c.TTL || !ours(p.zone, c.Name): // nothing that verdicts rest on
		case len(c.Want) > 0:
			d.report.Changed[i].Foreign = known && records.SameSet(was, p.want.Of[id])
		default:
			d.report.Changed[i].Foreign = p.done.Of != nil && !known
		}
	}
	d.report.Since = p.since
	if what, _ := d.report.Spoils(); what == "" {
		p.since = began
	}
	p.mu.Unlock()
	if !d.report.Empty() {
		p.opts.OnReport(d.report)
	}
}

// turn lets the rotator publish an MX order.
func (p *Publisher) turn(ctx context.Context) error {
	if p.opts.Rotate == nil {
		return nil
	}
	if err := p.opts.Rotate(ctx); err != nil {
		return fmt.Errorf("repair the MX order: %w", err)
	}
	return nil
}

// Update replaces the content, e.g. for a TLSA roll, and publishes it. When it
// returns nil, every name server serves it, if Options.Servers is given. After an
// error the content is the new one, and the next round tries again.
func (p *Publisher) Update(ctx context.Context, content []libdns.Record) error {
	sets, err := p.parse(content)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.want = sets
	p.mu.Unlock()
	if _, err := p.Publish(ctx); err != nil {
		return fmt.Errorf("external DNS: %w", err)
	}
	// Another round may have written it before its name servers were asked.
	return p.confirm(ctx, sets, tlsaOnly(sets.Order))
}

func tlsaOnly(ids []records.ID) (out []records.ID) {
	for _, id := range ids {
		if id.Type == dns.TypeTLSA {
			out = append(out, id)
		}
	}
	return out
}

// Run makes a round every Interval until ctx ends; then it returns nil. From its
// start on the MX order is the rotator's. Failures are logged and tried again.
func (p *Publisher) Run(ctx context.Context) error {
	p.mu.Lock()
	p.rotated = true
	first := p.opts.Interval
	if p.done.Of == nil {
		first = 0 // nothing was published before
	}
	p.mu.Unlock()
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		p.mu.Lock()
		isNew := p.done.Of == nil
		p.mu.Unlock()
		report, err := p.Publish(ctx)
		if err != nil && ctx.Err() == nil {
			p.opts.Logger.ErrorContext(ctx, "external DNS not published", slog.Any("err", err))
		}
		if !report.Empty() && ctx.Err() == nil {
			p.log(ctx, report, isNew)
		}
		if ctx.Err() == nil {
			p.opts.OnRound(ctx, err)
		}
		timer.Reset(p.opts.Interval)
	}
}

func (p *Publisher) log(ctx context.Context, report Report, isNew bool) {
	if isNew {
		p.opts.Logger.InfoContext(ctx, "external DNS published", slog.Int("changes", len(report.Changed)))
	}
	for _, c := range report.Changed {
		if isNew && !c.Foreign {
			continue
		}
		p.opts.Logger.WarnContext(ctx, "external DNS repaired", slog.String("change", c.String()))
	}
	for _, w := range report.Wrong {
		p.opts.Logger.ErrorContext(ctx, "external DNS is wrong", slog.String("problem", w))
	}
}

// protects reports whether an RRset would make ut a protected domain.
func protects(zone, name string, rrtype uint16) bool {
	if !below(zone, name, scenario.RoleUT) {
		return false
	}
	label := name[:max(0, indexDot(name))]
	return rrtype == dns.TypeTLSA || label == "_mta-sts" || label == "mta-sts"
}
