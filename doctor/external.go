package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/scenario"
)

// The checks of a zone that another server has and signs: which name servers it
// has, and which keys, is not ours to say.

// either takes the second of two checks for such a zone.
func either(own, elsewhere func(*exam, context.Context)) func(*exam, context.Context) {
	return func(x *exam, ctx context.Context) {
		if x.External {
			elsewhere(x, ctx)
		} else {
			own(x, ctx)
		}
	}
}

// nsOf returns the names of the name servers of our zone, sorted.
func (x *exam) nsOf(rrs []dns.RR) (out []string) {
	for _, rr := range rrs {
		if ns, ok := rr.(*dns.NS); ok && scenario.Canonical(ns.Hdr.Name) == x.Zone {
			out = append(out, scenario.Canonical(ns.Ns))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (x *exam) delegationElsewhere(ctx context.Context) {
	zone, servers, err := x.parent(ctx)
	if zone != "." {
		zone = scenario.Canonical(zone)
	}
	if err != nil {
		x.cannot(x.Zone, "the parent zone could not be asked: "+err.Error())
		return
	}
	var lost error
	for _, s := range servers {
		m, err := x.ask(ctx, s.addr, x.Zone, dns.TypeNS)
		if err != nil {
			lost = err
			continue
		}
		if problem := x.referralElsewhere(ctx, m); problem != "" {
			x.wrong(x.Zone, s.name+" (name server of "+zone+") says: "+problem, x.publish())
			return
		}
	}
	if len(x.elsewhere) == 0 {
		x.cannot(x.Zone, fmt.Sprintf("no name server of the parent zone %s answers (is DNS to the Internet blocked here?): %v", zone, lost))
		return
	}
	x.ok(x.Zone, "%s delegates it to %s", zone, strings.Join(x.elsewhere, ", "))
}

// referralElsewhere says what is wrong with the answer of a name server of the
// parent, and remembers which name servers it names.
func (x *exam) referralElsewhere(ctx context.Context, m *dns.Msg) string {
	got := x.nsOf(slices.Concat(m.Answer, m.Ns))
	switch {
	case m.Rcode == dns.RcodeNameError:
		return "there is no " + x.Zone + ": the zone is not delegated, or its name is misspelt"
	case m.Rcode != dns.RcodeSuccess:
		return dns.RcodeToString[m.Rcode]
	case len(got) == 0:
		return "no NS records for " + x.Zone + ": the zone is not delegated"
	}
	x.elsewhere = got
	for _, name := range got {
		if dns.IsSubDomain(dns.Fqdn(x.Zone), dns.Fqdn(name)) && len(addressesIn(m.Extra, name)) == 0 && len(m.Answer) == 0 {
			return "no glue (address) for " + name
		}
	}
	a, err := x.World.Lookup(ctx, x.Zone, dns.TypeNS)
	if child := x.nsOf(a.RRs); err == nil && len(child) > 0 && !slices.Equal(child, got) {
		return fmt.Sprintf("name servers %s; the zone itself names %s", strings.Join(got, ", "), strings.Join(child, ", "))
	}
	return ""
}

func (x *exam) nameServersElsewhere(ctx context.Context) {
	x.check.fix = "Ask whoever runs the name server; or take it out of the NS records of the zone and of its parent."
	serials, wrong := x.serials(ctx, true)
	if wrong {
		return
	}
	if !agree(serials) {
		select { // a change may be on its way
		case <-ctx.Done():
		case <-time.After(x.Again):
		}
		if serials, wrong = x.serials(ctx, false); !wrong && !agree(serials) {
			x.wrong(x.Zone, "the name servers have different versions: "+versions(serials), "Every change must reach every name server within seconds: see their transfers (NOTIFY, AXFR).")
			return
		}
	}
	x.ok(x.Zone, "all answer authoritatively with the same version: %s", versions(serials))
}

// dsElsewhere compares the DS records with the keys, which not every provider
// tells: then a chain that holds says the same.
func (x *exam) dsElsewhere(ctx context.Context) {
	if len(x.DS) > 0 {
		x.ds(ctx)
		return
	}
	a, ok := x.world(ctx, x.Zone, dns.TypeDS)
	if !ok {
		return
	}
	if len(a.RRs) == 0 {
		x.wrong(x.Zone, "there is no DS record at the parent: for the world the zone is unsigned, and no sender uses DANE", x.publish())
		return
	}
	keys, err := x.World.Lookup(ctx, x.Zone, dns.TypeDNSKEY)
	switch {
	case err != nil:
		x.cannot(x.Zone, "the keys of the zone: "+err.Error())
	case keys.Status != dnssec.Secure:
		x.wrong(x.Zone, "the DS records at the parent do not lead to the keys of the zone: "+keys.Why, x.publish())
	default:
		x.ok(x.Zone, "the DS records at the parent lead to the keys of the zone")
	}
}

func (x *exam) zoneElsewhere(ctx context.Context) {
	x.check.fix = "See whether `provider`, `delegation`, `name-servers` and `ds` are ok, and then the log of the server that signs the zone."
	x.zone(ctx)
}

// unasked is what is known of the provider without the service.
const unasked = "only the running service knows"

// provider tells what the service knows of dns.provider.
func (x *exam) provider(context.Context) {
	switch {
	case !x.External:
	case x.Provider == nil:
		x.cannot(x.Zone, unasked)
	default:
		if err := x.Provider(); err != nil {
			x.wrong(x.Zone, err.Error(), "")
			return
		}
		x.ok(x.Zone, "it has our records")
	}
}

// foreign tells what somebody else changed at dns.provider.
func (x *exam) foreign(context.Context) {
	switch {
	case !x.External:
	case x.Foreign == nil:
		x.cannot(x.Zone, unasked)
	default:
		if err := x.Foreign(); err != nil {
			x.wrong(x.Zone, err.Error(), "")
			return
		}
		x.ok(x.Zone, "nobody else changed what belongs to the sink")
	}
}
