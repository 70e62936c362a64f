package policyinfer

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

// window is a time in which something of our own had a fault.
type window struct {
	from, to time.Time // to is zero: until the end
	why      string
}

type windows []window

// unverifiable returns when our own zone or policy could not be verified.
func unverifiable(states []evidence.State, margin time.Duration) windows {
	return windowsOf(states, margin, func(s *evidence.State) (string, time.Time) { return s.Unverifiable, s.UnverifiableSince })
}

// broken returns when one of our own servers was not what it has to be.
func broken(states []evidence.State, margin time.Duration) windows {
	return windowsOf(states, margin, func(s *evidence.State) (string, time.Time) { return s.Broken, s.BrokenSince })
}

// windowsOf returns the times of a fault, in order and apart from each other.
// They begin with the last check that passed, and last margin longer than the
// state, since caches keep what they saw.
func windowsOf(states []evidence.State, margin time.Duration, fault func(*evidence.State) (why string, since time.Time)) (out windows) {
	var all windows
	for i := range states {
		why, since := fault(&states[i])
		if why == "" {
			continue
		}
		w := window{from: states[i].Time, why: why}
		if !since.IsZero() && since.Before(w.from) {
			w.from = since
		}
		if i+1 < len(states) {
			w.to = states[i+1].Time.Add(margin)
		}
		all = append(all, w)
	}
	slices.SortStableFunc(all, func(a, b window) int { return cmp.Or(a.from.Compare(b.from), cmp.Compare(a.why, b.why)) })
	for _, w := range all {
		n := len(out)
		if n == 0 || !out[n-1].to.IsZero() && out[n-1].to.Before(w.from) {
			out = append(out, w)
			continue
		}
		last := &out[n-1]
		if last.why = w.why; !last.to.IsZero() && (w.to.IsZero() || w.to.After(last.to)) {
			last.to = w.to
		}
	}
	return out
}

// overlap reports whether any of the times touches from…to.
func (ws windows) overlap(from, to time.Time) bool {
	i := sort.Search(len(ws), func(i int) bool { return ws[i].to.IsZero() || !ws[i].to.Before(from) })
	return i < len(ws) && !ws[i].from.After(to)
}

// why returns the reason of the last time that touches an attempt; "" if none.
func (ws windows) why(as []attempt) string {
	for _, w := range slices.Backward(ws) {
		if slices.ContainsFunc(as, func(a attempt) bool { return windows{w}.overlap(a.start, a.end) }) {
			return w.why
		}
	}
	return ""
}
