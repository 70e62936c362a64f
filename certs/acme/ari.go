package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	lib "github.com/mholt/acmez/v3/acme"
)

const (
	// RFC 9773 §4.3.2: reasonable limits.
	shortestCheck = time.Minute
	longestCheck  = 24 * time.Hour
	defaultCheck  = 6 * time.Hour
	failedCheck   = time.Hour
)

// RenewalWindow returns when the CA wants leaf to be renewed (RFC 9773). Both
// times are zero if it does not say, or if leaf is not from it. The answer is
// kept until the CA wants to be asked again; while it can't be reached the last
// one holds, and only if there is none RenewalWindow fails.
func (i *Issuer) RenewalWindow(ctx context.Context, leaf *x509.Certificate) (start, end time.Time, err error) {
	a, now := i.production, i.opts.Now()
	doc, mine, err := i.find(leaf)
	if err != nil || mine == nil {
		return time.Time{}, time.Time{}, err
	}
	known := mine.Window
	if now.Before(known.Check) && known.Check.Sub(now) <= longestCheck {
		return known.Start, known.End, nil
	}
	ca, err := a.state()
	if err != nil {
		return time.Time{}, time.Time{}, err
	}
	if ca.waitCA(now) != nil {
		return known.Start, known.End, nil // the CA wants no requests, which is no news
	}
	fresh, failed := a.askWindow(ctx, leaf)
	if failed != nil {
		if ctx.Err() != nil {
			return known.Start, known.End, failed
		}
		later := now.Add(jitter(failedCheck, i.opts.Rand))
		if later.Before(fresh.Check) { // as the CA asked for
			later = fresh.Check
		}
		fresh = window{Start: known.Start, End: known.End, Check: later}
	}
	err = note(ctx, i.docs, doc, func(s *certState) {
		for n := range s.Issued {
			if s.Issued[n].Digest == mine.Digest {
				s.Issued[n].Window = fresh
			}
		}
	})
	if err != nil {
		i.opts.Logger.WarnContext(ctx, "renewal window not saved", "err", err)
	}
	if failed != nil && fresh.Start.IsZero() {
		return time.Time{}, time.Time{}, fmt.Errorf("renewal window of %s: %w", leaf.DNSNames, failed)
	}
	if failed != nil {
		i.opts.Logger.WarnContext(ctx, "renewal window not asked for, the last one holds", "names", leaf.DNSNames, "err", failed)
	}
	return fresh.Start, fresh.End, nil
}

// askWindow asks the CA. Without support for it the window is empty.
func (a *authority) askWindow(ctx context.Context, leaf *x509.Certificate) (window, error) {
	ctx, cancel := context.WithTimeout(ctx, a.opts.Timeout)
	defer cancel()
	s, err := a.open(ctx)
	if err != nil {
		return window{}, err
	}
	info, err := s.client.GetRenewalInfo(ctx, leaf)
	if errors.Is(err, lib.ErrUnsupported) {
		return window{Check: a.opts.Now().Add(longestCheck)}, nil
	}
	if err != nil {
		w := window{}
		if asked := s.guard.stopped(); asked != nil {
			w.Check = a.opts.Now().Add(min(asked.until.Sub(a.opts.Now()), longestCheck))
		}
		// The library does not keep the error's type here.
		return w, fmt.Errorf("%s: %s", a.host, clean(err.Error()))
	}
	w := a.usable(&info, leaf)
	if info.ExplanationURL != "" && !w.Start.IsZero() {
		a.opts.Logger.InfoContext(ctx, "the CA explains its renewal window", "names", leaf.DNSNames, "start", w.Start, "url", clean(info.ExplanationURL))
	}
	return w, nil
}

// usable is a window within reason, or none: one that begins when the
// certificate has expired helps nobody.
func (a *authority) usable(info *lib.RenewalInfo, leaf *x509.Certificate) window {
	now := a.opts.Now()
	w := window{Start: info.SuggestedWindow.Start, End: info.SuggestedWindow.End, Check: now.Add(defaultCheck)}
	if info.RetryAfter != nil {
		// The library took the time of the system; what counts is how long.
		w.Check = now.Add(min(max(time.Until(*info.RetryAfter), shortestCheck), longestCheck))
	}
	if !w.Start.Before(leaf.NotAfter) {
		return window{Check: w.Check}
	}
	if w.End.After(leaf.NotAfter) {
		w.End = leaf.NotAfter
	}
	return w
}

// Issued reports whether leaf is one of the latest certificates that this CA
// issued to us.
func (i *Issuer) Issued(leaf *x509.Certificate) bool {
	_, mine, err := i.find(leaf)
	return err == nil && mine != nil
}

// find returns what is known about leaf, or nil, and where that is kept.
func (i *Issuer) find(leaf *x509.Certificate) (doc string, mine *issued, err error) {
	names, err := i.canonical(leaf.DNSNames)
	if err != nil {
		return "", nil, nil // a certificate of other names is not from here
	}
	algorithm, err := algorithmOf(leaf.PublicKey)
	if err != nil {
		return "", nil, nil // nor one of another algorithm
	}
	doc = certKey(i.production.directory, names, algorithm)
	state, err := load[certState](i.docs, doc)
	if err != nil {
		return doc, nil, err
	}
	want := digest(leaf.Raw)
	n := slices.IndexFunc(state.Issued, func(c issued) bool { return c.Digest == want })
	if n < 0 {
		return doc, nil, nil
	}
	return doc, &state.Issued[n], nil
}
