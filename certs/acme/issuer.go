package acme

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tlsink/tlsink/scenario"
)

// minRSABits is what CAs ask for.
const minRSABits = 2048

// Issuer gets certificates from a public CA. All methods are safe for
// concurrent use; orders of the same certificate follow each other, since CAs
// answer a second one with the order that runs.
type Issuer struct {
	opts       Options
	docs       *documents
	dns        *publisher
	production *authority
	staging    *authority // nil: none
	setup      string

	mu    sync.Mutex
	locks map[string]*semaphore.Weighted
}

// New returns an Issuer, which should be the only one that uses Options.State:
// it takes challenges that it does not know of for those of a crash. New asks
// nobody; what is wrong with the CA or the DNS shows when a certificate is
// ordered.
func New(o Options) (*Issuer, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("ACME: %w", err)
	}
	i := &Issuer{
		opts:  o,
		docs:  &documents{state: o.State, unsaved: make(map[string][]byte)},
		setup: o.fingerprint(),
		locks: make(map[string]*semaphore.Weighted),
	}
	i.dns = &publisher{opts: &i.opts, docs: i.docs, live: make(map[txt]int), seen: make(map[string]time.Time)}
	i.production = newAuthority(&i.opts, i.docs, i.dns, o.Directory, o.EAB)
	if o.Staging != "" {
		i.staging = newAuthority(&i.opts, i.docs, i.dns, o.Staging, EAB{})
	}
	return i, nil
}

// Issue orders a certificate for names with key, and returns its chain in DER,
// leaf first, without the root. It may take Options.Timeout, or twice that if
// the set-up has to be tried at the staging CA first.
//
// The error is a [*Wait] if it is too early, because the CA said so or because
// the same order failed before; then nobody was asked. So it can be called as
// often as one likes.
func (i *Issuer) Issue(ctx context.Context, names []string, key crypto.Signer) ([][]byte, error) {
	names, err := i.canonical(names)
	if err != nil {
		return nil, fmt.Errorf("ACME: %w", err)
	}
	algorithm, err := algorithmOf(key.Public())
	if err != nil {
		return nil, fmt.Errorf("ACME: %w", err)
	}
	doc := certKey(i.opts.Directory, names, algorithm)
	lock := i.lock(doc)
	if err := lock.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("ACME: %w", err)
	}
	defer lock.Release(1)
	chain, err := i.issue(ctx, doc, names, key)
	if err != nil {
		return nil, fmt.Errorf("ACME: %w", err)
	}
	return chain, nil
}

// MaxNames returns how many names a certificate may have.
func (i *Issuer) MaxNames() int { return MaxNames }

func (i *Issuer) lock(doc string) *semaphore.Weighted {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.locks[doc] == nil {
		i.locks[doc] = semaphore.NewWeighted(1)
	}
	return i.locks[doc]
}

func (i *Issuer) issue(ctx context.Context, doc string, names []string, key crypto.Signer) ([][]byte, error) {
	cert, err := load[certState](i.docs, doc)
	if err != nil {
		return nil, err
	}
	ca, err := i.production.state()
	if err != nil {
		return nil, err
	}
	now := i.opts.Now()
	if w := cmp.Or(ca.waitCA(now), cert.waitCert(now, i.setup, ca.Retry), ca.waitNames(now, names)); w != nil {
		return nil, w
	}
	i.dns.removeStale(ctx)
	if i.staging != nil && (cert.Suspect || ca.Proven != i.setup) {
		if err := i.rehearse(ctx, doc, names, ca.Proven != i.setup); err != nil {
			return nil, fmt.Errorf("at the staging CA, where new set-ups are tried first: %w", err)
		}
	}
	replaces := ""
	if n := len(cert.Issued); n > 0 && now.Before(cert.Issued[n-1].NotAfter) {
		replaces = cert.Issued[n-1].ID
	}
	p, err := i.attempt(ctx, i.production, doc, names, key, replaces)
	if err != nil {
		return nil, err
	}
	return p.chain, nil
}

// rehearse orders from the staging CA with a key that is thrown away, and so is
// what it issues. all says that no certificate is ordered before that works.
func (i *Issuer) rehearse(ctx context.Context, doc string, names []string, all bool) error {
	ca, err := i.staging.state()
	if err != nil {
		return err
	}
	now := i.opts.Now()
	if w := cmp.Or(ca.waitCA(now), ca.waitNames(now, names)); w != nil {
		w.All = w.All && all
		return w
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	_, err = i.attempt(ctx, i.staging, doc, names, key, "")
	if f, ok := errors.AsType[*failure](err); ok {
		f.all = f.all && all
	}
	if w, ok := errors.AsType[*Wait](err); ok {
		w.All = w.All && all
	}
	return err
}

// attempt orders once and keeps what follows from the outcome. Before it asks
// the CA, it stores a failure: a crash on the way counts as one.
func (i *Issuer) attempt(ctx context.Context, a *authority, doc string, names []string, key crypto.Signer, replaces string) (*product, error) {
	var before certState
	err := update(ctx, i.docs, doc, func(s *certState) {
		before = *s
		i.failed(s, "the last attempt was cut off")
	})
	if err != nil {
		return nil, fmt.Errorf("nothing is ordered that can't be remembered: %w", err)
	}
	i.opts.Logger.InfoContext(ctx, "ordering a certificate", "ca", a.host, "names", names)
	orderCtx, cancel := context.WithTimeout(ctx, i.opts.Timeout)
	defer cancel()
	p, err := a.obtain(orderCtx, names, key, replaces)
	if err == nil && a == i.production {
		err = i.refuseStaging(p)
	}
	if err != nil {
		return nil, i.settle(ctx, a, doc, names, before, err)
	}
	if err := i.succeeded(ctx, a, doc, before, p); err != nil {
		i.opts.Logger.WarnContext(ctx, "certificate issued, but the state is only in memory", "names", names, "err", err)
	}
	i.opts.Logger.InfoContext(ctx, "certificate issued", "ca", a.host, "names", names, "not_after", p.leaf.NotAfter)
	return p, nil
}

// refuseStaging makes sure that no test certificate is taken for a real one.
func (i *Issuer) refuseStaging(p *product) error {
	var known []string
	if i.staging != nil {
		s, err := i.staging.state()
		if err != nil {
			return err
		}
		known = s.Issuers
	}
	if why := fromStaging(p.chain, known); why != "" {
		return &failure{kind: kindRefused, text: fmt.Sprintf(
			"%s issues test certificates that no sender trusts: %s; set certificates.acme.directory to the real CA", i.production.directory, why)}
	}
	return nil
}

// failed begins the back-off of a certificate, or makes it longer.
func (i *Issuer) failed(s *certState, reason string) {
	if s.Setup != i.setup {
		s.Backoff = pause{}
	}
	s.At, s.Setup = i.opts.Now(), i.setup
	s.Backoff = s.Backoff.next(s.At, firstBackoff, lastBackoff, i.opts.Rand, reason)
}

// settle keeps what follows from a failure, and returns it as the caller is to
// see it.
func (i *Issuer) settle(ctx context.Context, a *authority, doc string, names []string, before certState, err error) error {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		f = &failure{kind: kindLocal, err: err, text: clean(err.Error())}
		err = f
	}
	now, out := i.opts.Now(), err
	cert, ca := func(s *certState) { *s = before }, func(*caState) {}
	trouble := func(first, last time.Duration) {
		f.all = true
		ca = func(s *caState) {
			s.Trouble = s.Trouble.next(now, first, last, i.opts.Rand, f.text)
			f.retry = s.Trouble.Until
		}
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled): // the program ends
	case f.kind == kindAsked:
		ca = func(s *caState) { s.Asked = pause{Until: f.until, Reason: f.text} }
		out = &Wait{Until: f.until, Reason: f.text, All: true}
	case f.kind == kindAskedNames:
		cert = func(s *certState) { *s = before; s.Asked = pause{Until: f.until, Reason: f.text} }
		out = &Wait{Until: f.until, Reason: f.text}
	case f.kind == kindOutage:
		trouble(firstOutage, lastOutage)
	case f.kind == kindAccount:
		trouble(firstBackoff, lastBackoff)
	default:
		validation := f.kind == kindValidation
		if validation && len(f.names) == 0 {
			f.names = names
		}
		ca = func(s *caState) {
			s.Trouble = pause{} // the CA works
			s.failed(now, f.names)
			if validation && a == i.production {
				s.Proven = ""
			}
		}
		cert = func(s *certState) {
			s.Backoff.Reason, s.Suspect = f.text, s.Suspect || validation
			f.retry = s.Backoff.Until
		}
	}
	return errors.Join(out, note(ctx, i.docs, a.stateDoc(), ca), note(ctx, i.docs, doc, cert))
}

// succeeded keeps what follows from a certificate.
func (i *Issuer) succeeded(ctx context.Context, a *authority, doc string, before certState, p *product) error {
	worksAgain := func(s *caState) { s.Asked, s.Trouble = pause{}, pause{} }
	if a != i.production {
		return errors.Join(
			note(ctx, i.docs, a.stateDoc(), func(s *caState) {
				worksAgain(s)
				for _, d := range issuersOf(p.chain) {
					if !slices.Contains(s.Issuers, d) {
						s.Issuers = append(s.Issuers, d)
					}
				}
				s.Issuers = s.Issuers[max(0, len(s.Issuers)-maxIssuers):]
			}),
			note(ctx, i.docs, i.production.stateDoc(), func(s *caState) { s.Proven = i.setup }),
			note(ctx, i.docs, doc, func(s *certState) { *s = before; s.Suspect = false }))
	}
	return errors.Join(
		note(ctx, i.docs, a.stateDoc(), worksAgain),
		note(ctx, i.docs, doc, func(s *certState) {
			all := append(s.Issued, p.issued)
			*s = certState{Issued: all[max(0, len(all)-maxIssued):]}
		}))
}

// Retry forgets all back-off, so that what failed is tried again at the next
// call of Issue: for an operator who has mended something. It also lets go of an
// account that the CA has refused. What the CA itself asked for still holds.
func (i *Issuer) Retry(ctx context.Context) error {
	now := i.opts.Now()
	clear := func(s *caState) { s.Trouble, s.Retry = pause{}, now }
	errs := []error{
		update(ctx, i.docs, i.production.stateDoc(), clear),
		i.production.forgetRefused(ctx),
	}
	if i.staging != nil {
		errs = append(errs, update(ctx, i.docs, i.staging.stateDoc(), clear), i.staging.forgetRefused(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("ACME: forget back-off: %w", err)
	}
	return nil
}

// canonical returns names sorted and in lower case, or what is wrong with them.
func (i *Issuer) canonical(names []string) ([]string, error) {
	out := make([]string, 0, len(names))
	for _, name := range names {
		c := scenario.Canonical(name)
		if c != i.opts.Zone && !strings.HasSuffix(c, "."+i.opts.Zone) {
			return nil, fmt.Errorf("name %q is not in the zone %q, where challenges can be answered", clean(name), i.opts.Zone)
		}
		if strings.HasPrefix(c, "*") {
			return nil, fmt.Errorf("name %q: wildcards are not ordered", clean(name))
		}
		out = append(out, c)
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) == 0 {
		return nil, errors.New("certificate without names")
	}
	if len(out) > MaxNames {
		return nil, fmt.Errorf("certificate of %d names: public CAs take %d; run fewer slots", len(out), MaxNames)
	}
	return out, nil
}

// algorithmOf names the algorithm of a key that public CAs take.
func algorithmOf(pub crypto.PublicKey) (string, error) {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return "ecdsa", nil
		}
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSABits {
			return "rsa", nil
		}
	}
	return "", fmt.Errorf("key %T: public CAs take ECDSA on P-256 or P-384, and RSA from %d bits on", pub, minRSABits)
}
