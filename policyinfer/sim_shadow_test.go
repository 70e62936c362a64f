package policyinfer

import (
	"net/netip"
	"slices"

	"github.com/tlsink/tlsink/scenario"
)

// simOutcome is one connection as a sender made it.
type simOutcome struct {
	host   netip.Addr
	target scenario.Host
	domain scenario.Domain
	sni    bool
	kind   scenario.Kind
	early  bool // it may not have fetched the policy yet

	offered, hello, tls, delivered, refused, explicit bool
}

// simFit says whether a sender of another policy would have done the same.
type simFit int

const (
	simImpossible simFit = iota
	simUnlike            // it would not have left; but one may leave for other reasons
	simFits
)

// simFitOf judges o by what can be seen of it: whom it was for is hidden
// where neither SNI nor a recipient tells, and whether it knew a policy early.
func simFitOf(p Policy, o simOutcome) simFit {
	target, fit := scenario.MX04, simImpossible
	if known := o.delivered || o.hello && o.sni; known {
		target = o.target
	} else {
		fit = simFitAt(p, o, scenario.UT, simView{})
	}
	for _, fetched := range []bool{true, false} {
		if fetched || o.early {
			fit = max(fit, simFitAt(p, o, target, simView{fetched: fetched}))
		}
	}
	return fit
}

func simFitAt(p Policy, o simOutcome, h scenario.Host, v simView) simFit {
	r := simRulesFor(p, h.Domain(), v)
	fits := func(would bool) simFit {
		if would {
			return simFits
		}
		return simImpossible
	}
	left := func(would bool) simFit {
		if would || !o.explicit {
			return simFits
		}
		return simUnlike
	}
	switch {
	case simSkips(p, h, v), o.hello && (!simWantsTLS(p, r) || simNames(p, r) != o.sni):
		return simImpossible
	case o.delivered && o.tls:
		return fits(simAccepts(p, r, h, o.sni, o.kind))
	case o.delivered && o.offered:
		return fits(!simWantsTLS(p, r) || simMayFallBack(p, r)) // TLS may have failed where nobody saw it
	case o.delivered:
		return fits(!simNeedsTLS(p, r))
	case o.refused && o.tls:
		return left(!simAccepts(p, r, h, o.sni, o.kind))
	case o.refused:
		return left(simNeedsTLS(p, r))
	}
	return simFits
}

// simShadow holds the policies under which one sender would have done all that
// was seen. Having left a few times for no
// reason of the policy excludes none.
type simShadow struct {
	suspects []simSuspect
	same     map[simOutcome]bool // all that are left do the same
}

type simSuspect struct {
	p      Policy
	unlike map[simPlace]simUnlikes
}

// simUnlikes counts the attempts in which this sender left where the suspect
// would not have. Inference doubts some refusals, so a few exclude nothing.
type simUnlikes struct{ attempts, last int }

const simManyUnlike = 4

// simPlace is where a sender leaves: once may have a reason of its own.
type simPlace struct {
	host   netip.Addr
	target scenario.Host
	kind   scenario.Kind
}

func newSimShadow(all []Policy) *simShadow {
	s := &simShadow{same: make(map[simOutcome]bool)}
	for _, p := range all {
		s.suspects = append(s.suspects, simSuspect{p, make(map[simPlace]simUnlikes)})
	}
	return s
}

func (s *simShadow) saw(o simOutcome, attempt int) {
	place := simPlace{o.host, o.target, o.kind}
	o.host = netip.Addr{}
	if s.same[o] {
		return
	}
	s.same[o] = true
	s.suspects = slices.DeleteFunc(s.suspects, func(x simSuspect) bool {
		fit := simFitOf(x.p, o)
		if fit == simUnlike {
			s.same[o] = false
			n := x.unlike[place]
			if n.last != attempt {
				n = simUnlikes{n.attempts + 1, attempt}
				x.unlike[place] = n
			}
			return n.attempts >= simManyUnlike
		}
		return fit == simImpossible
	})
}

func (s *simShadow) policies() []Policy {
	out := make([]Policy, len(s.suspects))
	for i, x := range s.suspects {
		out[i] = x.p
	}
	return out
}

func (s *simShadow) has(p Policy) bool {
	return slices.ContainsFunc(s.suspects, func(x simSuspect) bool { return x.p == p })
}
