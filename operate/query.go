package operate

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/policyinfer"
)

const (
	defaultLimit = 50
	mostRows     = 1000
	mostOctets   = 400 // of one parameter
)

// The values of Query.State besides those of a test.
const (
	StateOpen = "open" // running or concluded
	StateOver = "over" // acked or closed
)

// parser reads parameters and keeps the first error.
type parser struct {
	values url.Values
	now    time.Time
	err    error
}

func (p *parser) text(field string) string {
	v := strings.TrimSpace(p.values.Get(field))
	if len(v) > mostOctets {
		p.wrong(field, v[:20]+"…", "is too long")
		return ""
	}
	return v
}

func (p *parser) wrong(field, value, want string) {
	if p.err == nil {
		p.err = &InvalidError{field, value, want}
	}
}

func (p *parser) network(field string) netip.Prefix {
	v := p.text(field)
	if v == "" {
		return netip.Prefix{}
	}
	n, err := netip.ParsePrefix(v)
	if a, e := netip.ParseAddr(v); e == nil {
		a = a.Unmap().WithZone("")
		n, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil {
		p.wrong(field, v, "want an IP address, or a network such as 192.0.2.0/24 or 2001:db8::/32")
	}
	if n.Addr().Is4In6() && n.Bits() >= 96 {
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	return n.Masked()
}

// time reads a time, a day (UTC), or how long ago it was.
func (p *parser) time(field string) time.Time {
	v := p.text(field)
	if v == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04", time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, v); err == nil {
			return t
		}
	}
	if ago, ok := age(v); ok {
		return p.now.Add(-ago)
	}
	p.wrong(field, v, "want a time (2026-11-22T10:00:00Z), a day (2026-11-22), or how long ago (90m, 24h, 7d)")
	return time.Time{}
}

// age reads a duration that may be in days.
func age(s string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		return time.Duration(n) * 24 * time.Hour, err == nil && n >= 0 && n <= 36500
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= 0
}

func (p *parser) number(field string, most int) (int, bool) {
	v := p.text(field)
	if v == "" {
		return 0, false
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > most {
		p.wrong(field, v, "want a number from 0 to "+strconv.Itoa(most))
	}
	return n, true
}

// ParseQuery reads a query from parameters: id, domain, address, network,
// verdict, state, from, to, slot, cursor and limit, all of them optional. Times
// are RFC 3339, a day (UTC), or how long before now, such as 24h or 7d. What
// cannot be read makes an *InvalidError.
func ParseQuery(v url.Values, now time.Time) (Query, error) {
	p := parser{values: v, now: now}
	q := Query{
		ID: p.text("id"), Domain: p.text("domain"), Address: p.text("address"), Network: p.network("network"),
		Verdict: p.text("verdict"), State: p.text("state"), From: p.time("from"), To: p.time("to"), Cursor: p.text("cursor"),
	}
	q.Limit, _ = p.number("limit", mostRows)
	if n, ok := p.number("slot", 1000); ok {
		q.Slot = &n
	}
	if p.err != nil {
		return q, p.err
	}
	return q, q.check()
}

// Values returns the parameters that ParseQuery reads.
func (q Query) Values() url.Values {
	v := make(url.Values)
	for field, s := range map[string]string{"id": q.ID, "domain": q.Domain, "address": q.Address, "verdict": q.Verdict, "state": q.State, "cursor": q.Cursor} {
		if s != "" {
			v.Set(field, s)
		}
	}
	if q.Network.IsValid() {
		v.Set("network", q.Network.String())
	}
	if q.Slot != nil {
		v.Set("slot", strconv.Itoa(*q.Slot))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	setTimes(v, q.From, q.To)
	return v
}

func setTimes(v url.Values, from, to time.Time) {
	if !from.IsZero() {
		v.Set("from", from.UTC().Format(time.RFC3339Nano))
	}
	if !to.IsZero() {
		v.Set("to", to.UTC().Format(time.RFC3339Nano))
	}
}

func (q Query) check() error {
	if q.Verdict != "" && !slices.Contains(append(policyinfer.Names(), policyinfer.Mixed, policyinfer.Undetermined), policyinfer.Name(q.Verdict)) {
		return &InvalidError{"verdict", q.Verdict, "is no verdict; docs/verdicts.md lists them"}
	}
	states := []string{"", StateOpen, StateOver, history.StateRunning, history.StateConcluded, history.StateAcked, history.StateClosed}
	if !slices.Contains(states, q.State) {
		return &InvalidError{"state", q.State, "want one of " + strings.Join(states[1:], ", ")}
	}
	if q.Address != "" && !strings.Contains(q.Address, "@") && q.Address != "<>" {
		return &InvalidError{"address", q.Address, "want local-part@domain; domain searches a whole domain"}
	}
	if strings.ContainsAny(q.Domain, "@ ") {
		return &InvalidError{"domain", q.Domain, "want a domain such as example.org"}
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return &InvalidError{"to", q.To.UTC().Format(time.RFC3339), "lies before from"}
	}
	return nil
}

// search is the query for the history.
func (q Query) search() history.TestSearch {
	s := history.TestSearch{
		Sender: q.Address, Network: q.Network, Policy: q.Verdict, From: q.From, To: q.To, Slot: q.Slot, Cursor: q.Cursor, Limit: limit(q.Limit),
	}
	if q.Domain != "" {
		s.Domains = spellings(q.Domain)
	}
	switch q.State {
	case "":
	case StateOpen:
		s.States = []string{history.StateRunning, history.StateConcluded}
	case StateOver:
		s.States = []string{history.StateAcked, history.StateClosed}
	default:
		s.States = []string{q.State}
	}
	return s
}

func limit(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return min(n, mostRows)
}

// spellings are the forms in which senders may write a domain.
func spellings(domain string) []string {
	out := []string{strings.ToLower(strings.Trim(domain, "."))}
	for _, f := range []func(string) (string, error){idna.Lookup.ToASCII, idna.Lookup.ToUnicode} {
		if s, err := f(out[0]); err == nil && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// ParseConnectionQuery reads a query from parameters: from, to, network,
// unattached, cursor and limit; see ParseQuery.
func ParseConnectionQuery(v url.Values, now time.Time) (ConnectionQuery, error) {
	p := parser{values: v, now: now}
	q := ConnectionQuery{From: p.time("from"), To: p.time("to"), Network: p.network("network"), Cursor: p.text("cursor")}
	q.Limit, _ = p.number("limit", mostRows)
	if s := p.text("unattached"); s != "" {
		b, err := strconv.ParseBool(s)
		if err != nil {
			p.wrong("unattached", s, "want true or false")
		}
		q.Unattached = b
	}
	return q, p.err
}

// Values returns the parameters that ParseConnectionQuery reads.
func (q ConnectionQuery) Values() url.Values {
	v := make(url.Values)
	if q.Network.IsValid() {
		v.Set("network", q.Network.String())
	}
	if q.Unattached {
		v.Set("unattached", "true")
	}
	if q.Cursor != "" {
		v.Set("cursor", q.Cursor)
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	setTimes(v, q.From, q.To)
	return v
}
