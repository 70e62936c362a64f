package policyinfer

import (
	"slices"
	"sort"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

// window is a time in which our own zone or policy could not be verified.
type window struct {
	from, to time.Time // to is zero: until the end
	why      string
}

type windows []window

// unverifiable returns those times, in order and apart from each other. They
// last margin longer than the state, since caches keep what they saw.
func unverifiable(states []evidence.State, margin time.Duration) (out windows) {
	for i, s := range states {
		if s.Unverifiable == "" {
			continue
		}
		w := window{from: s.Time, why: s.Unverifiable}
		if i+1 < len(states) {
			w.to = states[i+1].Time.Add(margin)
		}
		if n := len(out); n > 0 && !out[n-1].to.IsZero() && !out[n-1].to.Before(w.from) {
			out[n-1].to, out[n-1].why = w.to, w.why
			continue
		}
		out = append(out, w)
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
