package zones

import (
	"maps"
	"slices"

	"github.com/miekg/dns"
)

// rrset is a signed RRset. Immutable.
type rrset struct {
	rrs    []dns.RR
	sig    *dns.RRSIG
	signed []dns.RR // rrs and sig

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
}

// snapshot builds the signed form of c, which must include SOA and DNSKEY. It takes
// over from prev (which may be nil) every signature of an RRset that is still
// the same and fresh. made is the number of new signatures.
func (s *signer) snapshot(c content, prev *snapshot) (snap *snapshot, made int, err error) {
	apex, err := keyOf(s.zone)
	if err != nil {
		return nil, 0, err
	}
	snap = &snapshot{apex: apex, nodes: make(map[nameKey]*node, len(c))}
	for id, rrs := range c {
		n := snap.nodes[id.key]
		if n == nil {
			n = &node{name: rrs[0].Header().Name, sets: make(map[uint16]*rrset, 4)}
			snap.nodes[id.key] = n
			snap.chain = append(snap.chain, id.key)
		}
		old := prev.set(id.key, id.rrtype)
		if old == nil || &old.rrs[0] != &rrs[0] || len(old.rrs) != len(rrs) || !s.fresh(old.sig) {
			if old, err = s.newSet(rrs); err != nil {
				return nil, 0, err
			}
			made++
		}
		n.sets[id.rrtype] = old
	}
	slices.Sort(snap.chain)
	snap.soa = snap.nodes[apex].sets[dns.TypeSOA]
	nsecs, err := s.chain(snap, prev)
	if err != nil {
		return nil, 0, err
	}
	snap.addEmptyNonTerminals()
	return snap, made + nsecs, nil
}

func (s *signer) newSet(rrs []dns.RR) (*rrset, error) {
	sig, err := s.sign(rrs)
	if err != nil {
		return nil, err
	}
	set := &rrset{rrs: slices.Clip(rrs), sig: sig}
	set.signed = slices.Clip(append(slices.Clone(rrs), dns.RR(sig)))
	for _, rr := range rrs {
		set.size += dns.Len(rr)
	}
	set.signedSize = set.size + dns.Len(sig)
	return set, nil
}

// chain gives every name with records its NSEC record.
func (s *signer) chain(snap, prev *snapshot) (made int, err error) {
	for i, key := range snap.chain {
		n := snap.nodes[key]
		next := snap.nodes[snap.chain[(i+1)%len(snap.chain)]].name
		types := append(slices.Collect(maps.Keys(n.sets)), dns.TypeRRSIG, dns.TypeNSEC)
		slices.Sort(types)
		if old := prev.nsec(key); old != nil && s.fresh(old.sig) {
			if rr, ok := old.rrs[0].(*dns.NSEC); ok && rr.NextDomain == next && slices.Equal(rr.TypeBitMap, types) {
				n.nsec = old
				continue
			}
		}
		n.nsec, err = s.newSet([]dns.RR{&dns.NSEC{
			// RFC 9077 §3: the TTL of NSEC is the lesser of SOA TTL and minimum: the same here.
			Hdr:        dns.RR_Header{Name: n.name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: s.dnskey.Hdr.Ttl},
			NextDomain: next,
			TypeBitMap: types,
		}})
		if err != nil {
			return 0, err
		}
		made++
	}
	return made, nil
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

// fresh reports whether every signature is fresh.
func (s *snapshot) fresh(by *signer) bool {
	for _, n := range s.nodes {
		if n.nsec != nil && !by.fresh(n.nsec.sig) {
			return false
		}
		for _, set := range n.sets {
			if !by.fresh(set.sig) {
				return false
			}
		}
	}
	return true
}
