package acme

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libdns/libdns"
)

const (
	challengeTTL   = time.Minute
	cleanUpTimeout = 30 * time.Second
	challengesDoc  = "acme/challenges"
	maxStale       = 1000
)

// txt is a TXT record of a challenge.
type txt struct {
	Zone, Name, Value string
}

func (t txt) record() libdns.TXT {
	return libdns.TXT{Name: libdns.RelativeName(t.Name, t.Zone), Text: t.Value, TTL: challengeTTL}
}

// publisher publishes and removes TXT records. Orders of the same names, and
// other programs, may have records beside ours: it appends, and deletes exactly
// what it appended. What is published is in the state, for the next start to
// remove after a crash.
type publisher struct {
	opts *Options
	docs *documents

	mu   sync.Mutex
	live map[txt]int          // orders that need the record; CAs reuse authorizations
	seen map[string]time.Time // when the CA looked at a name last
}

// publish makes records be served, in one change: some providers count those.
// withdraw must follow, whatever it returns.
func (p *publisher) publish(ctx context.Context, records []txt) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var missing []txt
	var add []libdns.Record
	for _, t := range records {
		p.live[t]++
		if p.live[t] == 1 {
			missing, add = append(missing, t), append(add, t.record())
		}
	}
	if len(missing) == 0 {
		return nil
	}
	err := update(ctx, p.docs, challengesDoc, func(list *[]txt) {
		for _, t := range missing {
			if !slices.Contains(*list, t) {
				*list = append(*list, t)
			}
		}
	})
	if err != nil {
		return err
	}
	if _, err := p.opts.Provider.AppendRecords(ctx, p.opts.Zone+".", add); err != nil {
		return &failure{kind: kindLocal, err: err, text: fmt.Sprintf("publish the TXT record %s through the DNS provider: %s; check [dns]", missing[0].Name, clean(err.Error()))}
	}
	return nil
}

// wait returns once every name server serves records, and no resolver of the CA
// still remembers that one is not there.
func (p *publisher) wait(ctx context.Context, records []txt) error {
	if p.opts.Propagated != nil {
		err := each(ctx, len(records), func(ctx context.Context, i int) error {
			t := records[i]
			err := p.opts.Propagated(ctx, t.Name, t.Value)
			if err != nil {
				return &failure{kind: kindLocal, err: err, text: fmt.Sprintf("the TXT record %s is not served by every name server of the zone: %s; check that all of them are updated, `tlsink doctor` tells", t.Name, clean(err.Error()))}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return p.settle(ctx, records)
}

// looked notes that the CA has looked at names. RFC 8659 §3: for CAA records it
// climbs, and the NSEC record that denies one at sink.example also denies
// _acme-challenge.sink.example. RFC 8198: its resolver may answer from that.
func (p *publisher) looked(names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.opts.Now()
	for _, name := range names {
		for name != "" && name != p.opts.Zone {
			p.seen[name] = now
			_, name, _ = strings.Cut(name, ".")
		}
	}
	p.seen[p.opts.Zone] = now
}

// settle waits until what the CA has seen at the names of challenges is forgotten.
func (p *publisher) settle(ctx context.Context, records []txt) error {
	left, now := time.Duration(0), p.opts.Now()
	p.mu.Lock()
	for _, t := range records {
		if last, known := p.seen[strings.TrimPrefix(t.Name, "_acme-challenge.")]; known {
			left = max(left, p.opts.Settle-now.Sub(last))
		}
	}
	p.mu.Unlock()
	if left <= 0 {
		return nil
	}
	if err := sleep(ctx, min(left, p.opts.Settle)); err != nil {
		return fmt.Errorf("wait until resolvers forget what they have seen: %w", err)
	}
	return nil
}

// withdraw removes records that no order needs any longer, even if ctx has
// ended. What can't be removed now is tried again before the next order.
func (p *publisher) withdraw(ctx context.Context, records []txt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var unused []txt
	for _, t := range records {
		p.live[t]--
		if p.live[t] <= 0 {
			delete(p.live, t)
			unused = append(unused, t)
		}
	}
	p.remove(ctx, unused)
}

// removeStale removes what a crash, or a provider that was out of reach, left.
func (p *publisher) removeStale(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list, err := load[[]txt](p.docs, challengesDoc)
	if err != nil {
		p.opts.Logger.WarnContext(ctx, "stale ACME challenges unknown", "err", err)
		return
	}
	stale := slices.DeleteFunc(list, func(t txt) bool { return p.live[t] > 0 })
	p.remove(ctx, stale)
}

func (p *publisher) remove(ctx context.Context, records []txt) {
	if len(records) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	gone := make(map[txt]bool)
	var ours []libdns.Record
	for _, t := range records {
		if t.Zone == p.opts.Zone { // others are of other settings, out of our reach
			// A provider may have made another TTL of ours; without one any matches.
			r := t.record()
			r.TTL = 0
			ours = append(ours, r)
		}
		gone[t] = true
	}
	var errs []error
	if len(ours) > 0 {
		if _, err := p.opts.Provider.DeleteRecords(ctx, p.opts.Zone+".", ours); err != nil {
			errs = append(errs, err)
			maps.DeleteFunc(gone, func(t txt, _ bool) bool { return t.Zone == p.opts.Zone })
		}
	}
	errs = append(errs, note(ctx, p.docs, challengesDoc, func(list *[]txt) {
		*list = slices.DeleteFunc(*list, func(t txt) bool { return gone[t] })
		if n := len(*list); n > maxStale {
			*list = (*list)[n-maxStale:]
		}
	}))
	if err := errors.Join(errs...); err != nil {
		p.opts.Logger.WarnContext(ctx, "ACME challenges not removed, trying again before the next order", "err", err)
	}
}
