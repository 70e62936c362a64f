package certs

import (
	"encoding/hex"
	"time"

	"github.com/tlsink/tlsink/scenario"
)

// KeyStatus says how things are with one key of an identity.
type KeyStatus struct {
	Certificate scenario.Certificate
	Algorithm   KeyAlgorithm
	Host        string // as Roll takes it
	// KeyID is the SHA2-256 of the SubjectPublicKeyInfo in hex, the data of a
	// TLSA record 3 1 1. Published says that there is such a record.
	KeyID     string
	Published bool

	Issued              bool // there is a certificate that can be presented
	NotBefore, NotAfter time.Time
	// Next is when the next one is planned: its renewal, or the first one. The
	// past means at once.
	Next time.Time
	// Failures is how often that failed since the last success; LastError of
	// LastFailed says why, or why the certificate could not be stored.
	Failures   int
	LastError  string
	LastFailed time.Time

	Roll        RollPhase
	RollSince   time.Time // when it began; zero without one
	RollDue     time.Time // the earliest end of phases that wait; zero if not known
	OtherKeyID  string    // the key that it leads to, or, once switched, comes from
	RollError   string    // why it does not go on, e.g. Publish
	OtherIssued bool      // the new key has its certificate
}

// Status returns the state of every key, in a stable order.
func (s *Store) Status() []KeyStatus {
	planned := make(map[version]time.Time)
	for _, j := range s.jobs() {
		planned[j.version] = j.at
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.current.Load()
	out := make([]KeyStatus, len(s.entries))
	for i, e := range s.entries {
		v := current.inUse(e)
		p, next := current.pairs[v], s.plans[v]
		k := KeyStatus{
			Certificate: e.id, Algorithm: e.alg, Host: s.hostOf(e.id),
			KeyID: hex.EncodeToString(p.digest), Published: published(e.id),
			Issued: s.valid(v), Next: planned[v],
			Failures: next.Failures, LastError: next.Error, LastFailed: next.Failed,
		}
		if p.cert.Leaf != nil {
			k.NotBefore, k.NotAfter = p.cert.Leaf.NotBefore, p.cert.Leaf.NotAfter
		}
		if p.unsaved != nil {
			k.LastError = p.unsaved.Error()
		}
		s.rollStatus(current, e, &k)
		out[i] = k
	}
	return out
}

// rollStatus fills in what concerns a roll. s.mu must be held.
func (s *Store) rollStatus(n *snapshot, e entry, k *KeyStatus) {
	r, p := n.ledger.of(e.id).Roll, s.rolls[e.id]
	if r == nil || p == nil {
		return
	}
	other, _, _ := n.other(e)
	k.Roll, k.RollSince = s.phase(e.id), r.Started
	k.OtherKeyID, k.OtherIssued = hex.EncodeToString(n.pairs[other].digest), s.valid(other)
	switch k.Roll {
	case RollWaiting, RollSwitched:
		k.RollDue = p.since.Add(s.opts.RollWaitNow())
	case RollCertificate:
		k.RollError = s.plans[other].Error
	case RollPublishing, RollWithdrawing, RollCancelling:
		if s.publish.err != nil {
			k.RollError = s.publish.err.Error()
		}
	case NoRoll:
	}
	if p.retry.err != nil {
		k.RollError = p.retry.err.Error()
	}
}

// Missing returns how many keys have no certificate that can be presented, and
// when the last one is expected if nothing fails.
func Missing(keys []KeyStatus) (n int, complete time.Time) {
	for _, k := range keys {
		if !k.Issued {
			n++
			complete = later(complete, k.Next)
		}
	}
	return n, complete
}
