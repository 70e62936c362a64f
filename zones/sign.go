package zones

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/miekg/dns"
)

const (
	// backdate is how far in the past signatures begin, for resolvers whose
	// clock is slow.
	backdate = 3 * time.Hour
	// renewals is how many signatures one version of the zone renews at most
	// that could wait.
	renewals = 256
)

// signer makes one version of the zone.
type signer struct {
	zone     string
	ttl      uint32
	validity time.Duration
	keys     *keySet
	// clock says what time it is. Both ends are the same unless the clock is in
	// doubt: then signatures hold at both.
	clock interval

	made int // signatures
	due  int // of signatures that could wait: renewed or not
}

// interval of time, in which it is now.
type interval struct{ from, to time.Time }

// condition says what is to be done about a signature.
type condition int

const (
	fresh condition = iota
	due             // to be renewed, not at once
	stale           // to be renewed now
)

// sign signs an RRset whose members have the same header.
func (s *signer) sign(rrs []dns.RR) ([]*dns.RRSIG, error) {
	header := rrs[0].Header()
	var out []*dns.RRSIG
	for _, key := range s.keys.signers(header.Rrtype) {
		sig := &dns.RRSIG{
			Hdr:        dns.RR_Header{Ttl: header.Ttl},
			Algorithm:  key.dnskey.Algorithm,
			Inception:  uint32(s.clock.from.Add(-backdate).Unix()),
			Expiration: uint32(s.clock.to.Add(s.validity - s.jitter(header)).Unix()),
			KeyTag:     key.dnskey.KeyTag(),
			SignerName: s.zone,
		}
		if err := sig.Sign(key.Private, rrs); err != nil {
			return nil, fmt.Errorf("sign %s %s: %w", header.Name, dns.TypeToString[header.Rrtype], err)
		}
		out = append(out, sig)
		s.made++
	}
	return out, nil
}

// jitter is what the validity of an RRset's signatures is shorter, less than an
// eighth: signatures made together are not renewed together.
func (s *signer) jitter(h *dns.RR_Header) time.Duration {
	sum := fnv.New32a()
	fmt.Fprintf(sum, "%s %d", h.Name, h.Rrtype)
	return time.Duration(sum.Sum32()%uint32(s.validity.Seconds()/8)) * time.Second
}

// reusable reports whether the signatures of a set that did not change stay.
func (s *signer) reusable(set *rrset) bool {
	signers := s.keys.signers(set.sig.TypeCovered)
	if len(signers) != len(set.by) {
		return false
	}
	for i, key := range signers {
		if key.dnskey != set.by[i] {
			return false
		}
	}
	switch s.condition(set.sig) {
	case stale:
		return false
	case due:
		s.due++
		return s.due > renewals
	}
	return true
}

// condition of a signature: it is due once half of the validity is left, stale
// at a quarter, or if it was made by a clock that has since been set back.
func (s *signer) condition(sig *dns.RRSIG) condition {
	// RFC 4034 §3.1.5: times are serial numbers.
	left := time.Duration(int32(sig.Expiration-uint32(s.clock.to.Unix()))) * time.Second
	begun := time.Duration(int32(uint32(s.clock.from.Unix())-sig.Inception)) * time.Second
	switch {
	case left <= s.validity/4, left > s.validity+time.Second, begun < backdate-time.Second:
		return stale
	case left <= s.validity/2:
		return due
	}
	return fresh
}
