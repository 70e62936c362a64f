package certs

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/tlsink/tlsink/scenario"
)

// TLSA is the data of one TLSA record (RFC 6698 §2.1).
type TLSA struct {
	Usage, Selector, MatchingType uint8
	Data                          []byte
}

// seedFile holds the secret that the TLSA data of nobody's keys come from.
const seedFile = "tlsa-mismatch.txt"

// TLSA returns the TLSA records by host name, without trailing dot: for mx04
// and mx06 of every slot and for mx.<zone> one "3 1 1" for each of their keys;
// for mx03 and mx05 one of a key that nobody has. Other hosts have none. The
// records need no certificate and stay the same as long as the keys do.
func (s *Store) TLSA() map[string][]TLSA {
	out := map[string][]TLSA{
		scenario.ServiceHost(s.opts.Zone): s.matching(scenario.Certificate{Owner: scenario.OwnerService, Kind: scenario.CA}),
	}
	for slot := range s.opts.Slots {
		names := scenario.Names(s.opts.Zone, slot)
		for _, h := range scenario.MXHosts() {
			kind := scenario.HostKind(h)
			switch scenario.Named(h, kind).TLSA {
			case scenario.TLSAMatch:
				out[names.Host(h)] = s.matching(scenario.Certificate{Slot: slot, Owner: scenario.Owner(h), Kind: kind})
			case scenario.TLSAMismatch:
				out[names.Host(h)] = []TLSA{dane311(s.nobodysDigest(names.Host(h)))}
			}
		}
	}
	return out
}

// dane311 is DANE-EE, SubjectPublicKeyInfo, SHA2-256. RFC 7672 §3.1.1 and
// §3.1.3: what SMTP servers should publish.
func dane311(digest []byte) TLSA {
	return TLSA{Usage: 3, Selector: 1, MatchingType: 1, Data: digest}
}

func (s *Store) matching(c scenario.Certificate) []TLSA {
	var out []TLSA
	for _, alg := range s.opts.KeyAlgorithms {
		out = append(out, dane311(s.digests[entry{c, alg}]))
	}
	return out
}

// nobodysDigest is stable for a host and, being keyed with a secret, the digest
// of no key that anybody could find.
func (s *Store) nobodysDigest(host string) []byte {
	mac := hmac.New(sha256.New, s.seed)
	mac.Write([]byte(host))
	return mac.Sum(nil)
}

// loadSeed reads or makes the secret behind nobodysDigest.
func (s *Store) loadSeed() error {
	b, ok, err := s.files.read(seedFile)
	if err != nil {
		return fmt.Errorf("read TLSA secret: %w", err)
	}
	if ok {
		s.seed, err = hex.DecodeString(strings.TrimSpace(string(b)))
		if err != nil || len(s.seed) != sha256.Size {
			return fmt.Errorf("file %q: want %d octets in hex; remove it to get new TLSA records for mx03 and mx05", s.files.path(seedFile), sha256.Size)
		}
		return nil
	}
	s.seed = make([]byte, sha256.Size)
	if _, err := io.ReadFull(s.opts.Rand, s.seed); err != nil {
		return fmt.Errorf("TLSA secret: %w", err)
	}
	return s.files.write(seedFile, []byte(hex.EncodeToString(s.seed)+"\n"), 0o600)
}

// fillDigests computes the SHA2-256 of every SubjectPublicKeyInfo and refuses
// keys that occur twice: a shared key would make faces match that must not.
func (s *Store) fillDigests() error {
	s.digests = make(map[entry][]byte, len(s.keys))
	seen := make(map[string]entry, len(s.keys))
	for e, key := range s.keys {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return fmt.Errorf("key %s: %w", e, err)
		}
		sum := sha256.Sum256(der)
		if other, dup := seen[string(sum[:])]; dup {
			return fmt.Errorf("keys %s and %s are the same; remove one of their files to get a new key", e, other)
		}
		seen[string(sum[:])] = e
		s.digests[e] = sum[:]
	}
	return nil
}
