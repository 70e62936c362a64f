package doctor

import (
	"context"
	"fmt"
	"slices"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/scenario"
)

// zone: what our own name server says verifies.
func (x *exam) zone(ctx context.Context) {
	if x.Own == nil {
		x.cannot(x.Zone, "neither our name server nor a resolver can be asked here")
		return
	}
	if status, why := x.verify(ctx, x.Own); status != OK {
		x.failed(status, "own zone: "+why)
		return
	}
	x.ok(x.Zone, "what senders rely on verifies")
}

// verify looks up what senders rely on, and returns the first fault.
func (x *exam) verify(ctx context.Context, r Resolver) (Status, string) {
	var questions []question
	absent := make(map[question]bool)
	for slot := range x.Slots {
		n := scenario.Names(x.Zone, slot)
		none := question{n.TLSA(scenario.UT), dns.TypeTLSA}
		absent[none] = true
		questions = append(questions, question{n.ET, dns.TypeMX}, none, question{n.UT, dns.TypeMX})
		for _, h := range scenario.MXHosts() {
			questions = append(questions, question{n.TLSA(h), dns.TypeTLSA})
		}
	}
	ahead(ctx, r, questions)
	for _, q := range questions {
		a, err := r.Lookup(ctx, q.name, q.qtype)
		what := q.name + " " + dns.TypeToString[q.qtype]
		switch {
		case err != nil:
			return Cannot, what + ": " + plain(err)
		case a.Status == dnssec.Insecure:
			return Wrong, what + " is insecure: nothing proves it, so that DANE is not used: " + a.Why
		case a.Status != dnssec.Secure:
			return Wrong, what + " is " + string(a.Status) + ": resolvers refuse it: " + a.Why
		case !absent[q] && len(a.RRs) == 0:
			return Wrong, what + ": there is none"
		}
	}
	return OK, ""
}

// ut must publish nothing that protects.
func (x *exam) ut(ctx context.Context) {
	if x.Own == nil {
		x.cannot(x.Zone, "neither our name server nor a resolver can be asked here")
		return
	}
	var all [][]question
	for slot := range x.Slots {
		n := scenario.Names(x.Zone, slot)
		all = append(all, []question{{n.TLSA(scenario.UT), dns.TypeTLSA}, {"_mta-sts." + n.UT, dns.TypeTXT}, {"mta-sts." + n.UT, dns.TypeA}, {"mta-sts." + n.UT, dns.TypeAAAA}})
	}
	ahead(ctx, x.Own, slices.Concat(all...))
	for slot, questions := range all {
		x.nothingAt(ctx, scenario.Names(x.Zone, slot).UT, questions)
	}
}

// nothingAt makes sure that nothing is published at some names of ut.
func (x *exam) nothingAt(ctx context.Context, ut string, questions []question) {
	for _, none := range questions {
		a, err := x.Own.Lookup(ctx, none.name, none.qtype)
		switch {
		case err != nil:
			x.cannot(ut, none.name+": "+plain(err))
			return
		case len(a.RRs) == 0 && a.Status != dnssec.Secure:
			x.cannot(ut, "nothing proves that "+none.name+" has no "+dns.TypeToString[none.qtype]+" records: "+a.Why)
			return
		case len(a.RRs) > 0:
			x.wrong(ut, fmt.Sprintf("%s has %d %s records; want none", none.name, len(a.RRs), dns.TypeToString[none.qtype]), "")
			return
		}
	}
	x.ok(ut, "it publishes neither TLSA records nor an MTA-STS policy")
}
