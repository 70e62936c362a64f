package inbound

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/tlspolicy"
)

// place is what an analysis needs of a host and does not show.
type place struct {
	addresses []netip.Addr
	base      string      // TLSA base domain
	tlsa      []*dns.TLSA // found there, if they are secure and one is usable
}

// locate looks up the addresses of a host and its TLSA records.
func (r *run) locate(ctx context.Context, i int) {
	h, p := &r.out.Hosts[i], &r.places[i]
	if id, text := hostFault(h.Name); id != "" {
		r.fault(id, h.Name, "%s", text)
		return
	}
	a, setA := r.lookup(ctx, h.Name, dns.TypeA)
	b, setB := r.lookup(ctx, h.Name, dns.TypeAAAA)
	h.A, h.AAAA = setA, setB
	canonical := h.Name
	for _, answer := range []dnssec.Answer{b, a} { // both lead to the same name
		if name := bare(answer.CanonicalName); name != h.Name {
			canonical = name
			h.Canonical = clean(name)
		}
	}
	p.addresses = addresses(append(a.RRs, b.RRs...))
	if over := len(p.addresses) - maxAddresses; over > 0 {
		p.addresses = p.addresses[:maxAddresses]
		r.leaveOut("%d more addresses of %s were not looked at, only %d", over, h.Name, maxAddresses)
	}
	if len(p.addresses) == 0 {
		if uncertain(setA) || uncertain(setB) {
			h.DANE = check.Skip("its addresses could not be looked up: " + cmp.Or(setA.Why, setB.Why))
		}
		return
	}
	bases, obstacle := r.bases(ctx, h, canonical)
	base, records := r.tlsa(ctx, h, bases)
	h.DANE = daneAt(r.out.MX, obstacle, h.TLSA, h.Records)
	if h.TLSA.Status == dnssec.Secure && slices.ContainsFunc(h.Records, TLSARecord.usable) {
		p.base, p.tlsa = base, records
	}
}

func (t TLSARecord) usable() bool { return t.Usable }

// addresses returns the addresses of records, each once, IPv4 first, in order:
// name servers shuffle.
func addresses(rrs []dns.RR) []netip.Addr {
	var out []netip.Addr
	for _, rr := range rrs {
		var addr netip.Addr
		ok := false
		switch rr := rr.(type) {
		case *dns.A:
			addr, ok = netip.AddrFromSlice(rr.A.To4())
		case *dns.AAAA:
			addr, ok = netip.AddrFromSlice(rr.AAAA.To16())
		}
		if ok {
			out = append(out, addr)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// bases returns the TLSA base domains of a host in the order in which senders
// ask (RFC 7672 §2.2.2), and why senders do not ask, if they do not.
func (r *run) bases(ctx context.Context, h *Host, canonical string) (names []string, obstacle check.Result) {
	weakest := check.Result{}
	if h.A.CountsBeside(h.AAAA) {
		weakest = proven("its addresses", h.A)
	}
	if h.AAAA.CountsBeside(h.A) {
		weakest = check.Worst(weakest, proven("its addresses", h.AAAA))
	}
	bogus := h.A.Status == dnssec.Bogus || h.AAAA.Status == dnssec.Bogus
	switch {
	case weakest.OK() && canonical != h.Name:
		return []string{canonical, h.Name}, weakest // the expanded name first
	case weakest.OK() || canonical == h.Name || bogus:
		return []string{h.Name}, weakest
	}
	// RFC 7672 §2.2.2: the alias itself may be secure where its target is not.
	if _, set := r.lookup(ctx, h.Name, dns.TypeCNAME); set.Status == dnssec.Secure || set.Status == dnssec.Error {
		alias := proven("its alias", set)
		for _, set := range []RRset{h.A, h.AAAA} {
			if set.Status == dnssec.Error {
				alias = check.Worst(alias, proven("its addresses", set))
			}
		}
		return []string{h.Name}, alias
	}
	return []string{h.Name}, weakest
}

// proven says whether DNSSEC proves an RRset; what names it.
func proven(what string, set RRset) check.Result {
	switch set.Status {
	case dnssec.Secure:
		return check.Pass()
	case dnssec.Error:
		return check.Skip(clean(what + " could not be looked up: " + set.Why))
	case dnssec.Bogus:
		return check.Fail(clean(what + " are bogus: " + set.Why))
	}
	return check.Fail(clean(what + " are not secure: " + set.Why))
}

// tlsa looks for TLSA records and describes what it finds. It returns the name
// that they belong to, and the records.
func (r *run) tlsa(ctx context.Context, h *Host, bases []string) (base string, records []*dns.TLSA) {
	for _, name := range bases {
		owner := "_25._tcp." + name
		if _, ok := dns.IsDomainName(owner); !ok {
			continue // too long to exist
		}
		a, set := r.lookup(ctx, owner, dns.TypeTLSA)
		var found []*dns.TLSA
		for _, rr := range a.RRs {
			if t, ok := rr.(*dns.TLSA); ok {
				found = append(found, t)
			}
		}
		// What senders would take wins; else what there is to say something about.
		end := uncertain(set) || set.Status == dnssec.Secure && len(found) > 0
		if end || h.TLSA.Status == "" || len(records) == 0 && len(found) > 0 {
			h.TLSA, base, records = set, name, found
		}
		if end {
			break
		}
	}
	if len(records) > 0 {
		h.TLSAName = clean(base)
	}
	h.Records = r.describe(h.Name, records)
	return base, records
}

const (
	maxTLSA     = 64
	maxTLSAData = 128 // hexadecimal digits: a whole SHA2-512 digest
)

func (r *run) describe(host string, records []*dns.TLSA) []TLSARecord {
	var out []TLSARecord
	unusable := tlspolicy.Unusable(records)
	for i, t := range records {
		if i == maxTLSA {
			r.leaveOut("%d more TLSA records of %s were not looked at, only %d", len(records)-maxTLSA, host, maxTLSA)
			break
		}
		d := TLSARecord{
			Usage: t.Usage, Selector: t.Selector, MatchingType: t.MatchingType,
			Data: shorten(t.Certificate, maxTLSAData), Usable: unusable[i] == nil,
		}
		if unusable[i] != nil {
			d.Why = clean(unusable[i].Error())
		}
		out = append(out, d)
	}
	return out
}

// daneAt says whether senders have DANE at a host. What is certain comes
// before what could not be tested: a sender stops at the first obstacle.
func daneAt(mx RRset, addresses check.Result, tlsa RRset, records []TLSARecord) check.Result {
	published, usable := proven("its TLSA records", tlsa), check.Result{}
	switch {
	case uncertain(tlsa):
	case len(records) == 0:
		published = check.Fail("it has no TLSA records")
	case !slices.ContainsFunc(records, TLSARecord.usable):
		usable = check.Fail("no TLSA record is usable: senders encrypt, and check no certificate (RFC 7672 §2.2)")
	}
	return check.Worst(proven("the MX records", mx), addresses, published, usable)
}
