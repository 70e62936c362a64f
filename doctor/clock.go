package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/miekg/dns"
)

// maxSkew is how far our clock may be off. A Date header has whole seconds, and
// comes late.
const maxSkew = 2 * time.Minute

// clock compares ours with others': what the caller knows, a web server's Date,
// and the dates of signatures of the zones above ours.
func (x *exam) clock(ctx context.Context) {
	if x.Clock != nil {
		if err := x.Clock(); err != nil {
			x.wrong("this machine", err.Error(), "")
			return
		}
	}
	if x.scope&Outside == 0 {
		return // nobody else is asked
	}
	x.check.effect = NoEffect // of not knowing
	now := x.Now().UTC()
	if x.Date != "" {
		if theirs, err := x.date(ctx); err == nil {
			if off := now.Sub(theirs); off.Abs() > maxSkew {
				x.check.effect = Unverifiable
				x.wrong("this machine", fmt.Sprintf("the clock says %s, but %s says %s", now.Format(time.RFC3339), x.Date, theirs.UTC().Format(time.RFC3339)), "")
				return
			}
			x.ok("this machine", "the clock agrees with %s", x.Date)
			return
		}
	}
	from, to, err := x.signed(ctx)
	switch {
	case err != nil && x.Clock != nil:
		x.ok("this machine", "nothing speaks against the clock: %s", now.Format(time.RFC3339))
	case err != nil:
		x.cannot("this machine", "nobody to compare the clock with: "+plain(err))
	case now.Before(from) || now.After(to):
		x.check.effect = Unverifiable
		x.wrong("this machine", fmt.Sprintf("the clock says %s, but the parent zone was signed for %s to %s", now.Format(time.RFC3339), from.Format(time.DateOnly), to.Format(time.DateOnly)), "")
	default:
		x.ok("this machine", "the clock fits the signatures of the parent zone: %s", now.Format(time.RFC3339))
	}
}

// date asks a web server for the time. Its certificate is not verified: with a
// wrong clock none can be.
func (x *exam) date(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, x.Timeout)
	defer cancel()
	t := &http.Transport{DialContext: x.Dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}} //nolint:gosec // only the time is asked for
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, x.Date, http.NoBody)
	if err != nil {
		return time.Time{}, err
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return time.Time{}, err
	}
	defer resp.Body.Close()
	return http.ParseTime(resp.Header.Get("Date"))
}

// signed returns when the signatures of the parent zone are valid.
func (x *exam) signed(ctx context.Context) (from, to time.Time, err error) {
	zone, servers, err := x.parent(ctx)
	if err != nil {
		return from, to, err
	}
	err = errors.New("the parent zone is not signed")
	for _, s := range servers {
		m, lost := x.ask(ctx, s.addr, zone, dns.TypeSOA)
		if lost != nil {
			err = lost
			continue
		}
		for _, rr := range m.Answer {
			if sig, ok := rr.(*dns.RRSIG); ok && sig.TypeCovered == dns.TypeSOA {
				return time.Unix(int64(sig.Inception), 0).UTC(), time.Unix(int64(sig.Expiration), 0).UTC(), nil
			}
		}
	}
	return from, to, err
}
