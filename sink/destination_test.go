package sink_test

import (
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/scenario"
)

// An address that one domain has to itself tells what a connection is for, as
// long as neither a recipient nor SNI says more.
func TestDestinationByAddress(t *testing.T) {
	for name, c := range map[string]struct {
		to     scenario.Domain
		phase  evidence.Phase
		play   func(c *client)
		want   string
		server int
	}{
		"nothing said":            {scenario.Unprotected, evidence.Secure, func(c *client) { c.expect(220) }, "ut", 7},
		"EHLO":                    {scenario.Unprotected, evidence.Downgrade, func(c *client) { c.hello() }, "ut", 7},
		"EHLO at et's":            {scenario.ET, evidence.Downgrade, func(c *client) { c.hello() }, "et", 1},
		"TLS without SNI":         {scenario.ET, evidence.Secure, func(c *client) { c.secured("") }, "et", 2},
		"SNI of the other domain": {scenario.ET, evidence.Secure, func(c *client) { c.secured(host(scenario.UT)) }, "ut", 7},
		"a recipient":             {scenario.Unprotected, evidence.Secure, func(c *client) { c.hello(); c.mail("en@et.sink.example"); c.send(body); c.expect(451) }, "et", 1},
		"a shared address":        {"", evidence.Downgrade, func(c *client) { c.hello() }, "unknown", 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, c.phase)
			f.director.to = c.to
			client := f.dial(t, f.listen(t))
			c.play(client)
			client.cmd("QUIT", 221)
			if r := f.director.next(t); r.Destination != c.want || r.Server != c.server {
				t.Errorf("destination %s, server %d; want %s, %d", r.Destination, r.Server, c.want, c.server)
			}
		})
	}
}

// The default certificate matches no TLSA record of et, and ut has none: that
// much is known from the address, too.
func TestTLSAByAddress(t *testing.T) {
	for to, want := range map[scenario.Domain]scenario.TLSA{scenario.ET: scenario.TLSAMismatch, scenario.Unprotected: scenario.TLSANone, "": scenario.TLSAUnknown} {
		f := newFixture(t, evidence.Secure)
		f.director.to = to
		c := f.dial(t, f.listen(t))
		c.secured("")
		c.cmd("QUIT", 221)
		if got := f.director.next(t).TLS.TLSA; got != string(want) {
			t.Errorf("to %q: TLSA %s, want %s", to, got, want)
		}
	}
}
