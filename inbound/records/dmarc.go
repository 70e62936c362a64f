package records

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tlsink/tlsink/dmarc"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound/check"
)

// maxDestinations is how many domains that get reports are asked whether they
// want them.
const maxDestinations = 8

// DMARC finds the DMARC record that holds for a domain. Valid is yes if
// receivers apply it; syntax errors that they pass over are only problems.
func (r *Reader) DMARC(ctx context.Context, domain string) DMARC {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	rec, from, status, err := dmarc.Discover(ctx, r.opts.Resolver, domain)
	out := DMARC{DNSSEC: status}
	switch {
	case errors.Is(err, dmarc.ErrTemporary) && status != dnssec.Bogus:
		out.Published = check.Skip(clean(err.Error(), maxWhy))
		return out
	case errors.Is(err, dmarc.ErrInvalid):
		out.Published, out.Valid = check.Pass(), check.Fail(clean(err.Error(), maxWhy))
		out.Record, out.From = clean(rec.Text, maxRecord), from
		note(&out.Problems, "%v", err)
		return out
	case err != nil:
		out.Published = check.Fail(clean(err.Error(), maxWhy))
		return out
	}
	out.Published, out.Valid = check.Pass(), check.Pass()
	out.Record, out.From = clean(rec.Text, maxRecord), from
	out.Percent = rec.Percent
	policy := rec.PolicyFor(domain, from)
	out.Policy = string(policy)
	for _, p := range slices.Concat(rec.Problems, rec.Notes) {
		note(&out.Problems, "%s", p)
	}
	out.Enforced = enforced(policy, rec.Percent)
	if rec.Percent < 100 && policy != dmarc.None {
		note(&out.Problems, "pct=%d: the policy is not for all mail", rec.Percent)
	}
	for _, u := range rec.Aggregate[:min(len(rec.Aggregate), maxReports)] {
		out.Reports = append(out.Reports, clean(u.Text, maxWhy))
	}
	if len(rec.Aggregate) == 0 {
		note(&out.Problems, "no address for reports (rua): nobody learns what fails")
	}
	r.destinations(ctx, from, slices.Concat(rec.Aggregate, rec.Failure), &out.Problems)
	return out
}

func enforced(policy dmarc.Policy, percent int) check.Result {
	switch {
	case policy == dmarc.None:
		return check.Fail("the policy is none: mail that fails is delivered as usual")
	case policy == dmarc.Quarantine && percent == 0:
		// RFC 7489 §6.6.4: the rest is treated one step milder; that of reject is
		// quarantined.
		return check.Fail("the policy is quarantine, but for none of the mail (pct=0)")
	}
	return check.Pass()
}

// destinations checks that other organizations take the reports that they would
// get (RFC 7489 §7.1). What can't be looked up is left out.
func (r *Reader) destinations(ctx context.Context, from string, uris []dmarc.URI, problems *[]string) {
	var asked []string
	for _, u := range uris {
		if u.Scheme != "mailto" || slices.Contains(asked, u.Domain) || dmarc.Organizational(u.Domain) == dmarc.Organizational(from) {
			continue
		}
		if len(asked) == maxDestinations {
			return
		}
		asked = append(asked, u.Domain)
		name := from + "._report._dmarc." + u.Domain
		if len(name) > 253 {
			continue
		}
		txts, _, failed := r.texts(ctx, name)
		if failed.Outcome == "" && !slices.ContainsFunc(txts, dmarc.IsRecord) {
			note(problems, "%s", fmt.Sprintf("%s does not say that it takes reports about %s, so it gets none: there is no record v=DMARC1 at %s", u.Domain, from, name))
		}
	}
}
