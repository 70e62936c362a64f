package inbound

import (
	"iter"
	"slices"

	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
)

// NoTLS stands where a TLS version would, for a server without STARTTLS or
// without a version that works.
const NoTLS = "none"

// Versions sums up the TLS versions of the servers of a domain as the study of
// TH Nürnberg does: "at least one server" and "all servers". Values are those
// of package probe, or NoTLS; empty where no server counts.
type Versions struct {
	HighestOne string `json:"highest_one"` // the highest version of the best server
	HighestAll string `json:"highest_all"` // the highest version of the worst one
	LowestOne  string `json:"lowest_one"`  // the lowest version that some server takes
	LowestAll  string `json:"lowest_all"`  // the lowest version of the server that begins highest
	// Tested is how many servers count for the highest, TestedLowest for the
	// lowest version: those where no version beyond could be one, too.
	Tested       int `json:"tested"`
	TestedLowest int `json:"tested_lowest"`
}

// TLSVersions sums up the TLS versions. A server counts only where that is
// certain: many end the connection at old versions in a way that says nothing.
func (a Analysis) TLSVersions() Versions {
	order := []string{NoTLS, probe.SSL3, probe.TLS10, probe.TLS11, probe.TLS12, probe.TLS13}
	var v Versions
	var lowest, highest []int // of each server, as indices in order
	for _, h := range a.Hosts {
		for _, s := range h.Servers {
			low, high := s.versions(order)
			if low >= 0 {
				lowest = append(lowest, low)
			}
			if high >= 0 {
				highest = append(highest, high)
			}
		}
	}
	if v.Tested = len(highest); v.Tested > 0 {
		v.HighestOne, v.HighestAll = order[slices.Max(highest)], order[slices.Min(highest)]
	}
	if v.TestedLowest = len(lowest); v.TestedLowest > 0 {
		v.LowestOne, v.LowestAll = order[slices.Min(lowest)], order[slices.Max(lowest)]
	}
	return v
}

// versions returns the lowest and the highest version that a server takes, as
// indices in order; -1 if that is not certain.
func (s Server) versions(order []string) (low, high int) {
	if s.StartTLS.Failed() || s.StartTLS.OK() && noVersion(s.Result) {
		return 0, 0
	}
	outcomes := make([]check.Outcome, len(order)) // empty where there was nothing to try it with
	for _, v := range s.Versions {
		if i := slices.Index(order, v.Version); i > 0 {
			outcomes[i] = v.Accepted.Outcome
		}
	}
	return first(slices.All(outcomes)), first(slices.Backward(outcomes))
}

// first returns the first version that is taken; -1 if there is none, or if it
// may be another one that gave no answer.
func first(outcomes iter.Seq2[int, check.Outcome]) int {
	for i, o := range outcomes {
		switch o {
		case check.Yes:
			return i
		case check.Untested:
			return -1
		}
	}
	return -1
}
