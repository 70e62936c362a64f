package records

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/tlspolicy"
)

// MTASTS reads the MTA-STS record of a domain and fetches its policy (RFC 8461).
// The policy is looked for even if there is no record: one without the other is
// a mistake worth to know. Policy and HTTPS are zero if there is neither.
func (r *Reader) MTASTS(ctx context.Context, domain string) MTASTS {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	var out MTASTS
	name := "_mta-sts." + domain
	txts, status, failed := r.texts(ctx, name)
	out.DNSSEC = status
	out.Published = failed
	if failed.Outcome == "" {
		out.record(name, txts)
	}
	f := r.fetch(ctx, domain)
	if f.policy.OK() {
		out.policy(f)
	}
	switch {
	case out.Published.OK():
		out.Policy, out.HTTPS = f.policy, f.https
		if f.policy.Failed() {
			note(&out.Problems, "%s", f.policy.Why)
		}
	case f.policy.OK():
		out.Policy, out.HTTPS = f.policy, f.https
		if out.Published.Failed() {
			note(&out.Problems, "there is a policy, but no usable record at %s, so senders do not look for it", name)
		}
	}
	return out
}

// record judges the TXT records.
func (m *MTASTS) record(name string, txts []string) {
	for _, txt := range txts {
		if len(txt) >= 5 && strings.EqualFold(txt[:5], "v=sts") && !strings.HasPrefix(txt, "v=STSv1;") && !strings.HasPrefix(txt, "v=STSv1 ") {
			note(&m.Problems, "a TXT record of %s does not begin with \"v=STSv1;\", so it is ignored: %s", name, quote(txt))
		}
	}
	rec, err := tlspolicy.FindRecord(txts)
	switch {
	case err == nil:
		m.Published, m.ID = check.Pass(), rec.ID
	case errors.Is(err, tlspolicy.ErrNoRecord):
		m.Published = check.Fail(clean(name+": "+err.Error(), maxWhy))
	default:
		m.Published = check.Fail(clean(name+": "+err.Error(), maxWhy))
		note(&m.Problems, "%s: %v", name, err)
	}
}

// policy takes over what was fetched.
func (m *MTASTS) policy(f fetched) {
	m.Mode, m.MaxAge = string(f.parsed.Mode), f.parsed.MaxAge
	for _, pattern := range f.parsed.MX {
		m.MX = append(m.MX, clean(pattern, maxWhy))
	}
	switch f.parsed.Mode {
	case tlspolicy.ModeTesting:
		note(&m.Problems, "the mode is testing: senders only report, and deliver without protection")
	case tlspolicy.ModeNone:
		note(&m.Problems, "the mode is none: the domain says that it has no policy")
	}
	if f.parsed.MaxAge < 24*time.Hour && f.parsed.Mode != tlspolicy.ModeNone {
		// RFC 8461 §10.2 wants weeks: an attacker only has to wait that long.
		note(&m.Problems, "max_age is %d seconds: with less than a day senders forget the policy too soon; weeks are usual", int64(f.parsed.MaxAge/time.Second))
	}
	if n, ok := maxAge(f.body); ok && n > uint64(tlspolicy.MaxAge/time.Second) {
		note(&m.Problems, "max_age is %d seconds, more than the %d of a year that are allowed", n, int64(tlspolicy.MaxAge/time.Second))
	}
}

// maxAge finds the number in the text of a policy that was parsed already: the
// parser keeps only what is allowed.
func maxAge(body string) (uint64, bool) {
	for line := range strings.SplitSeq(body, "\n") {
		if value, ok := strings.CutPrefix(line, "max_age:"); ok {
			n, err := strconv.ParseUint(strings.Trim(value, " \t\r"), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
