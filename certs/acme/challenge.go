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
	lib "github.com/mholt/acmez/v3/acme"
)

const (
	challengeTTL   = time.Minute
	cleanUpTimeout = 30 * time.Second
	challengesDoc  = "acme/challenges"
	maxStale       = 1000
)

// authorize proves to the CA that the names of an order are ours, all at once.
// The TXT records are gone when it returns.
func (s *session) authorize(ctx context.Context, account lib.Account, order lib.Order) error {
	var pending []lib.Authorization
	var records []txt
	for _, url := range order.Authorizations {
		authz, err := s.client.GetAuthorization(ctx, account, url)
		if err != nil {
			return s.explain(atChallenge, err)
		}
		if authz.Status == lib.StatusValid { // from an earlier order
			continue
		}
		challenge, err := s.dns01(authz, order)
		if err != nil {
			return err
		}
		records = append(records, txt{s.authority.opts.Zone, strings.ToLower(challenge.DNS01TXTRecordName()), challenge.DNS01KeyAuthorization()})
		pending = append(pending, authz)
	}
	if len(records) == 0 {
		return nil
	}
	defer s.authority.dns.withdraw(ctx, records)
	if err := s.authority.dns.publish(ctx, records); err != nil {
		return err
	}
	for _, record := range records {
		if err := s.authority.dns.wait(ctx, record); err != nil {
			return err
		}
	}
	for _, authz := range pending {
		challenge, err := s.dns01(authz, order)
		if err != nil {
			return err
		}
		if _, err := s.client.InitiateChallenge(ctx, account, challenge); err != nil {
			return s.explain(atChallenge, err)
		}
	}
	return s.pollAll(ctx, account, pending)
}

// dns01 returns the challenge of authz that we can solve.
func (s *session) dns01(authz lib.Authorization, order lib.Order) (lib.Challenge, error) {
	name := clean(authz.IdentifierValue())
	if authz.Wildcard || !slices.Contains(order.Identifiers, authz.Identifier) {
		return lib.Challenge{}, s.explain(atChallenge, fmt.Errorf("the CA wants authorization for %s, which was not ordered", name))
	}
	if authz.Status != lib.StatusPending {
		return lib.Challenge{}, s.refusal(authz, fmt.Errorf("authorization is %q", clean(authz.Status)))
	}
	for _, c := range authz.Challenges {
		if c.Type == lib.ChallengeTypeDNS01 && c.Token != "" {
			return c, nil
		}
	}
	return lib.Challenge{}, &failure{kind: kindRefused, text: fmt.Sprintf("%s: the CA offers no dns-01 challenge for %s; use another CA", s.authority.host, name)}
}

// pollAll waits for the outcome of every authorization, so that the error names
// every name that failed.
func (s *session) pollAll(ctx context.Context, account lib.Account, pending []lib.Authorization) error {
	var all []*failure
	for _, authz := range pending {
		authz.Status = lib.StatusPending
		done, err := s.client.PollAuthorization(ctx, account, authz)
		if err == nil {
			continue
		}
		switch done.Status {
		case lib.StatusInvalid, lib.StatusDeactivated, lib.StatusExpired, lib.StatusRevoked:
			all = append(all, s.refusal(done, err))
		default:
			return s.explain(atChallenge, err)
		}
	}
	if len(all) == 0 {
		return nil
	}
	first := all[0]
	for i, f := range all[1:] {
		first.names = append(first.names, f.names...)
		if i < 2 {
			first.text += "; also " + f.text
		}
	}
	if n := len(all); n > 3 {
		first.text += fmt.Sprintf("; and %d more names", n-3)
	}
	return first
}

// refusal is the failure of one name, with what the CA says about it.
func (s *session) refusal(authz lib.Authorization, err error) *failure {
	name := clean(authz.IdentifierValue())
	f := &failure{kind: kindValidation, text: clean(err.Error()), err: err, names: []string{name}}
	for _, c := range authz.Challenges {
		if c.Error != nil {
			s.explainProblem(f, atChallenge, *c.Error)
			break
		}
	}
	f.kind = kindValidation
	f.text = fmt.Sprintf("%s: %s: %s", s.authority.host, name, f.text)
	return f
}

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

// wait returns once every name server serves t, and no resolver of the CA still
// remembers that it is not there.
func (p *publisher) wait(ctx context.Context, t txt) error {
	var err error
	if p.opts.Propagated != nil {
		err = p.opts.Propagated(ctx, t.Name, t.Value)
	}
	if err == nil {
		err = p.settle(ctx, t.Name)
	}
	if err != nil {
		return &failure{kind: kindLocal, err: err, text: fmt.Sprintf("the TXT record %s is not served by every name server of the zone: %s; check that all of them are updated, `tlsink doctor` tells", t.Name, clean(err.Error()))}
	}
	return nil
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

// settle waits until what the CA has seen at the name of a challenge is forgotten.
func (p *publisher) settle(ctx context.Context, challenge string) error {
	p.mu.Lock()
	last, known := p.seen[strings.TrimPrefix(challenge, "_acme-challenge.")]
	p.mu.Unlock()
	left := p.opts.Settle - p.opts.Now().Sub(last)
	if !known || left <= 0 {
		return nil
	}
	return sleep(ctx, min(left, p.opts.Settle))
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
