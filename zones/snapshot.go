package zones

import (
	"maps"
	"slices"

	"github.com/miekg/dns"
)

// rrset is a signed RRset. Immutable.
type rrset struct {
	rrs    []dns.RR
	sig    *dns.RRSIG    // the first one; all are of the same time
	by     []*dns.DNSKEY // who signed, in order
	signed []dns.RR      // rrs and all signatures

	size, signedSize int // octets without compression
}

// with returns the records as answered to a query with or without the DO bit.
func (s *rrset) with(do bool) ([]dns.RR, int) {
	if do {
		return s.signed, s.signedSize
	}
	return s.rrs, s.size
}

// node is a name of the zone; an empty non-terminal has no RRsets.
type node struct {
	name string
	sets map[uint16]*rrset
	nsec *rrset // nil for an empty non-terminal
}

// snapshot is a signed zone. Immutable, so that any number of queries may read
// it while the next one is built.
type snapshot struct {
	apex  nameKey
	nodes map[nameKey]*node
	chain []nameKey // owners of NSEC records, in canonical order
	soa   *rrset
	keys  *keySet
}

// snapshot builds the signed form of c, which must include SOA and the records
// of the keys. It takes over from prev (which may be nil) every signature of an
// RRset that is still the same, if it is reusable.
func (s *signer) snapshot(c content, prev *snapshot) (*snapshot, error) {
	apex, err := keyOf(s.zone)
	if err != nil {
		return nil, err
	}
	snap := &snapshot{apex: apex, nodes: make(map[nameKey]*node, len(c)), keys: s.keys}
	for id, rrs := range c {
		n := snap.nodes[id.key]
		if n == nil {
			n = &node{name: rrs[0].Header().Name, sets: make(map[uint16]*rrset, 4)}
			snap.nodes[id.key] = n
			snap.chain = append(snap.chain, id.key)
		}
		set := prev.set(id.key, id.rrtype)
		if set == nil || &set.rrs[0] != &rrs[0] || len(set.rrs) != len(rrs) || !s.reusable(set) {
			if set, err = s.newSet(rrs); err != nil {
				return nil, err
			}
		}
		n.sets[id.rrtype] = set
	}
	slices.Sort(snap.chain)
	snap.soa = snap.nodes[apex].sets[dns.TypeSOA]
	if err := s.chain(snap, prev); err != nil {
		return nil, err
	}
	snap.addEmptyNonTerminals()
	return snap, nil
}

func (s *signer) newSet(rrs []dns.RR) (*rrset, error) {
	sigs, err := s.sign(rrs)
	if err != nil {
		return nil, err
	}
	set := &rrset{rrs: slices.Clip(rrs), sig: sigs[0], signed: slices.Clone(rrs)}
	for _, rr := range rrs {
		set.size += dns.Len(rr)
	}
	set.signedSize = set.size
	for i, key := range s.keys.signers(set.sig.TypeCovered) {
		set.by = append(set.by, key.dnskey)
		set.signed = append(set.signed, sigs[i])
		set.signedSize += dns.Len(sigs[i])
	}
	set.signed = slices.Clip(set.signed)
	return set, nil
}

// chain gives every name with records its NSEC record.
func (s *signer) chain(snap, prev *snapshot) (err error) {
	for i, key := range snap.chain {
		n := snap.nodes[key]
		next := snap.nodes[snap.chain[(i+1)%len(snap.chain)]].name
		types := append(slices.Collect(maps.Keys(n.sets)), dns.TypeRRSIG, dns.TypeNSEC)
		slices.Sort(types)
		if old := prev.nsec(key); old != nil {
			rr, ok := old.rrs[0].(*dns.NSEC)
			if ok && rr.NextDomain == next && slices.Equal(rr.TypeBitMap, types) && s.reusable(old) {
				n.nsec = old
				continue
			}
		}
		n.nsec, err = s.newSet([]dns.RR{&dns.NSEC{
			// RFC 9077 §3: the TTL of NSEC is the lesser of SOA TTL and minimum: the same here.
			Hdr:        dns.RR_Header{Name: n.name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: s.ttl},
			NextDomain: next,
			TypeBitMap: types,
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// all returns every record with its signatures: SOA first (RFC 5936 §2.2), then
// names in canonical order.
func (s *snapshot) all() []dns.RR {
	out := slices.Clone(s.soa.signed)
	for _, key := range s.chain {
		n := s.nodes[key]
		for _, rrtype := range slices.Sorted(maps.Keys(n.sets)) {
			if set := n.sets[rrtype]; set != s.soa {
				out = append(out, set.signed...)
			}
		}
		out = append(out, n.nsec.signed...)
	}
	return out
}

// addEmptyNonTerminals adds the names that exist only because names below them
// do. RFC 4592 §2.2.2: they exist, so queries for them are answered NOERROR.
func (s *snapshot) addEmptyNonTerminals() {
	for _, key := range s.chain {
		for up := key.parent(); len(up) > len(s.apex) && s.nodes[up] == nil; up = up.parent() {
			s.nodes[up] = &node{}
		}
	}
}

// set returns an RRset other than NSEC, or nil.
func (s *snapshot) set(key nameKey, rrtype uint16) *rrset {
	if s == nil || s.nodes[key] == nil {
		return nil
	}
	return s.nodes[key].sets[rrtype]
}

func (s *snapshot) nsec(key nameKey) *rrset {
	if s == nil || s.nodes[key] == nil {
		return nil
	}
	return s.nodes[key].nsec
}

// covering returns the NSEC record at key, or else the one whose span key falls
// into. key must be within the zone: the apex comes first in the chain.
func (s *snapshot) covering(key nameKey) *rrset {
	i, found := slices.BinarySearch(s.chain, key)
	if !found {
		i--
	}
	return s.nodes[s.chain[i]].nsec
}

// denial returns the NSEC records that prove that key does not exist.
// RFC 4035 §3.1.3.2: one covers the name, one the wildcard at its closest
// encloser; often it is the same.
func (s *snapshot) denial(key nameKey) []*rrset {
	encloser := key.parent()
	for s.nodes[encloser] == nil {
		encloser = encloser.parent()
	}
	name, wildcard := s.covering(key), s.covering(encloser.wildcard())
	if name == wildcard {
		return []*rrset{name}
	}
	return []*rrset{name, wildcard}
}

// worst returns the condition of the signature that is worst off.
func (s *snapshot) worst(by *signer) condition {
	worst := fresh
	for _, n := range s.nodes {
		if n.nsec != nil {
			worst = max(worst, by.condition(n.nsec.sig))
		}
		for _, set := range n.sets {
			worst = max(worst, by.condition(set.sig))
		}
	}
	return worst
}
