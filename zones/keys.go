package zones

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// Role says what a key of the zone signs.
type Role string

// The roles. A zone has one CSK, or one KSK and one ZSK; more only in a roll.
const (
	CSK Role = "csk" // everything; the parent has its DS
	KSK Role = "ksk" // DNSKEY, CDS, CDNSKEY; the parent has its DS
	ZSK Role = "zsk" // everything else
)

// sep reports whether the parent has a DS record for keys of this role
// (RFC 4034 §2.1.1, the bit SEP).
func (r Role) sep() bool { return r == CSK || r == KSK }

// data reports whether keys of this role sign the content of the zone.
func (r Role) data() bool { return r == CSK || r == ZSK }

// KeyStatus is where a key is in its life. Every key is in the DNSKEY RRset,
// and one with SEP signs it: only what else it does differs.
type KeyStatus string

// The values of KeyStatus.
const (
	KeyPublished KeyStatus = "published" // will be used once every cache has it
	KeyActive    KeyStatus = "active"    // signs by its role; its DS belongs at the parent
	KeyRetiring  KeyStatus = "retiring"  // is needed only by what caches still hold
)

// Key is a key of the zone: ECDSA P-256 (RFC 6605).
type Key struct {
	Role    Role
	Status  KeyStatus
	Created time.Time // zero if not known
	Private *ecdsa.PrivateKey
}

// zoneKey is a key with its record.
type zoneKey struct {
	Key

	dnskey *dns.DNSKEY
}

// keySet are the keys of one version of the zone. Immutable.
type keySet struct {
	keys    []zoneKey
	digests []uint8 // of DS records
	sep     []zoneKey
	data    []zoneKey // one
	records content   // DNSKEY, CDS, CDNSKEY
}

// firstKeys makes the keys of a new zone.
func firstKeys(o Options) ([]Key, error) {
	roles := []Role{CSK}
	if o.Keys.Split {
		roles = []Role{KSK, ZSK}
	}
	var out []Key
	for _, role := range roles {
		key, err := newKey(o, role, KeyActive, out)
		if err != nil {
			return nil, err
		}
		out = append(out, key)
	}
	return out, nil
}

// newKey makes a key whose tag none of the others has: validators that find
// two keys under one tag have to try both (CVE-2023-50387).
func newKey(o Options, role Role, status KeyStatus, others []Key) (Key, error) {
	var tags []uint16
	for _, k := range others {
		dnskey, err := publicRecord(o, k)
		if err != nil {
			return Key{}, err
		}
		tags = append(tags, dnskey.KeyTag())
	}
	for {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return Key{}, fmt.Errorf("make zone key: %w", err)
		}
		k := Key{Role: role, Status: status, Created: o.Now().UTC().Truncate(time.Second), Private: private}
		dnskey, err := publicRecord(o, k)
		if err != nil {
			return Key{}, err
		}
		if !slices.Contains(tags, dnskey.KeyTag()) {
			return k, nil
		}
	}
}

// publicRecord returns the DNSKEY record of a key.
func publicRecord(o Options, k Key) (*dns.DNSKEY, error) {
	if k.Private == nil || k.Private.Curve != elliptic.P256() {
		return nil, errors.New("zone key: want ECDSA P-256")
	}
	point, err := k.Private.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("zone key: %w", err)
	}
	flags := uint16(dns.ZONE)
	if k.Role.sep() {
		flags |= dns.SEP
	}
	return &dns.DNSKEY{
		Hdr:       dns.RR_Header{Name: o.Zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: uint32(o.TTL.Seconds())},
		Flags:     flags,
		Protocol:  3,
		Algorithm: dns.ECDSAP256SHA256,
		// RFC 6605 §4: the key is the point without the octet that says "uncompressed".
		PublicKey: base64.StdEncoding.EncodeToString(point[1:]),
	}, nil
}

// newKeySet checks keys and makes their records. It keeps the record of a key
// that prev (which may be nil) has already: what it signed stays signed.
func newKeySet(o Options, keys []Key, prev *keySet) (*keySet, error) {
	s := &keySet{digests: o.Keys.DSDigests}
	for _, k := range keys {
		record, err := publicRecord(o, k)
		if err != nil {
			return nil, err
		}
		if i := prev.index(record); i >= 0 {
			record = prev.keys[i].dnskey
		}
		s.keys = append(s.keys, zoneKey{k, record})
	}
	if err := s.assign(); err != nil {
		return nil, err
	}
	apex, err := keyOf(o.Zone)
	if err != nil {
		return nil, err
	}
	s.records = content{}
	add := func(rr dns.RR) {
		id := setID{apex, rr.Header().Rrtype}
		s.records[id] = append(s.records[id], rr)
	}
	for _, k := range s.keys {
		add(k.dnskey)
	}
	if o.Keys.NoCDS {
		return s, nil
	}
	// RFC 7344 §4: what the DS RRset should be. Without a roll, too: a parent may
	// begin with it (RFC 8078 §3, RFC 9615).
	for _, ds := range s.ds(KeyActive) {
		cds := ds.ToCDS()
		cds.Hdr.Ttl = uint32(o.TTL.Seconds())
		add(cds)
	}
	for _, k := range s.sep {
		if k.Status == KeyActive {
			add(k.dnskey.ToCDNSKEY())
		}
	}
	return s, nil
}

// assign finds out which keys sign what.
func (s *keySet) assign() error {
	active := 0
	for _, k := range s.keys {
		if k.Role.sep() {
			s.sep = append(s.sep, k)
		}
		if k.Status == KeyActive && k.Role.sep() {
			active++
		}
		if k.Status == KeyActive && k.Role.data() {
			s.data = append(s.data, k)
		}
	}
	if active != 1 || len(s.data) != 1 {
		return fmt.Errorf("zone keys: %d active keys for the parent and %d for the content, want one each", active, len(s.data))
	}
	return nil
}

func (s *keySet) index(record *dns.DNSKEY) int {
	if s == nil {
		return -1
	}
	return slices.IndexFunc(s.keys, func(k zoneKey) bool {
		return k.dnskey.Flags == record.Flags && k.dnskey.PublicKey == record.PublicKey && k.dnskey.Hdr == record.Hdr
	})
}

// signers returns the keys that sign RRsets of a type. RFC 7344 §4.1: CDS and
// CDNSKEY are signed with a key that the parent has a DS record of; in a roll
// that is the old one until the parent follows.
func (s *keySet) signers(rrtype uint16) []zoneKey {
	switch rrtype {
	case dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY:
		return s.sep
	}
	return s.data
}

// ds returns the DS records of the SEP keys of a status.
func (s *keySet) ds(status KeyStatus) []*dns.DS {
	var out []*dns.DS
	for _, k := range s.sep {
		if k.Status != status {
			continue
		}
		for _, digest := range s.digests {
			ds := k.dnskey.ToDS(digest)
			ds.Hdr.Ttl = parentTTL
			out = append(out, ds)
		}
	}
	return out
}

// KeyInfo describes a key in public.
type KeyInfo struct {
	Role    Role
	Status  KeyStatus
	Tag     uint16
	Created time.Time // zero if not known
}

// Keys returns the keys that are published, oldest first.
func (z *Zone) Keys() []KeyInfo {
	var out []KeyInfo
	for _, k := range z.current.Load().keys.keys {
		out = append(out, KeyInfo{k.Role, k.Status, k.dnskey.KeyTag(), k.Created})
	}
	return out
}
