package certs

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
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
// and mx06 of every slot, which share them, and for mx.<zone> one "3 1 1" for
// each of their keys; for mx03 and mx05 one of a key that nobody has, another one
// for each host. Other hosts have none. The
// records need no certificate and stay the same as long as the keys do. While a
// key rolls, those of the old and the new one are there; every such change is
// announced through Options.Publish.
func (s *Store) TLSA() map[string][]TLSA {
	current := s.current.Load()
	service := scenario.Certificate{Owner: scenario.OwnerService, Kind: scenario.CA}
	out := map[string][]TLSA{scenario.ServiceHost(s.opts.Zone): s.matching(current, service)}
	for slot := range s.opts.Slots {
		names := scenario.Names(s.opts.Zone, slot)
		for _, h := range scenario.MXHosts() {
			kind := scenario.HostKind(h)
			switch scenario.Named(h, kind).TLSA {
			case scenario.TLSAMatch:
				out[names.Host(h)] = s.matching(current, scenario.Certificate{Owner: scenario.Owner(h), Kind: kind})
			case scenario.TLSAMismatch:
				out[names.Host(h)] = []TLSA{dane311(s.nobodysDigest(names.Host(h)))}
			}
		}
	}
	return out
}

// published reports whether the keys of id are in TLSA records.
func published(id scenario.Certificate) bool {
	h := scenario.Host(id.Owner)
	return id.Owner == scenario.OwnerService ||
		id.Kind == scenario.HostKind(h) && scenario.Named(h, id.Kind).TLSA == scenario.TLSAMatch
}

// dane311 is DANE-EE, SubjectPublicKeyInfo, SHA2-256. RFC 7672 §3.1.1 and
// §3.1.3: what SMTP servers should publish.
func dane311(digest []byte) TLSA {
	return TLSA{Usage: 3, Selector: 1, MatchingType: 1, Data: digest}
}

func (s *Store) matching(n *snapshot, id scenario.Certificate) []TLSA {
	var out []TLSA
	for _, alg := range s.opts.KeyAlgorithms {
		e := entry{id, alg}
		out = append(out, dane311(n.pairs[n.inUse(e)].digest))
		if other, step, rolling := n.other(e); rolling && (step == phaseAnnounce || step == phaseSwitched) {
			out = append(out, dane311(n.pairs[other].digest))
		}
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
func (s *Store) loadSeed(context.Context) error {
	b, ok, err := s.vault.read(seedFile)
	if err != nil {
		return fmt.Errorf("read TLSA secret: %w", err)
	}
	if ok {
		s.seed, err = hex.DecodeString(strings.TrimSpace(string(b)))
		if err != nil || len(s.seed) != sha256.Size {
			return fmt.Errorf("file %q: want %d octets in hex; remove it to get new TLSA records for mx03 and mx05", s.vault.path(seedFile), sha256.Size)
		}
		return nil
	}
	s.seed = make([]byte, sha256.Size)
	if _, err := io.ReadFull(s.opts.Rand, s.seed); err != nil {
		return fmt.Errorf("TLSA secret: %w", err)
	}
	return s.vault.write(seedFile, []byte(hex.EncodeToString(s.seed)+"\n"), 0o600)
}
