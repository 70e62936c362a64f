package dnssec

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// nsec3Hash are the hash parameters of the zone, and what was hashed already.
type nsec3Hash struct {
	iterations uint16
	salt       string
	done       map[string]string
}

// addNSEC3 keeps a signed record if it can be used.
func (p *proofs) addNSEC3(rr *dns.NSEC3, owner string, maxIterations int) {
	switch {
	// RFC 5155 §8.1, §8.2: unknown hash algorithms and flags are ignored.
	case rr.Hash != dns.SHA1 || rr.Flags&^1 != 0:
		p.weak = fmt.Sprintf("zone %s uses NSEC3 parameters that are not supported", p.zone)
	// RFC 9276 §3.2: above a limit the zone is treated as insecure; only now,
	// with the signature checked.
	case int(rr.Iterations) > maxIterations:
		p.weak = fmt.Sprintf("zone %s uses %d NSEC3 iterations, more than %d (RFC 9276)", p.zone, rr.Iterations, maxIterations)
	case parent(owner) != p.zone:
		p.why = fmt.Sprintf("NSEC3 %s is not directly below zone %s", owner, p.zone)
	// RFC 5155 §8.2: all must have the same parameters.
	case len(p.nsec3) > 0 && (rr.Iterations != p.hash.iterations || rr.Salt != p.hash.salt):
		p.why = fmt.Sprintf("NSEC3 records of zone %s differ in their parameters", p.zone)
	default:
		if len(p.nsec3) == 0 {
			p.hash = nsec3Hash{iterations: rr.Iterations, salt: rr.Salt, done: make(map[string]string)}
		}
		p.nsec3 = append(p.nsec3, rr)
	}
}

func (h nsec3Hash) of(name string) string {
	if v, ok := h.done[name]; ok {
		return v
	}
	v := dns.HashName(name, dns.SHA1, h.iterations, h.salt)
	h.done[name] = v
	return v
}

func ownerHash(rr *dns.NSEC3) string {
	label, _, _ := strings.Cut(rr.Hdr.Name, ".")
	return strings.ToUpper(label)
}

func optOut(rr *dns.NSEC3) bool { return rr.Flags&1 != 0 }

// match3 returns the record of a name that exists.
func (p *proofs) match3(name string) *dns.NSEC3 {
	if !dns.IsSubDomain(p.zone, name) {
		return nil
	}
	for _, rr := range p.nsec3 {
		if h := p.hash.of(name); h != "" && h == ownerHash(rr) {
			return rr
		}
	}
	return nil
}

// cover3 returns a record that proves that name does not exist.
func (p *proofs) cover3(name string) *dns.NSEC3 {
	if !dns.IsSubDomain(p.zone, name) {
		return nil
	}
	for _, rr := range p.nsec3 {
		h, owner, next := p.hash.of(name), ownerHash(rr), strings.ToUpper(rr.NextDomain)
		if h == "" || h == owner {
			continue
		}
		if owner < h && h < next || next <= owner && (owner < h || h < next) {
			return rr
		}
	}
	return nil
}

// encloser proves the closest encloser of a name that does not exist (RFC 5155
// §8.3), and returns it with the record that covers the next closer name.
func (p *proofs) encloser(name string) (string, *dns.NSEC3, error) {
	for n := dns.CountLabel(name) - 1; n >= dns.CountLabel(p.zone); n-- {
		rr := p.match3(suffix(name, n))
		if rr == nil {
			continue
		}
		cover := p.cover3(suffix(name, n+1))
		if cover == nil || notBelow(rr.TypeBitMap) {
			break
		}
		return suffix(name, n), cover, nil
	}
	return "", nil, bogus("no closest encloser of %s is proven: %s", name, p.why)
}

// denies3 concludes from NSEC3 records that name, which has none, has no
// records of the type (RFC 5155 §8.4 to §8.7).
func (p *proofs) denies3(name string, qtype uint16) (step, error) {
	encloser, cover, err := p.encloser(name)
	if err != nil {
		return step{}, err
	}
	// RFC 5155 §8.6 and §9.2: below an opt-out span there may be unsigned
	// delegations; nothing is proven.
	if optOut(cover) {
		return step{status: Insecure, why: fmt.Sprintf("%s may be delegated without DS (opt-out)", name)}, nil
	}
	wildcard := wildcardAt(encloser)
	if rr := p.match3(wildcard); rr != nil {
		return step{status: Secure}, lacks(rr.TypeBitMap, wildcard, qtype)
	}
	if p.cover3(wildcard) == nil {
		return step{}, bogus("nothing denies the wildcard %s for %s: %s", wildcard, name, p.why)
	}
	return step{status: Secure, rcode: dns.RcodeNameError}, nil
}
