package zones

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// backdate is how far in the past signatures begin, for resolvers whose clock
// is slow.
const backdate = 3 * time.Hour

// signer signs RRsets with the one key of the zone, which signs both the
// DNSKEY RRset and everything else (a combined signing key).
type signer struct {
	zone     string
	key      *ecdsa.PrivateKey
	dnskey   *dns.DNSKEY
	validity time.Duration
	now      func() time.Time
}

// newKey makes a private key for algorithm 13, ECDSA P-256 (RFC 6605).
func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make zone key: %w", err)
	}
	return key, nil
}

func newSigner(o Options, key *ecdsa.PrivateKey) (*signer, error) {
	if key == nil || key.Curve != elliptic.P256() {
		return nil, errors.New("zone key: want ECDSA P-256")
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("zone key: %w", err)
	}
	return &signer{
		zone: o.Zone,
		key:  key,
		dnskey: &dns.DNSKEY{
			Hdr:       dns.RR_Header{Name: o.Zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: uint32(o.TTL.Seconds())},
			Flags:     dns.ZONE | dns.SEP,
			Protocol:  3,
			Algorithm: dns.ECDSAP256SHA256,
			// RFC 6605 §4: the key is the point without the octet that says "uncompressed".
			PublicKey: base64.StdEncoding.EncodeToString(point[1:]),
		},
		validity: o.Validity,
		now:      o.Now,
	}, nil
}

// sign signs an RRset whose members have the same header.
func (s *signer) sign(rrs []dns.RR) (*dns.RRSIG, error) {
	now := s.now()
	header := rrs[0].Header()
	sig := &dns.RRSIG{
		Hdr:        dns.RR_Header{Ttl: header.Ttl},
		Algorithm:  s.dnskey.Algorithm,
		Inception:  uint32(now.Add(-backdate).Unix()),
		Expiration: uint32(now.Add(s.validity).Unix()),
		KeyTag:     s.dnskey.KeyTag(),
		SignerName: s.zone,
	}
	if err := sig.Sign(s.key, rrs); err != nil {
		return nil, fmt.Errorf("sign %s %s: %w", header.Name, dns.TypeToString[header.Rrtype], err)
	}
	return sig, nil
}

// fresh reports whether sig needs no renewal: half of its validity is left, and
// it was not made by a clock that has since been set back.
func (s *signer) fresh(sig *dns.RRSIG) bool {
	// RFC 4034 §3.1.5: times are serial numbers.
	now := uint32(s.now().Unix())
	left := time.Duration(int32(sig.Expiration-now)) * time.Second
	return left > s.validity/2 && left <= s.validity+time.Second
}
