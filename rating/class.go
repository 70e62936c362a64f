package rating

import (
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
)

// class is the colour of a domain: that of the weakest server that could be
// tested, or green.
func class(a inbound.Analysis, r Ratings) Class {
	switch a.Route {
	case inbound.RouteMX, inbound.RouteImplicit:
	default:
		return Grey
	}
	if r.Standard(DANE).Met.OK() || r.Standard(Qualified).Met.OK() && !a.DANERefuses() {
		return Green
	}
	out := Grey
	for _, h := range a.Hosts {
		for _, s := range reachedServers(h) {
			if c := serverClass(s); weakness(c) > weakness(out) {
				out = c
			}
		}
	}
	if out == Yellow && r.Standard(DANE).Met.Outcome == check.Untested {
		return Grey // where DANE may be in force, a certificate need not be trusted
	}
	return out
}

// serverClass is the colour of one server.
func serverClass(s inbound.Server) Class {
	switch {
	case s.StartTLS.Failed(): // offered, and then no version works, is no, too
		return Red
	case !s.StartTLS.OK():
		return Grey
	}
	switch valid(s).Outcome {
	case check.Yes:
		return White
	case check.No:
		return Yellow
	}
	return Grey
}

func weakness(c Class) int {
	switch c {
	case White:
		return 1
	case Yellow:
		return 2
	case Red:
		return 3
	}
	return 0
}
