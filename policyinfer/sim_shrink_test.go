package policyinfer

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// simShrink makes a history that is misjudged as small as it can be while it is
// misjudged in the same words. It only takes away what a sender could have
// failed to do, or the record could lack, without ceasing to be what it is:
// whole attempts first, then connections, states, and then the details of what
// is left. Where a verdict rests on absence, taking away makes evidence: the
// contacts that absence is about stay.
func simShrink(h evidence.History, x simExpect, infer func(evidence.History) Verdict) evidence.History {
	want := x.wrong(infer(h))
	messages, doubts := simMessages(h), simDoubts(infer(h))
	still := func(h evidence.History) bool {
		v := infer(h)
		return simMessages(h) == messages && slices.Equal(x.wrong(v), want) && slices.Equal(simDoubts(v), doubts)
	}
	try := func(change func(*evidence.History)) {
		smaller := simClone(h)
		if change(&smaller); still(smaller) {
			h = smaller
		}
	}
	gap := timingOf(h.Test.Timing).gap
	slices.SortStableFunc(h.Connections, func(a, b evidence.Connection) int { return a.Start.Compare(b.Start) })
	for size := 0; size != simSize(h); {
		size = simSize(h)
		runs := simAttempts(h.Connections, gap)
		kept := simMinimal(runs, func(runs [][]evidence.Connection) bool {
			smaller := h
			smaller.Connections = slices.Concat(runs...)
			return still(smaller)
		})
		h.Connections = slices.Concat(kept...)
		try(func(h *evidence.History) { h.Test.LeftOut = 1 }) // then absence says nothing
		h.Connections = simMinimal(h.Connections, func(cs []evidence.Connection) bool {
			smaller := h
			smaller.Connections = cs
			return still(smaller) && (h.Test.LeftOut > 0 || simSameContacts(h.Connections, cs))
		})
		h.States = simMinimal(h.States, func(s []evidence.State) bool {
			smaller := h
			smaller.States = s
			return still(smaller)
		})
		for i := range h.Connections {
			for _, simpler := range simSimpler() {
				try(func(h *evidence.History) { simpler(&h.Connections[i]) })
			}
		}
	}
	return h
}

// simDoubts returns the findings about contradictions: what contradicts stays,
// or less would be wrong with what is left.
func simDoubts(v Verdict) (out []string) {
	for _, f := range v.Findings {
		switch f.ID {
		case FindingChanged, FindingMixed, FindingChangedOrMixed, FindingContradictory, FindingAmbiguous:
			out = append(out, f.ID)
		}
	}
	return out
}

// simSimpler is what a connection may lack.
func simSimpler() []func(*evidence.Connection) {
	each := func(do func(*evidence.Transaction)) func(*evidence.Connection) {
		return func(c *evidence.Connection) {
			for i := range c.Transactions {
				do(&c.Transactions[i])
			}
		}
	}
	return []func(*evidence.Connection){
		func(c *evidence.Connection) { c.Replies = nil },
		func(c *evidence.Connection) { c.Local = "" },
		func(c *evidence.Connection) { c.Addressed = nil },
		func(c *evidence.Connection) {
			if len(c.Transactions) > 1 {
				c.Transactions = c.Transactions[len(c.Transactions)-1:]
			}
		},
		func(c *evidence.Connection) {
			if len(c.Transactions) > 1 {
				c.Transactions = c.Transactions[:1]
			}
		},
		each(func(tx *evidence.Transaction) { tx.Message = nil }),
		each(func(tx *evidence.Transaction) { tx.Addressed = nil }),
		each(func(tx *evidence.Transaction) { tx.Reply = 0 }),
		each(func(tx *evidence.Transaction) { tx.MailFrom = "" }),
		func(c *evidence.Connection) {
			if c.TLS != nil {
				c.TLS.Version = nil
			}
		},
		func(c *evidence.Connection) { c.End = c.Start },
	}
}

// simMinimal is delta debugging (Zeller and Hildebrandt, ddmin): it returns a
// part of all, in order, for which holds is true, and of which no element can
// be left out.
func simMinimal[T any](all []T, holds func([]T) bool) []T {
	for parts := 2; len(all) > 0; {
		size := (len(all) + parts - 1) / parts
		shrunk := false
		for from := 0; from < len(all); from += size {
			without := slices.Concat(all[:from], all[min(from+size, len(all)):])
			if holds(without) {
				all, shrunk = without, true
				break
			}
		}
		switch {
		case shrunk:
			parts = max(parts-1, 2)
		case size == 1:
			return all
		default:
			parts = min(2*parts, len(all))
		}
	}
	return all
}

// simAttempts groups connections that follow each other closely.
func simAttempts(cs []evidence.Connection, gap time.Duration) (out [][]evidence.Connection) {
	var end time.Time
	for _, c := range cs {
		if len(out) == 0 || c.Start.Sub(end) > gap {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], c)
		end = later(end, c.End)
	}
	return out
}

// simSameContacts reports whether fewer shows every kind of contact that all
// shows: without that, absence would be made up.
func simSameContacts(all, fewer []evidence.Connection) bool {
	kinds := func(cs []evidence.Connection) map[string]bool {
		out := make(map[string]bool)
		for _, c := range cs {
			if c.StartTLS {
				out["starttls"] = true
			}
			if c.TLS != nil && c.TLS.SNI != nil {
				out[*c.TLS.SNI] = true
			}
			if c.Destination == string(scenario.Unprotected) {
				out["ut"] = true
			}
		}
		return out
	}
	return len(kinds(all)) == len(kinds(fewer))
}

func simClone(h evidence.History) evidence.History {
	h.Connections = slices.Clone(h.Connections)
	for i, c := range h.Connections {
		h.Connections[i] = c.Clone()
	}
	h.States = slices.Clone(h.States)
	return h
}

// simSize is what shrinking makes smaller.
func simSize(h evidence.History) int {
	var b bytes.Buffer
	if err := evidence.WriteHistory(&b, h); err != nil {
		return 0
	}
	return b.Len()
}

// simKept is where minimal histories are kept; TestShrunkHistories tries all of
// them.
func simKept(name string) string { return filepath.Join("testdata", "shrunk", name) }

// simKeep writes a history and what may be said about it.
func simKeep(tb testing.TB, base string, h evidence.History, x simExpect) string {
	tb.Helper()
	x.Until = h.Until
	slices.Sort(x.Policy)
	slices.Sort(x.Candidates)
	slices.Sort(x.Findings)
	for _, values := range x.Sender {
		slices.Sort(values)
	}
	truth, err := json.MarshalIndent(x, "", " ")
	if err != nil {
		tb.Fatal(err)
	}
	var history bytes.Buffer
	if err := evidence.WriteHistory(&history, h); err != nil {
		tb.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(base), 0o755); err != nil {
		tb.Fatal(err)
	}
	for file, content := range map[string][]byte{base + ".jsonl": history.Bytes(), base + ".truth.json": append(truth, '\n')} {
		if err := os.WriteFile(file, content, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	return base + ".jsonl"
}
