package acme

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	lib "github.com/mholt/acmez/v3/acme"
	"golang.org/x/sync/errgroup"
)

// atOnce is how many names of an order are dealt with at a time. Each request
// under way holds a nonce, and more of them are fetched when that many begin:
// Let's Encrypt allows ten at once (https://letsencrypt.org/docs/rate-limits/).
const atOnce = 8

// each calls f for 0 to n-1, atOnce at a time, and returns the first failure.
// After that it begins no more, and the context that f is given ends; requests to
// the CA don't use that one, so that none is cut off halfway.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	g, running := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range n {
		g.Go(func() error {
			if running.Err() != nil {
				return nil
			}
			return f(running, i)
		})
	}
	return cmp.Or(g.Wait(), ctx.Err())
}

// proof is how we prove that one name is ours.
type proof struct {
	authz     lib.Authorization
	challenge lib.Challenge
}

// authorize proves to the CA that the names of an order are ours, all at once,
// and returns the order when the CA agrees. The TXT records are gone then.
func (s *session) authorize(ctx context.Context, account lib.Account, order lib.Order) (lib.Order, error) {
	proofs, err := s.proofs(ctx, account, order)
	if err != nil {
		return order, err
	}
	if len(proofs) == 0 {
		return s.ready(ctx, account, order)
	}
	records := make([]txt, 0, len(proofs))
	for _, p := range proofs {
		records = append(records, txt{s.authority.opts.Zone, strings.ToLower(p.challenge.DNS01TXTRecordName()), p.challenge.DNS01KeyAuthorization()})
	}
	dns := s.authority.dns
	defer dns.withdraw(ctx, records)
	if err := dns.publish(ctx, records); err != nil {
		return order, err
	}
	if err := dns.wait(ctx, records); err != nil {
		return order, err
	}
	err = each(ctx, len(proofs), func(_ context.Context, i int) error {
		_, err := s.client.InitiateChallenge(ctx, account, proofs[i].challenge)
		return err
	})
	if err != nil {
		return order, s.explain(atChallenge, err)
	}
	return s.verdict(ctx, account, order, proofs)
}

// proofs returns what is to be proven for an order.
func (s *session) proofs(ctx context.Context, account lib.Account, order lib.Order) ([]proof, error) {
	all, err := s.authorizations(ctx, account, order.Authorizations)
	if err != nil {
		return nil, err
	}
	var proofs []proof
	for _, authz := range all {
		if authz.Status == lib.StatusValid { // from an earlier order
			continue
		}
		challenge, err := s.dns01(authz, order)
		if err != nil {
			return nil, err
		}
		proofs = append(proofs, proof{authz, challenge})
	}
	return proofs, nil
}

// authorizations fetches what is at urls.
func (s *session) authorizations(ctx context.Context, account lib.Account, urls []string) ([]lib.Authorization, error) {
	all := make([]lib.Authorization, len(urls))
	err := each(ctx, len(urls), func(_ context.Context, i int) (err error) {
		all[i], err = s.client.GetAuthorization(ctx, account, urls[i])
		return err
	})
	if err != nil {
		return nil, s.explain(atChallenge, err)
	}
	return all, nil
}

// dns01 returns the challenge of authz that we can solve.
func (s *session) dns01(authz lib.Authorization, order lib.Order) (lib.Challenge, error) {
	name := clean(authz.IdentifierValue())
	if authz.Wildcard || !slices.Contains(order.Identifiers, authz.Identifier) {
		return lib.Challenge{}, s.explain(atChallenge, fmt.Errorf("the CA wants authorization for %s, which was not ordered", name))
	}
	if authz.Status != lib.StatusPending {
		return lib.Challenge{}, s.refusal(authz)
	}
	for _, c := range authz.Challenges {
		if c.Type == lib.ChallengeTypeDNS01 && c.Token != "" {
			return c, nil
		}
	}
	return lib.Challenge{}, &failure{kind: kindRefused, text: fmt.Sprintf("%s: the CA offers no dns-01 challenge for %s; use another CA", s.authority.host, name)}
}

// verdict waits until the CA has decided about an order whose challenges it has
// been told to look at. The order tells, in one request for all names (RFC 8555
// §7.1.6). Only if it is refused, or takes too long, each name is asked for.
func (s *session) verdict(ctx context.Context, account lib.Account, order lib.Order, proofs []proof) (lib.Order, error) {
	patience, cancel := context.WithTimeout(ctx, s.client.PollTimeout)
	defer cancel()
	order, err := s.ready(patience, account, order)
	late := patience.Err() != nil && ctx.Err() == nil
	if err == nil || (order.Status == lib.StatusPending && !late) {
		return order, err
	}
	urls := make([]string, 0, len(proofs))
	for _, p := range proofs {
		urls = append(urls, p.authz.Location)
	}
	if failed := s.refused(ctx, patience, account, urls); failed != nil {
		return order, failed
	}
	return order, err
}

// ready waits until the CA agrees that all names are authorized.
func (s *session) ready(ctx context.Context, account lib.Account, order lib.Order) (lib.Order, error) {
	for order.Status == lib.StatusPending {
		if err := sleep(ctx, cmp.Or(s.guard.again(), s.authority.opts.Poll)); err != nil {
			return order, s.explain(atChallenge, fmt.Errorf("the order stays pending: %w", err))
		}
		var err error
		if order, err = s.client.GetOrder(ctx, account, order); err != nil {
			return order, s.explain(atChallenge, err)
		}
	}
	switch order.Status {
	case lib.StatusReady, lib.StatusValid, lib.StatusProcessing:
		return order, nil
	}
	return order, s.badOrder(order)
}

// refused says which names the CA did not authorize, and why; nil if it is none.
// Those that it still looks at may take until patience ends: each that fails
// counts towards its limits.
func (s *session) refused(ctx, patience context.Context, account lib.Account, urls []string) error {
	var failed []*failure
	for pause := s.authority.opts.Poll; ; pause = min(2*pause, longestPoll) {
		all, err := s.authorizations(ctx, account, urls)
		if err != nil {
			return err
		}
		var pending []string // names
		urls = nil
		for _, authz := range all {
			switch authz.Status {
			case lib.StatusValid:
			case lib.StatusPending:
				pending, urls = append(pending, clean(authz.IdentifierValue())), append(urls, authz.Location)
			default:
				failed = append(failed, s.refusal(authz))
			}
		}
		if len(urls) > 0 && sleep(patience, max(pause, s.guard.again())) == nil {
			continue
		}
		if len(failed) == 0 && len(pending) > 0 {
			return s.explain(atChallenge, tooLong(pending))
		}
		return join(failed)
	}
}

func tooLong(names []string) error {
	if len(names) == 1 {
		return fmt.Errorf("authorization of %s takes too long", names[0])
	}
	return fmt.Errorf("authorization of %s and %d more names takes too long", names[0], len(names)-1)
}

// join makes one failure of those of several names; nil if there is none.
func join(failed []*failure) error {
	if len(failed) == 0 {
		return nil
	}
	first := failed[0]
	for i, f := range failed[1:] {
		first.names = append(first.names, f.names...)
		if i < 2 {
			first.text += "; also " + f.text
		}
	}
	if n := len(failed); n > 3 {
		first.text += fmt.Sprintf("; and %d more names", n-3)
	}
	return first
}

// refusal is the failure of one name, with what the CA says about it.
func (s *session) refusal(authz lib.Authorization) *failure {
	name := clean(authz.IdentifierValue())
	err := fmt.Errorf("authorization is %q", clean(authz.Status))
	f := &failure{text: err.Error(), err: err, names: []string{name}}
	for _, c := range authz.Challenges {
		if c.Error != nil {
			f.err = *c.Error
			s.explainProblem(f, atChallenge, *c.Error)
			break
		}
	}
	f.kind = kindValidation
	f.text = fmt.Sprintf("%s: %s: %s", s.authority.host, name, f.text)
	return f
}
