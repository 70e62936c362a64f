package inbound

import (
	"slices"

	"github.com/tlsink/tlsink/inbound/probe"
)

// NoTLS stands where a TLS version would, for a server without STARTTLS or
// without a version that works.
const NoTLS = "none"

// Versions sums up the TLS versions of the servers of a domain as the study of
// TH Nürnberg does: "at least one server" and "all servers". Values are those
// of package probe, or NoTLS; all are empty if no server was tested.
type Versions struct {
	HighestOne string `json:"highest_one"` // the highest of the best server
	HighestAll string `json:"highest_all"` // the highest that every server takes, or a higher one
	LowestOne  string `json:"lowest_one"`  // the lowest that some server takes
	LowestAll  string `json:"lowest_all"`  // the lowest of the server that begins highest
	Tested     int    `json:"tested"`      // servers that count
}

// TLSVersions sums up the TLS versions. Servers that could not be tested do
// not count. A version that could not be tried counts as not taken.
func (a Analysis) TLSVersions() Versions {
	order := []string{NoTLS, probe.SSL3, probe.TLS10, probe.TLS11, probe.TLS12, probe.TLS13}
	var lowest, highest []int // of each server, as indices in order
	for _, h := range a.Hosts {
		for _, s := range h.Servers {
			if low, high, ok := s.versions(order); ok {
				lowest, highest = append(lowest, low), append(highest, high)
			}
		}
	}
	if len(lowest) == 0 {
		return Versions{}
	}
	return Versions{
		HighestOne: order[slices.Max(highest)], HighestAll: order[slices.Min(highest)],
		LowestOne: order[slices.Min(lowest)], LowestAll: order[slices.Max(lowest)],
		Tested: len(lowest),
	}
}

// versions returns the lowest and the highest version that a server takes, as
// indices in order; not ok if that was not tested.
func (s Server) versions(order []string) (low, high int, ok bool) {
	if s.StartTLS.Failed() {
		return 0, 0, true
	}
	refused := len(s.Versions) > 0
	for _, v := range s.Versions {
		i := slices.Index(order, v.Version)
		switch {
		case i > 0 && v.Accepted.OK():
			if !ok || i < low {
				low = i
			}
			high, ok = max(high, i), true
		case !v.Accepted.Failed():
			refused = false
		}
	}
	if !ok && s.StartTLS.OK() && refused {
		return 0, 0, true
	}
	return low, high, ok
}
