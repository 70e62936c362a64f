package dnssec

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/miekg/dns"
)

const maxProofs = 32 // NSEC and NSEC3 records looked at per response

// proofs are the signed denial records of one response.
type proofs struct {
	zone  string
	nsec  []*dns.NSEC
	nsec3 []*dns.NSEC3
	hash  nsec3Hash
	weak  string // why valid NSEC3 records are not worth anything
	why   string // why records were left out
}

// negative judges a response that has no records for the name.
func (l *lookup) negative(m *dns.Msg, name string, qtype uint16) (step, error) {
	var sigs []*dns.RRSIG
	for _, rr := range m.Ns {
		if sig, ok := rr.(*dns.RRSIG); ok && slices.Contains([]uint16{dns.TypeNSEC, dns.TypeNSEC3, dns.TypeSOA}, sig.TypeCovered) {
			sigs = append(sigs, sig)
		}
	}
	signer := l.signer(sigs, name, qtype)
	z, status, why, err := l.zone(target(signer, name, qtype))
	if err != nil {
		return step{}, err
	}
	if status == Insecure {
		return step{rcode: m.Rcode, status: status, why: why}, nil
	}
	if signer == "" {
		return step{}, bogus("no proof that %s %s does not exist, and zone %s is signed", name, typeName(qtype), z.name)
	}
	p, err := l.proofs(z, m.Ns)
	if err != nil {
		return step{}, err
	}
	s, err := p.denies(name, qtype)
	if err == nil && s.status == Insecure {
		s.rcode = m.Rcode // not proven
	}
	return s, err
}

// proofs collects the denial records of a section that the zone has signed.
func (l *lookup) proofs(z zone, section []dns.RR) (*proofs, error) {
	p := &proofs{zone: z.name, why: "the response has no NSEC or NSEC3 records"}
	seen := 0
	for _, rr := range section {
		t := rr.Header().Rrtype
		if t != dns.TypeNSEC && t != dns.TypeNSEC3 {
			continue
		}
		if seen++; seen > maxProofs {
			return nil, bogus("more than %d NSEC or NSEC3 records in one response", maxProofs)
		}
		owner := dns.CanonicalName(rr.Header().Name)
		sig, err := l.verify(z, []dns.RR{rr}, signatures(section, owner, t))
		if err != nil {
			p.why = err.Error()
			continue
		}
		if expanded(owner, sig) { // RFC 4035 §5.3.4: a denial is never made from a wildcard
			p.why = fmt.Sprintf("%s of %s comes from a wildcard", typeName(t), owner)
			continue
		}
		switch rr := rr.(type) {
		case *dns.NSEC:
			p.nsec = append(p.nsec, rr)
		case *dns.NSEC3:
			p.addNSEC3(rr, owner, l.r.opts.MaxIterations)
		}
	}
	return p, nil
}

// worthless reports that all there is are NSEC3 records whose cost is refused.
func (p *proofs) worthless() bool { return p.weak != "" && len(p.nsec) == 0 && len(p.nsec3) == 0 }

// denies concludes that name has no records of the type (RFC 4035 §5.4).
func (p *proofs) denies(name string, qtype uint16) (step, error) {
	nodata := step{status: Secure, rcode: dns.RcodeSuccess}
	if p.worthless() {
		return step{status: Insecure, why: p.weak}, nil
	}
	if bitmap, ok := p.match(name); ok {
		return nodata, lacks(bitmap, name, qtype)
	}
	if len(p.nsec3) > 0 {
		return p.denies3(name, qtype)
	}
	cover := p.cover(name)
	if cover == nil {
		return step{}, bogus("nothing denies %s %s: %s", name, typeName(qtype), p.why)
	}
	if dns.IsSubDomain(name, dns.CanonicalName(cover.NextDomain)) {
		return nodata, nil // an empty non-terminal
	}
	wildcard := wildcardAt(enclosing(cover, name))
	if bitmap, ok := p.match(wildcard); ok {
		return nodata, lacks(bitmap, wildcard, qtype)
	}
	c := p.cover(wildcard)
	switch {
	case c == nil:
		return step{}, bogus("nothing denies the wildcard %s for %s: %s", wildcard, name, p.why)
	case dns.IsSubDomain(wildcard, dns.CanonicalName(c.NextDomain)):
		return nodata, nil
	}
	return step{status: Secure, rcode: dns.RcodeNameError}, nil
}

// lacks returns an error if a type bitmap says that the type exists, or if it
// is from the wrong side of a zone cut.
func lacks(bitmap []uint16, owner string, qtype uint16) error {
	apex := slices.Contains(bitmap, dns.TypeSOA)
	switch {
	case qtype == dns.TypeDS && apex && owner != ".":
		return bogus("the denial of %s DS is the child's, not the parent's", owner)
	case qtype != dns.TypeDS && slices.Contains(bitmap, dns.TypeNS) && !apex:
		// RFC 6840 §4.1: an NSEC from above the cut says nothing about the child.
		return bogus("the denial of %s %s is from above a zone cut", owner, typeName(qtype))
	case slices.Contains(bitmap, qtype) || slices.Contains(bitmap, dns.TypeCNAME):
		return bogus("%s %s exists, and the response leaves it out", owner, typeName(qtype))
	}
	return nil
}

// delegation concludes from denial records of a DS query what child is.
func (p *proofs) delegation(child string) (cut, error) {
	if p.worthless() {
		return cut{insecure: p.weak}, nil
	}
	if bitmap, ok := p.match(child); ok {
		if err := lacks(bitmap, child, dns.TypeDS); err != nil && !slices.Contains(bitmap, dns.TypeCNAME) {
			return cut{}, err
		}
		if slices.Contains(bitmap, dns.TypeNS) {
			return cut{insecure: fmt.Sprintf("%s is delegated without DS", child)}, nil
		}
		return cut{}, nil
	}
	if len(p.nsec3) > 0 {
		_, cover, err := p.encloser(child)
		if err != nil {
			return cut{}, err
		}
		if optOut(cover) {
			return cut{insecure: fmt.Sprintf("%s may be delegated without DS (opt-out)", child)}, nil
		}
		return cut{missing: true}, nil
	}
	cover := p.cover(child)
	if cover == nil {
		return cut{}, bogus("nothing says whether %s is delegated: %s", child, p.why)
	}
	return cut{missing: !dns.IsSubDomain(child, dns.CanonicalName(cover.NextDomain))}, nil
}

// wildcardAnswer concludes that owner may be answered from the wildcard whose
// parent has the given number of labels: no closer name exists.
func (p *proofs) wildcardAnswer(owner string, labels int) (Status, string, error) {
	if p.worthless() {
		return Insecure, p.weak, nil
	}
	if len(p.nsec3) > 0 {
		// RFC 5155 §8.8: the next closer name must be covered.
		cover := p.cover3(suffix(owner, labels+1))
		switch {
		case cover == nil:
			return "", "", bogus("%s is answered from a wildcard, and nothing denies a closer name: %s", owner, p.why)
		case optOut(cover):
			return Insecure, fmt.Sprintf("%s is answered from a wildcard, and a closer name may be delegated without DS (opt-out)", owner), nil
		}
		return Secure, "", nil
	}
	cover := p.cover(owner)
	if cover == nil || dns.CountLabel(enclosing(cover, owner)) != labels {
		return "", "", bogus("%s is answered from a wildcard, and nothing denies a closer name: %s", owner, p.why)
	}
	return Secure, "", nil
}

// match returns the type bitmap of the NSEC or NSEC3 record at name.
func (p *proofs) match(name string) ([]uint16, bool) {
	for _, n := range p.nsec {
		if dns.CanonicalName(n.Hdr.Name) == name {
			return n.TypeBitMap, true
		}
	}
	if n := p.match3(name); n != nil {
		return n.TypeBitMap, true
	}
	return nil, false
}

// cover returns an NSEC record that proves that name is not an owner name.
func (p *proofs) cover(name string) *dns.NSEC {
	if !dns.IsSubDomain(p.zone, name) {
		return nil
	}
	for _, n := range p.nsec {
		owner, next := dns.CanonicalName(n.Hdr.Name), dns.CanonicalName(n.NextDomain)
		if dns.IsSubDomain(owner, name) && notBelow(n.TypeBitMap) {
			continue
		}
		after, before := compare(owner, name) < 0, compare(name, next) < 0
		if after && (before || compare(next, owner) <= 0) { // the last one points back to the apex
			return n
		}
	}
	return nil
}

// notBelow reports that a bitmap is of a delegation or DNAME: RFC 6840 §4.1:
// it says nothing about names below.
func notBelow(bitmap []uint16) bool {
	return slices.Contains(bitmap, dns.TypeDNAME) ||
		slices.Contains(bitmap, dns.TypeNS) && !slices.Contains(bitmap, dns.TypeSOA)
}

// enclosing returns the closest existing ancestor of a name that is covered.
func enclosing(n *dns.NSEC, name string) string {
	labels := max(dns.CompareDomainName(n.Hdr.Name, name), dns.CompareDomainName(n.NextDomain, name))
	return suffix(name, labels)
}

func wildcardAt(encloser string) string {
	if encloser == "." {
		return "*."
	}
	return "*." + encloser
}

// compare orders names canonically (RFC 4034 §6.1). Names that can't be packed
// sort first; they never come from a message.
func compare(a, b string) int {
	return slices.CompareFunc(labels(a), labels(b), bytes.Compare)
}

// labels returns the labels of a lower-case name as octets, the last one first.
func labels(name string) [][]byte {
	wire := make([]byte, 256)
	n, err := dns.PackDomainName(name, wire, 0, nil, false)
	if err != nil {
		return nil
	}
	var out [][]byte
	for i := 0; i < n && wire[i] != 0; i += int(wire[i]) + 1 {
		out = append(out, bytes.ToLower(wire[i+1:i+1+int(wire[i])]))
	}
	slices.Reverse(out)
	return out
}
