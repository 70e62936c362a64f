package dnssec

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// KeyTrap (CVE-2023-50387) makes validators try every signature against every
// key with the same tag. Honest zones stay far below these.
const (
	maxKeys       = 32 // DNSKEY records of a zone
	maxSignatures = 8  // RRSIG records tried per RRset
	maxSameTag    = 4  // keys tried per signature
)

// zone is a signed zone whose keys are trusted.
type zone struct {
	name string
	keys []*dns.DNSKEY
}

// positive judges records of an answer section.
func (l *lookup) positive(m *dns.Msg, rrs []dns.RR) (Status, string, error) {
	h := rrs[0].Header()
	owner := dns.CanonicalName(h.Name)
	sigs := signatures(m.Answer, owner, h.Rrtype)
	signer := l.signer(sigs, owner, h.Rrtype)
	z, status, why, err := l.zone(target(signer, owner, h.Rrtype))
	if err != nil || status == Insecure {
		return status, why, err
	}
	if signer == "" {
		return "", "", bogus("%s %s has no signature, and zone %s is signed", owner, typeName(h.Rrtype), z.name)
	}
	sig, err := l.verify(z, rrs, sigs)
	if err != nil {
		return "", "", err
	}
	if !expanded(owner, sig) {
		return Secure, "", nil
	}
	// RFC 4035 §5.3.4: the answer comes from a wildcard, so it must be proven
	// that the name itself does not exist.
	p, err := l.proofs(z, m.Ns)
	if err != nil {
		return "", "", err
	}
	return p.wildcardAnswer(owner, int(sig.Labels))
}

// signatures returns the RRSIG records over an RRset.
func signatures(section []dns.RR, owner string, covered uint16) []*dns.RRSIG {
	var out []*dns.RRSIG
	for _, rr := range pick(section, owner, dns.TypeRRSIG) {
		if sig, ok := rr.(*dns.RRSIG); ok && sig.TypeCovered == covered {
			out = append(out, sig)
		}
	}
	return out
}

// signer returns the deepest zone that claims to have signed, if it can be the
// zone of the name; "" if none can. It is a hint where to build the chain to,
// and saves asking for a delegation at every label.
func (l *lookup) signer(sigs []*dns.RRSIG, name string, rrtype uint16) string {
	best := ""
	anchor, ok := l.r.closestAnchor(target("", name, rrtype))
	if !ok {
		return ""
	}
	for _, sig := range sigs {
		s := dns.CanonicalName(sig.SignerName)
		if !dns.IsSubDomain(s, name) || !dns.IsSubDomain(anchor, s) || (rrtype == dns.TypeDS && s == name) {
			continue
		}
		if best == "" || dns.CountLabel(s) > dns.CountLabel(best) {
			best = s
		}
	}
	return best
}

// target returns the name down to which the chain is to be built. RFC 4035
// §2.4: DS records belong to the parent side of a cut.
func target(signer, owner string, rrtype uint16) string {
	if signer != "" {
		return signer
	}
	if rrtype == dns.TypeDS {
		return parent(owner)
	}
	return owner
}

// verify returns the first signature over an RRset that is valid now and made
// with a key of the zone (RFC 4035 §5.3.1).
func (l *lookup) verify(z zone, rrs []dns.RR, sigs []*dns.RRSIG) (*dns.RRSIG, error) {
	h := rrs[0].Header()
	what := fmt.Sprintf("%s %s", h.Name, typeName(h.Rrtype))
	if len(sigs) > maxSignatures {
		sigs = sigs[:maxSignatures]
	}
	reason := "it has none"
	for _, sig := range sigs {
		switch {
		case dns.CanonicalName(sig.SignerName) != z.name:
			reason = fmt.Sprintf("the signer is %s", sig.SignerName)
			continue
		case !sig.ValidityPeriod(l.now):
			reason = fmt.Sprintf("the signature is valid from %s to %s", dns.TimeToString(sig.Inception), dns.TimeToString(sig.Expiration))
			continue
		case !supported(sig.Algorithm):
			reason = fmt.Sprintf("algorithm %d is not supported", sig.Algorithm)
			continue
		}
		tried := 0
		reason = fmt.Sprintf("the zone has no key %d", sig.KeyTag)
		for _, key := range z.keys {
			if key.Algorithm != sig.Algorithm || key.KeyTag() != sig.KeyTag {
				continue
			}
			if tried++; tried > maxSameTag {
				break
			}
			if l.verifications++; l.verifications > l.r.opts.MaxVerifications {
				return nil, bogus("more than %d signature checks for one lookup", l.r.opts.MaxVerifications)
			}
			if err := sig.Verify(key, rrs); err == nil {
				return sig, nil
			}
			reason = fmt.Sprintf("the signature does not fit key %d", sig.KeyTag)
		}
	}
	return nil, bogus("%s: no valid signature of zone %s: %s", what, z.name, reason)
}

// expanded reports whether the signature is that of a wildcard from which the
// owner name was made (RFC 4034 §3.1.3).
func expanded(owner string, sig *dns.RRSIG) bool {
	labels := dns.CountLabel(owner)
	if strings.HasPrefix(owner, "*.") {
		labels--
	}
	return int(sig.Labels) < labels
}

// zone builds the chain from the closest trust anchor down to the zone that
// holds the name stop. Insecure comes with the reason why.
func (l *lookup) zone(stop string) (zone, Status, string, error) {
	anchor, ok := l.r.closestAnchor(stop)
	if !ok {
		return zone{}, Insecure, fmt.Sprintf("no trust anchor covers %s", stop), nil
	}
	z, err := l.keys(anchor, l.r.anchors[anchor])
	if err != nil {
		return zone{}, "", "", err
	}
	for n := dns.CountLabel(anchor) + 1; n <= dns.CountLabel(stop); n++ {
		child := suffix(stop, n)
		d, err := l.delegation(z, child)
		if err != nil {
			return zone{}, "", "", err
		}
		switch {
		case d.insecure != "":
			return zone{}, Insecure, d.insecure, nil
		case d.missing:
			return z, Secure, "", nil
		case len(d.ds) > 0:
			if z, err = l.keys(child, d.ds); err != nil {
				return zone{}, "", "", err
			}
		}
	}
	return z, Secure, "", nil
}

// keys fetches the DNSKEY RRset of a zone and checks it against DS records or
// known keys (RFC 4035 §5.2).
func (l *lookup) keys(name string, anchors []dns.RR) (zone, error) {
	m, err := l.query(name, dns.TypeDNSKEY)
	if err != nil {
		return zone{}, err
	}
	rrs := pick(m.Answer, name, dns.TypeDNSKEY)
	if len(rrs) == 0 {
		return zone{}, bogus("zone %s has no DNSKEY, but its parent or a trust anchor says that it is signed", name)
	}
	if len(rrs) > maxKeys {
		return zone{}, bogus("zone %s has %d keys, more than %d", name, len(rrs), maxKeys)
	}
	all, trusted := zone{name: name}, zone{name: name}
	for _, rr := range rrs {
		key, ok := rr.(*dns.DNSKEY)
		// RFC 4034 §2.1.1 zone key, RFC 5011 §2.1 not revoked.
		if !ok || key.Flags&dns.ZONE == 0 || key.Flags&dns.REVOKE != 0 || key.Protocol != 3 {
			continue
		}
		all.keys = append(all.keys, key)
		if anchored(key, anchors) {
			trusted.keys = append(trusted.keys, key)
		}
	}
	if len(trusted.keys) == 0 {
		return zone{}, bogus("no key of zone %s matches its DS records or trust anchor", name)
	}
	if _, err := l.verify(trusted, rrs, signatures(m.Answer, name, dns.TypeDNSKEY)); err != nil {
		return zone{}, err
	}
	return all, nil
}

func anchored(key *dns.DNSKEY, anchors []dns.RR) bool {
	for _, rr := range anchors {
		switch a := rr.(type) {
		case *dns.DS:
			if a.Algorithm != key.Algorithm || a.KeyTag != key.KeyTag() || !supportedDigest(a.DigestType) {
				continue
			}
			if ds := key.ToDS(a.DigestType); ds != nil && strings.EqualFold(ds.Digest, a.Digest) {
				return true
			}
		case *dns.DNSKEY:
			if a.Algorithm == key.Algorithm && a.PublicKey == key.PublicKey {
				return true
			}
		}
	}
	return false
}

// cut is what a zone says about a name below it.
type cut struct {
	ds       []dns.RR // the name is a signed zone of its own
	insecure string   // the name is delegated without DS; the reason
	missing  bool     // the name and all below it do not exist
}

// delegation finds out whether child is delegated from z, and how.
func (l *lookup) delegation(z zone, child string) (cut, error) {
	m, err := l.query(child, dns.TypeDS)
	if err != nil {
		return cut{}, err
	}
	if rrs := pick(m.Answer, child, dns.TypeDS); len(rrs) > 0 {
		sig, err := l.verify(z, rrs, signatures(m.Answer, child, dns.TypeDS))
		if err != nil {
			return cut{}, err
		}
		if expanded(child, sig) {
			return cut{}, bogus("the DS records of %s come from a wildcard", child)
		}
		if ds := usableDS(rrs); len(ds) > 0 {
			return cut{ds: ds}, nil
		}
		return cut{insecure: fmt.Sprintf("zone %s uses only algorithms that are not supported", child)}, nil
	}
	if rrs, to := dname(m.Answer, child); to != "" {
		_, err := l.verify(z, rrs, signatures(m.Answer, dns.CanonicalName(rrs[0].Header().Name), dns.TypeDNAME))
		return cut{missing: true}, err // RFC 6672 §2.4: nothing exists below a DNAME
	}
	if rrs := pick(m.Answer, child, dns.TypeCNAME); len(rrs) > 0 {
		_, err := l.verify(z, rrs, signatures(m.Answer, child, dns.TypeCNAME))
		return cut{}, err // RFC 1034 §3.6.2: an alias is no zone cut
	}
	p, err := l.proofs(z, m.Ns)
	if err != nil {
		return cut{}, err
	}
	return p.delegation(child)
}

// usableDS returns the records that can be checked here. RFC 4509 §3: SHA-1
// digests are ignored if there are stronger ones.
func usableDS(rrs []dns.RR) []dns.RR {
	var strong, weak []dns.RR
	for _, rr := range rrs {
		ds, ok := rr.(*dns.DS)
		switch {
		case !ok || !supported(ds.Algorithm) || !supportedDigest(ds.DigestType):
		case ds.DigestType == dns.SHA1:
			weak = append(weak, ds)
		default:
			strong = append(strong, ds)
		}
	}
	if len(strong) > 0 {
		return strong
	}
	return weak
}
