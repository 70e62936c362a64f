package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/dmarc"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	networks "github.com/tlsink/tlsink/inbound/network"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/rating"
	"github.com/tlsink/tlsink/statistics"
)

// openStatistics makes s.statistics, if they are wanted.
func (s *service) openStatistics(ctx context.Context) (err error) {
	c := s.cfg.Statistics
	if !c.Enabled {
		return nil
	}
	o := statistics.Options{
		Zone: s.cfg.Zone, State: historyValues{s.store}, Rand: rand.Reader, Now: time.Now, Logger: s.log.With("part", "statistics"),
	}
	for _, p := range c.Providers {
		o.Providers = append(o.Providers, statistics.Provider{Name: p.Name, Domain: strings.ToLower(strings.TrimSuffix(p.Domain, "."))})
	}
	source := &endedTests{service: s, providers: o.Providers}
	if source.networks, err = config.OpenNetworks(s.cfg.Inbound.Networks); err != nil {
		return err
	}
	o.Source = source
	s.statistics, err = statistics.New(ctx, o)
	return err
}

// statisticsPages answers below /statistics; nil without statistics.
func (s *service) statisticsPages() http.Handler {
	if s.statistics == nil {
		return nil
	}
	return s.statistics.Handler()
}

// historyValues are values in the history.
type historyValues struct{ *history.Store }

// Value implements statistics.State.
func (v historyValues) Value(key string) ([]byte, bool, error) {
	b, err := v.Store.Value(key)
	if errors.Is(err, history.ErrNotFound) {
		return nil, false, nil
	}
	return b, err == nil, err
}

// endedTests are the tests as the statistics see them.
type endedTests struct {
	service   *service
	providers []statistics.Provider
	networks  networks.Lookup // nil: countries are not known

	month  map[string][]history.TestRecord // of the sweep under way: tests by sender
	loaded string                          // month that it holds
}

var _ statistics.Source = (*endedTests)(nil)

const (
	statisticsMargin = 24 * time.Hour // a test may be written with an earlier beginning than another one
	statisticsTests  = 100_000        // looked at in one sweep
	statisticsLookup = 10 * time.Second
)

// Ended implements statistics.Source. A test has ended for good once its verdict
// can't be taken back, and its analysis has had its time.
func (e *endedTests) Ended(ctx context.Context, since time.Time) ([]statistics.Ended, time.Time, error) {
	e.month, e.loaded = nil, ""
	now := time.Now()
	mark := now
	list, err := e.service.store.Tests(ctx, history.TestFilter{Since: since, Limit: statisticsTests})
	if err != nil {
		return nil, since, err
	}
	var out []statistics.Ended
	for _, r := range list {
		if e.ended(r, now) {
			out = append(out, statistics.Ended{ID: r.Test.ID, Opened: r.Opened})
		} else if r.Opened.Before(mark) {
			mark = r.Opened
		}
	}
	return out, mark.Add(-statisticsMargin), nil
}

func (e *endedTests) ended(r history.TestRecord, now time.Time) bool {
	at := r.Concluded
	if at.IsZero() {
		if r.Open() {
			return false
		}
		at = r.Closed
	}
	check := e.service.check.current()
	patience := max(analysisPatience, 6*e.service.cfg.AssessTiming().Settle)
	return now.Sub(at) >= patience && check.fault.Broken == "" && check.at.After(at)
}

// Describe implements statistics.Source.
func (e *endedTests) Describe(ctx context.Context, id string) (statistics.Test, bool, error) {
	r, err := e.service.store.Test(id)
	if errors.Is(err, history.ErrNotFound) {
		return statistics.Test{}, false, nil
	}
	if err != nil {
		return statistics.Test{}, false, err
	}
	v := policyinfer.Verdict{Policy: policyinfer.Undetermined}
	if json.Unmarshal(r.Verdict, &v) != nil {
		v = policyinfer.Verdict{Policy: policyinfer.Undetermined}
	}
	t := statistics.Test{Verdict: string(v.Policy), Conclusive: v.Conclusive, Engine: cmp.Or(r.Engine, policyinfer.EngineVersion)}
	if r.ReportTo == "" {
		return t, true, nil // whoever that was
	}
	if t.First, err = e.first(ctx, r); err != nil || !t.First {
		return t, true, err
	}
	h, err := e.service.store.History(id)
	if err != nil {
		return t, true, err
	}
	lookup, cancel := context.WithTimeout(ctx, statisticsLookup)
	defer cancel()
	t.Country = e.country(lookup, r)
	e.describeProvider(lookup, &t, r, h)
	return t, true, ctx.Err()
}

// first reports whether no other test of the sender in the month came before r.
func (e *endedTests) first(ctx context.Context, r history.TestRecord) (bool, error) {
	at := r.Opened.UTC()
	if name := at.Format("2006-01"); name != e.loaded {
		from := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		list, err := e.service.store.Tests(ctx, history.TestFilter{Since: from, Limit: statisticsTests})
		if err != nil {
			return false, err
		}
		e.month, e.loaded = make(map[string][]history.TestRecord), name
		for _, o := range list {
			if o.ReportTo != "" && o.Opened.UTC().Format("2006-01") == name {
				key := senderKey(o.ReportTo)
				e.month[key] = append(e.month[key], history.TestRecord{Test: evidence.Test{ID: o.Test.ID}, Opened: o.Opened})
			}
		}
	}
	return !slices.ContainsFunc(e.month[senderKey(r.ReportTo)], func(o history.TestRecord) bool {
		return o.Opened.Before(r.Opened) || o.Opened.Equal(r.Opened) && o.Test.ID < r.Test.ID
	}), nil
}

// senderKey is the same for the addresses that providers give to one person
// besides the first one: user+anything@domain.
func senderKey(address string) string {
	address = strings.ToLower(address)
	at := max(0, strings.LastIndexByte(address, '@'))
	local, _, _ := strings.Cut(address[:at], "+")
	return local + address[at:]
}

// country is that of the network that the mail came from.
func (e *endedTests) country(ctx context.Context, r history.TestRecord) string {
	if e.networks == nil || len(r.Test.SenderIPs) == 0 {
		return ""
	}
	ip, err := netip.ParseAddr(r.Test.SenderIPs[0])
	if err != nil {
		return ""
	}
	info, err := e.networks.Network(ctx, ip)
	if err != nil {
		return ""
	}
	return info.Country
}

// describeProvider adds what the domain of the sender tells. What cannot be
// looked up stays unknown: numbers are not worth a second attempt.
func (e *endedTests) describeProvider(ctx context.Context, t *statistics.Test, r history.TestRecord, h evidence.History) {
	hosts, colour := e.analysed(r, h)
	if hosts == nil {
		domain := r.ReportTo[strings.LastIndexByte(r.ReportTo, '@')+1:]
		if list, err := (dnssec.Lookups{Resolver: e.service.network.resolver}).LookupMX(ctx, domain); err == nil {
			slices.SortStableFunc(list, func(a, b *net.MX) int { return cmp.Compare(a.Pref, b.Pref) })
			for _, mx := range list {
				hosts = append(hosts, mx.Host)
			}
		}
	}
	if len(hosts) == 0 {
		return
	}
	t.Provider, t.Inbound = providerDomain(hosts[0]), colour
	if slices.ContainsFunc(e.providers, func(p statistics.Provider) bool { return p.Domain == t.Provider }) {
		t.Own = e.own(ctx, t.Provider, h)
	}
}

// analysed returns the MX hosts of the analysis that was stored with a test, the
// most preferred first, and its colour; nil if there is none.
func (e *endedTests) analysed(r history.TestRecord, h evidence.History) ([]string, statistics.Colour) {
	b, err := e.service.store.Analysis(r.Test.ID)
	var kept keptAnalysis
	if err != nil || json.Unmarshal(b, &kept) != nil || kept.Missing != "" || len(kept.Analysis.Hosts) == 0 {
		return nil, ""
	}
	var hosts []string
	for _, one := range kept.Analysis.Hosts {
		hosts = append(hosts, one.Name)
	}
	return hosts, statistics.Colour(rating.Rate(kept.Analysis, rating.OutboundOf(h)).Class)
}

// own reports whether every mail of a test came from a host of its provider: one
// whose EHLO name is below the provider's domain and has the client's address.
// Whose MX records point to a provider does not have to send through it.
func (e *endedTests) own(ctx context.Context, provider string, h evidence.History) bool {
	asked := make(map[string]bool)
	for _, c := range h.Connections {
		if len(c.Transactions) == 0 {
			continue
		}
		client, err := netip.ParseAddrPort(c.Client)
		if err != nil || len(c.Helo) == 0 {
			return false
		}
		name := c.Helo[len(c.Helo)-1]
		key := name + " " + client.Addr().String()
		if asked[key] {
			continue
		}
		if providerDomain(name) != provider || len(asked) >= 20 {
			return false
		}
		list, err := (dnssec.Lookups{Resolver: e.service.network.resolver}).LookupIPAddr(ctx, name)
		if err != nil || !slices.ContainsFunc(list, func(a net.IPAddr) bool {
			ip, ok := netip.AddrFromSlice(a.IP)
			return ok && ip.Unmap() == client.Addr().Unmap()
		}) {
			return false
		}
		asked[key] = true
	}
	return len(asked) > 0
}

// providerDomain returns the registrable domain of a host; empty for what is no
// host name.
func providerDomain(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if len(host) > 253 || !strings.Contains(host, ".") || strings.ContainsFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.'
	}) {
		return ""
	}
	return dmarc.Organizational(host)
}
