package inbound

import (
	"cmp"
	"context"
	"slices"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
)

// route looks up the MX hosts of the domain (RFC 5321 §5.1). It reports whether
// the domain does not exist.
func (r *run) route(ctx context.Context) (missing bool) {
	out := &r.out
	a, set := r.lookup(ctx, out.Domain, dns.TypeMX)
	out.MX = set
	alias := ""
	if name := bare(a.CanonicalName); name != out.Domain {
		out.Canonical = clean(name)
		alias = " (it is an alias of " + out.Canonical + ")"
	}
	switch {
	case set.Status == dnssec.Error:
		out.Route, out.Why = RouteUnknown, "the MX records could not be looked up: "+set.Why
		return false
	case set.Status == dnssec.Bogus:
		// A sender that validates can't find out where mail goes, and keeps it.
		out.Route, out.Why = RouteUnknown, "the MX records are bogus: "+set.Why
		return false
	case a.Rcode == dns.RcodeNameError:
		out.Route, out.Why = RouteNone, "the domain does not exist"+alias
		return true
	}
	mx, null := exchangers(a.RRs)
	switch {
	case len(mx) > 0:
		out.Route = RouteMX
	case null:
		out.Route, out.Why = RouteNull, "a null MX record says that the domain takes no mail (RFC 7505)"+alias
		return false
	default:
		out.Route = RouteImplicit
		mx = []*dns.MX{{Mx: out.Domain}}
	}
	if null {
		r.fault(FaultNullMixed, out.Domain, "a null MX record stands beside others, which RFC 7505 §3 forbids: senders differ in what they make of it")
	}
	if over := len(mx) - r.a.opts.MaxHosts; over > 0 {
		mx = mx[:r.a.opts.MaxHosts]
		r.leaveOut("%d more MX hosts were not looked at, only the %d most preferred", over, len(mx))
	}
	for _, m := range mx {
		out.Hosts = append(out.Hosts, Host{Name: clean(bare(m.Mx)), Preference: m.Preference})
	}
	r.places = make([]place, len(out.Hosts))
	return false
}

// exchangers returns the hosts of an MX RRset, the most preferred first, each
// once, and whether there is a null MX.
func exchangers(rrs []dns.RR) (mx []*dns.MX, null bool) {
	for _, rr := range rrs {
		m, ok := rr.(*dns.MX)
		switch {
		case !ok:
		case m.Mx == ".":
			null = true
		default:
			mx = append(mx, m)
		}
	}
	// Name servers shuffle: equal preferences are in the order of names.
	slices.SortFunc(mx, func(a, b *dns.MX) int {
		return cmp.Or(cmp.Compare(a.Preference, b.Preference), cmp.Compare(bare(a.Mx), bare(b.Mx)))
	})
	seen := make(map[string]bool, len(mx))
	mx = slices.DeleteFunc(mx, func(m *dns.MX) bool {
		again := seen[bare(m.Mx)]
		seen[bare(m.Mx)] = true
		return again
	})
	return mx, null
}

// settle says what the addresses of the hosts mean for the route.
func (r *run) settle() {
	for i := range r.out.Hosts {
		h := &r.out.Hosts[i]
		if r.out.Route == RouteMX && h.Canonical != "" {
			r.fault(FaultAlias, h.Name, "the MX host is an alias of %s, and RFC 2181 §10.3 forbids that: some senders refuse it", h.Canonical)
		}
		if len(r.places[i].addresses) > 0 {
			continue
		}
		unknown := uncertain(h.A) || uncertain(h.AAAA)
		switch {
		case r.out.Route == RouteMX && !unknown && h.A.Status != "":
			r.fault(FaultNoAddress, h.Name, "the MX host has no address")
		case r.out.Route != RouteImplicit:
		case unknown:
			r.out.Route, r.out.Why = RouteUnknown, "there are no MX records, and the addresses of the domain could not be looked up: "+cmp.Or(h.A.Why, h.AAAA.Why)
		default:
			r.out.Route, r.out.Why = RouteNone, "the domain has neither MX records nor an address"
		}
	}
	if r.out.Route == RouteNone || r.out.Route == RouteUnknown {
		r.out.Hosts, r.places = nil, nil
	}
}

// uncertain reports whether an RRset may have more than was found.
func uncertain(s RRset) bool { return s.Status == dnssec.Error || s.Status == dnssec.Bogus }
