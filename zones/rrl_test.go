package zones_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
)

// flood sends a query n times and counts what comes back.
type outcome struct{ full, cut, none int }

func flood(t *testing.T, z *zones.Zone, from string, udp bool, n int, query func(i int) *dns.Msg) (got outcome) {
	t.Helper()
	for i := range n {
		wire, err := query(i).Pack()
		if err != nil {
			t.Fatal(err)
		}
		out := zones.Respond(t.Context(), z, wire, netip.MustParseAddrPort(from), udp)
		var m dns.Msg
		switch {
		case out == nil:
			got.none++
		case m.Unpack(out) != nil:
			t.Fatal("answer can't be read")
		case m.Truncated:
			got.cut++
			if len(out) > len(wire)+16 { // of a server cookie
				t.Errorf("%d octets for a query of %d", len(out), len(wire))
			}
		default:
			got.full++
		}
	}
	return got
}

func TestRateLimit(t *testing.T) {
	fixed := func(name string, qtype uint16) func(int) *dns.Msg {
		return func(int) *dns.Msg { return new(dns.Msg).SetQuestion(name+zoneName, qtype).SetEdns0(1232, true) }
	}
	const v4 = "192.0.2.53:5353"
	limit := zones.RateLimit{Responses: 10, All: 30, Slip: 2}
	for _, c := range []struct {
		name  string
		from  string
		udp   bool
		limit zones.RateLimit
		query func(i int) *dns.Msg
		want  outcome
	}{
		{"one answer", v4, true, limit, fixed("et.", dns.TypeMX), outcome{10, 45, 45}},
		{"IPv6", "[2001:db8::53]:53", true, limit, fixed("et.", dns.TypeMX), outcome{10, 45, 45}},
		{"NODATA of one name, any type", v4, true, limit, func(i int) *dns.Msg { return fixed("ut.", uint16(1000+i))(i) }, outcome{10, 45, 45}},
		{"random names", v4, true, limit, func(i int) *dns.Msg { return fixed(fmt.Sprintf("r%d.et.", i), dns.TypeA)(i) }, outcome{10, 45, 45}},
		{"case makes no difference", v4, true, limit, func(i int) *dns.Msg { return fixed([]string{"et.", "ET.", "eT."}[i%3], dns.TypeMX)(i) }, outcome{10, 45, 45}},
		{"errors are not cut", v4, true, limit, func(int) *dns.Msg { return new(dns.Msg).SetQuestion("org.", dns.TypeA) }, outcome{55, 0, 45}},
		{"many names and types together", v4, true, limit, func(i int) *dns.Msg {
			return fixed([]string{"mx03.et.", "mx04.et.", "mx05.et.", "mx06.et.", "mx03.et1."}[i%5], []uint16{dns.TypeA, dns.TypeAAAA}[i/5%2])(i)
		}, outcome{30, 35, 35}},
		{"slip every time", v4, true, zones.RateLimit{Responses: 10, Slip: 1}, fixed("et.", dns.TypeMX), outcome{10, 90, 0}},
		{"default", v4, true, zones.RateLimit{}, fixed("et.", dns.TypeMX), outcome{20, 40, 40}},
		{"TCP", v4, false, limit, fixed("et.", dns.TypeMX), outcome{100, 0, 0}},
		{"off", v4, true, zones.RateLimit{Off: true}, fixed("et.", dns.TypeMX), outcome{100, 0, 0}},
		{"our own lookups", "127.0.0.1:53", true, limit, fixed("et.", dns.TypeMX), outcome{100, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options()
			o.RateLimit = c.limit
			z := newZone(t, o)
			if got := flood(t, z, c.from, c.udp, 100, c.query); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			if n := z.Counters(); n.Limited != uint64(c.want.none) || c.want.cut > 0 && n.Slipped != uint64(c.want.cut) {
				t.Errorf("counters %+v", n)
			}
		})
	}
}

func TestRateLimitMalformed(t *testing.T) {
	o := options()
	o.RateLimit.Responses = 10
	z := newZone(t, o)
	wire, err := new(dns.Msg).SetQuestion(zoneName, dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	answers := 0
	for range 100 {
		if zones.Respond(t.Context(), z, wire[:len(wire)-1], client(), true) != nil {
			answers++
		}
	}
	if answers != 10+45 {
		t.Errorf("%d answers", answers)
	}
}

func TestRateLimitRecovers(t *testing.T) {
	clk := newClock()
	o := options()
	o.Now, o.RateLimit = clk.Now, zones.RateLimit{Responses: 10}
	z := newZone(t, o)
	query := func(int) *dns.Msg { return new(dns.Msg).SetQuestion("et."+zoneName, dns.TypeMX) }
	from := func(addr string, want int) {
		t.Helper()
		if got := flood(t, z, addr, true, 50, query); got.full != want {
			t.Errorf("%s: %d full answers, want %d", addr, got.full, want)
		}
	}
	from("192.0.2.53:1", 10)
	from("192.0.2.200:2", 0) // the same network
	from("192.0.3.53:1", 10) // another one
	from("[2001:db8:0:1::1]:1", 10)
	from("[2001:db8:0:ff::1]:1", 0) // the same /56
	from("[2001:db8:0:100::1]:1", 10)
	clk.Advance(100 * time.Millisecond)
	from("192.0.2.53:1", 1)
	clk.Advance(time.Minute)
	from("192.0.2.53:1", 10) // no more than a second's worth is saved up
	clk.Advance(-time.Hour)
	from("192.0.2.53:1", 10) // a clock set back locks nobody out
}

// Floods from many forged networks do not make the server forget one that
// goes on, nor grow.
func TestRateLimitKeepsTheLoadedOnes(t *testing.T) {
	clk := newClock()
	o := options()
	o.Now, o.RateLimit = clk.Now, zones.RateLimit{Responses: 10, Buckets: 256}
	z := newZone(t, o)
	query := func(int) *dns.Msg { return new(dns.Msg).SetQuestion("et."+zoneName, dns.TypeMX) }
	victim := 0
	for i := range 2000 {
		victim += flood(t, z, "192.0.2.53:1", true, 5, query).full
		flood(t, z, fmt.Sprintf("10.%d.%d.1:1", i/256, i%256), true, 1, query)
		clk.Advance(time.Millisecond)
	}
	// Two seconds: 10 at once and 20 more.
	if victim > 35 {
		t.Errorf("%d full answers to one network in two seconds", victim)
	}
}
