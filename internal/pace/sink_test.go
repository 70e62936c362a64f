package pace

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/mxrotator"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// The production timing.
const (
	zone      = "sink.example"
	downgrade = 3 * time.Minute
	interval  = 5 * time.Minute
	minGap    = time.Minute // the TTL of the MX records
	giveUp    = 8 * time.Hour
	settled   = 11 * time.Second // after it an attempt is over
)

// sink is the receiving side of one test.
type sink struct {
	rng    *rand.Rand
	engine *policyinfer.Engine
	h      evidence.History
	now    time.Time
	began  time.Time // of the downgrade phase
	shared bool      // on slot 0: what has no MAIL is attributed by address only, also if it names the slot

	seed, turn        uint64
	order             mxrotator.Order
	changed, nextTurn time.Time
	need              mxrotator.Need
	first             scenario.Host

	byDefault, ut bool // the varying certificates come from the CA
	deliveredCA   int  // to the default one since it does
}

func newSink(rng *rand.Rand, e *policyinfer.Engine, shared bool) *sink {
	s := &sink{rng: rng, engine: e, shared: shared, seed: rng.Uint64(), turn: rng.Uint64N(1 << 20), first: scenario.MX04}
	if shared && rng.IntN(2) == 0 {
		s.first = scenario.MX05
	}
	s.now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s.h.Test = evidence.Test{ID: "pace", Zone: zone, Started: s.now, Sender: "user@sender.example"}
	s.rotate(s.now.Add(-time.Duration(rng.Int64N(int64(interval)))))
	return s
}

// rotate makes the turn of a time.
func (s *sink) rotate(at time.Time) {
	slot := 1
	if s.shared {
		slot = 0
	}
	order := mxrotator.NextOf(slot, s.seed, s.turn, s.need)
	s.turn++
	s.nextTurn = at.Add(interval)
	if order != s.order {
		s.order, s.changed = order, at
		s.h.States = append(s.h.States, evidence.State{Time: at, MX: order.Preferences()})
	}
}

// wait lets time pass, with turns.
func (s *sink) wait(until time.Time) {
	for !s.nextTurn.After(until) {
		s.rotate(s.nextTurn)
	}
	s.now = until
}

// judge infers after an attempt, and steers.
func (s *sink) judge() policyinfer.Verdict {
	s.wait(s.now.Add(settled))
	s.h.Until = s.now
	v := s.engine.Infer(s.h, policyinfer.Options{})
	met, handedOver := assess.Met{}, false
	for _, c := range s.h.Connections {
		if c.TLS == nil || c.TLS.SNI == nil {
			continue
		}
		if t, ok := scenario.Find(zone, *c.TLS.SNI); ok && t.Role == scenario.RoleMX {
			met[t.Host]++
			handedOver = handedOver || c.Data
		}
	}
	before := s.need
	s.need = mxrotator.Need{Choices: [][]scenario.Host{assess.Choices(&v, met, handedOver, s.first)}}
	if len(s.need.Choices[0]) > 0 && !slices.EqualFunc(before.Choices, s.need.Choices, slices.Equal) {
		if at := s.changed.Add(minGap); at.After(s.now) {
			s.nextTurn = minTime(s.nextTurn, at)
		} else {
			s.nextTurn = s.now
		}
	}
	return v
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (s *sink) offered() bool { return s.now.Sub(s.began) >= downgrade }

// certificate is what a client is shown.
func (s *sink) certificate(h scenario.Host, sni bool) (kind scenario.Kind, varying *bool) {
	vary := func(ca *bool, trusted scenario.Kind) (scenario.Kind, *bool) {
		if *ca {
			return trusted, ca
		}
		return scenario.SelfSigned, ca
	}
	switch {
	case !sni:
		return vary(&s.byDefault, scenario.CADefault)
	case h == scenario.UT:
		return vary(&s.ut, scenario.CA)
	}
	return scenario.HostKind(h), nil
}

// connection begins one; record ends it.
func (s *sink) connection() *evidence.Connection {
	if s.began.IsZero() {
		s.began = s.now
	}
	s.now = s.now.Add(time.Duration(50+s.rng.IntN(300)) * time.Millisecond)
	return &evidence.Connection{
		ID: evidence.ConnID(strconv.Itoa(len(s.h.Connections))), Start: s.now, Client: "192.0.2.10:25000",
		StartTLSOffered: s.offered(), EHLO: true, Helo: []string{"mta.sender.example"}, Destination: string(scenario.UnknownDomain),
	}
}

func (s *sink) record(c *evidence.Connection, e evidence.Ending) {
	s.now = s.now.Add(time.Duration(20+s.rng.IntN(100)) * time.Millisecond)
	c.End, c.Ending = s.now, e
	if len(c.Transactions) == 0 {
		c.Attribution = evidence.ByAddress
		if !s.shared && c.TLS != nil && c.TLS.SNI != nil {
			c.Attribution = evidence.BySlot
		}
	}
	s.h.Connections = append(s.h.Connections, *c)
}
