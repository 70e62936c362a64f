package policyinfer

import (
	"slices"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// Seen is one thing that one connection shows, as inference reads it. A refusal
// alone proves nothing yet: see the rules in [Engine.Infer].
type Seen struct {
	Face      scenario.Face
	SNI       scenario.Ternary
	Delivered bool // a message was transferred; else the client left and kept it
	TLS       bool // inside TLS, or after the certificate was shown
	Explicit  bool // a refusal that the client made plain
}

// A Reader reads connections of one history one by one, for those who show them
// to people. It is safe for concurrent use.
type Reader struct {
	test    evidence.Test
	faults  windows
	timings timing
}

// NewReader returns a Reader of the connections of h.
func NewReader(h *evidence.History) *Reader {
	r := &Reader{test: h.Test, timings: timingOf(h.Test.Timing)}
	r.faults = slices.Concat(unverifiable(h.States, r.timings.margin), broken(h.States, r.timings.margin))
	return r
}

// Read says what c shows. It is nothing if c was cut off, if something of ours
// may be why the client left, or if nobody can know what it was about.
func (r *Reader) Read(c *evidence.Connection) (out []Seen) {
	for _, e := range events(r.test, c) {
		if e.delivered() || e.refused() {
			out = append(out, Seen{
				Face: e.face, SNI: e.sni, Delivered: e.delivered(),
				TLS: e.outcome == deliveredTLS || e.outcome == refusedTLS, Explicit: e.grade == gradeExplicit,
			})
		}
	}
	return out
}

// Faulty reports whether our own service had a fault during c, so that it may
// show nothing.
func (r *Reader) Faulty(c *evidence.Connection) bool {
	return slices.ContainsFunc(r.faults, func(w window) bool {
		return windows{w}.overlap(c.Start, laterOf(c.Start, c.End))
	})
}

// SNI says what c named in its ClientHello: Yes one of the hosts of its test, No
// nothing; Unknown if another name, or if there was none to be read.
func (r *Reader) SNI(c *evidence.Connection) scenario.Ternary {
	_, sni := sniOf(r.test, c)
	return sni
}

// Span is an attempt: connections that follow each other.
type Span struct {
	Start, End  time.Time
	Connections []*evidence.Connection
}

// Spans returns the attempts of a history. Its connections may be in any order.
func Spans(h *evidence.History) (out []Span) {
	sorted := make([]*evidence.Connection, len(h.Connections))
	for i := range h.Connections {
		sorted[i] = &h.Connections[i]
	}
	slices.SortStableFunc(sorted, func(a, b *evidence.Connection) int { return a.Start.Compare(b.Start) })
	gap := timingOf(h.Test.Timing).gap
	for i, c := range sorted {
		if n := len(out); n == 0 || c.Start.Sub(out[n-1].End) > gap {
			out = append(out, Span{Start: c.Start, End: c.Start, Connections: sorted[i:i]})
		}
		last := &out[len(out)-1]
		last.Connections = last.Connections[:len(last.Connections)+1]
		last.End = laterOf(last.End, c.End)
	}
	return out
}

func laterOf(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
