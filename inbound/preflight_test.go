package inbound_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
)

// believed is a resolver that validates, or only should.
type believed struct {
	*world
	err error
}

func (b believed) Check(context.Context) error { return b.err }

// What is wrong with the resolver is nothing that a domain fails.
func TestResolverOfNoUse(t *testing.T) {
	const zone = "example.org. MX 10 mx.example.org.\nmx.example.org. A 1.1.1.1\n"
	for _, c := range []struct {
		name   string
		status dnssec.Status // of everything
		check  error
		none   bool // there is no Check
		want   check.Outcome
		why    string
	}{
		{"bogus root", dnssec.Bogus, nil, true, check.Untested, "not even the root zone"},
		{"insecure root, validated here", dnssec.Insecure, nil, true, check.No, ""},
		{"a resolver that should validate", dnssec.Insecure, errors.New("it does not vouch for the root zone"), false, check.Untested, "does not vouch"},
		{"a resolver that validates", dnssec.Insecure, nil, false, check.No, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := analyzer(t, zone, func(o *inbound.Options, s *setup) {
				s.world.status["."] = c.status
				s.world.status["org."] = c.status
				if !c.none {
					o.Resolver = believed{s.world, c.check}
				}
			})
			a := s.analyze(t, "example.org")
			if c.want == check.Untested {
				if a.Route != inbound.RouteUnknown || a.MX.Status != dnssec.Error || !strings.Contains(a.MX.Why, c.why) || a.SPF.Published.Outcome != check.Untested {
					t.Errorf("route %s, MX %+v, SPF %+v", a.Route, a.MX, a.SPF.Published)
				}
				return
			}
			if len(a.Hosts) != 1 || a.Hosts[0].DANE.Outcome != c.want {
				t.Errorf("hosts %+v", a.Hosts)
			}
		})
	}
}
