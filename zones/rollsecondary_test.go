package zones_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
	"github.com/tlsink/tlsink/zones/internal/realdns"
)

// A real secondary serves every step of the rolls of a split zone, and none
// begins before it does. Knot also validates each copy.
func TestRealSecondariesRoll(t *testing.T) {
	for _, server := range secondaryServers() {
		t.Run(server.name, func(t *testing.T) {
			realdns.Need(t, server.program)
			key := testKey("hmac-sha256")
			own := realdns.FreeAddr(t)
			clk := &clock{now: time.Now()}
			o := options()
			o.Now = clk.Now
			o.Transfer = zones.Transfer{Keys: []zones.TSIGKey{key}, Secondaries: []netip.AddrPort{netip.MustParseAddrPort(own)}}
			o.Keys = zones.KeyOptions{Split: true, Propagation: time.Second, DSTTL: time.Second, Synced: func(_ context.Context, serial uint32) error {
				m := lookup(t, own, zoneName, dns.TypeSOA)
				if m == nil || len(m.Answer) == 0 {
					return fmt.Errorf("%s does not answer", own)
				}
				if soa := m.Answer[0].(*dns.SOA); int32(soa.Serial-serial) < 0 {
					return fmt.Errorf("%s has serial %d", own, soa.Serial)
				}
				return nil
			}}
			z := newZone(t, o)
			addrs, _ := serve(t, z, "127.0.0.1:0")
			server.start(t, own, addrs[0], key)
			eventually(t, "the first copy", func() bool { return upToDate(t, own, z) })

			phase := func(want zones.Phase) {
				t.Helper()
				if s := z.Roll(); s.Phase != want {
					t.Fatalf("want the phase %q:\n%s", want, s)
				}
				eventually(t, "the step to count", func() bool { return z.Advance(t.Context()) == nil })
				eventually(t, "the copy of this phase", func() bool { return upToDate(t, own, z) })
				checkSecondary(t, z, own)
				if want == zones.PhasePublish || want == zones.PhaseRetire {
					clk.Advance(63 * time.Second) // in all less than TSIG allows
				}
			}
			step := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			for _, role := range []zones.Role{zones.ZSK, zones.KSK} {
				step(z.StartRoll(t.Context(), role))
				phase(zones.PhasePublish)
				step(z.Advance(t.Context()))
				if role == zones.KSK {
					phase(zones.PhaseHandOver)
					step(z.ConfirmDS(t.Context()))
				}
				phase(zones.PhaseRetire)
				step(z.Advance(t.Context()))
				phase("")
			}
			if got := roles(z); got != "zsk active, ksk active" {
				t.Error(got)
			}
		})
	}
}
