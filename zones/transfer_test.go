package zones_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
)

// copyZone takes a copy of the zone, as its records in text form.
func copyZone(t *testing.T, addr string, q *dns.Msg, key zones.TSIGKey) ([]dns.RR, error) {
	t.Helper()
	q.SetTsig(dns.CanonicalName(key.Name), dns.Fqdn(key.Algorithm), 300, time.Now().Unix())
	transfer := dns.Transfer{TsigSecret: map[string]string{dns.CanonicalName(key.Name): secretOf(key)}}
	messages, err := transfer.In(q, addr)
	if err != nil {
		return nil, err
	}
	var out []dns.RR
	for m := range messages {
		if m.Error != nil {
			err = errors.Join(err, m.Error)
		}
		out = append(out, m.RR...)
	}
	return out, err
}

func axfr() *dns.Msg { return new(dns.Msg).SetAxfr(zoneName) }

func ixfr(serial uint32) *dns.Msg {
	return new(dns.Msg).SetIxfr(zoneName, serial, "ns1."+zoneName, "hostmaster."+zoneName)
}

// text writes records as lines in order.
func text(rrs []dns.RR) []string {
	var out []string
	for _, rr := range rrs {
		out = append(out, rr.String())
	}
	slices.Sort(out)
	return out
}

// everything returns the zone as its answers show it.
func everything(t *testing.T, z *zones.Zone) []dns.RR {
	t.Helper()
	var out []dns.RR
	for name := zoneName; ; {
		nsec, ok := ask(t, z, name, dns.TypeNSEC, true).Answer[0].(*dns.NSEC)
		if !ok {
			t.Fatalf("no NSEC at %s", name)
		}
		for _, rrtype := range nsec.TypeBitMap {
			if rrtype != dns.TypeRRSIG {
				out = append(out, exchange(t, z, new(dns.Msg).SetQuestion(name, rrtype).SetEdns0(1232, true), false).Answer...)
			}
		}
		if name = nsec.NextDomain; name == zoneName {
			return out
		}
	}
}

func TestTransfer(t *testing.T) {
	for _, c := range []struct {
		name  string
		slots int
		query func(serial uint32) *dns.Msg
		whole bool // else the SOA alone
	}{
		{"AXFR", 1, func(uint32) *dns.Msg { return axfr() }, true},
		{"AXFR of many messages", 60, func(uint32) *dns.Msg { return axfr() }, true},
		{"AXFR with EDNS", 1, func(uint32) *dns.Msg { return axfr().SetEdns0(1232, true) }, true},
		{"IXFR", 60, func(serial uint32) *dns.Msg { return ixfr(serial - 1) }, true},
		{"IXFR of what the client has", 1, ixfr, false},
		{"IXFR of more than that", 1, func(serial uint32) *dns.Msg { return ixfr(serial + 1) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := transferOptions()
			o.Now, o.Slots = time.Now, c.slots
			z := newZone(t, o)
			addrs, stop := serve(t, z, "127.0.0.1:0")
			got, err := copyZone(t, addrs[0], c.query(z.Serial()), testKey("hmac-sha256"))
			if err != nil {
				t.Fatal(err)
			}
			if soa, ok := got[0].(*dns.SOA); !ok || soa.Serial != z.Serial() {
				t.Errorf("first record %v, want the SOA", got[0])
			}
			if !c.whole {
				if len(got) != 1 {
					t.Errorf("%d records, want the SOA alone", len(got))
				}
				return
			}
			if diff := cmp.Diff(got[0].String(), got[len(got)-1].String()); diff != "" {
				t.Errorf("the SOA is not the last record:\n%s", diff)
			}
			if diff := cmp.Diff(text(everything(t, z)), text(got[1:])); diff != "" {
				t.Errorf("the copy differs (-want +got):\n%s", diff)
			}
			stop() // the client may have been faster
			if n := z.Counters().Transfers; n != 1 {
				t.Errorf("%d transfers counted", n)
			}
		})
	}
}

func TestTransferRefused(t *testing.T) {
	good := testKey("hmac-sha256")
	for _, c := range []struct {
		name  string
		edit  func(*zones.Options)
		query *dns.Msg
		key   *zones.TSIGKey
		udp   bool
		rcode int
	}{
		{"without a key", nil, axfr(), nil, false, dns.RcodeRefused},
		{"IXFR without a key", nil, ixfr(1), nil, false, dns.RcodeRefused},
		{"over UDP without a key", nil, axfr(), nil, true, dns.RcodeRefused},
		{"over UDP", nil, axfr(), &good, true, dns.RcodeRefused},
		{"no keys at all", func(o *zones.Options) { o.Transfer = zones.Transfer{} }, axfr(), &good, false, dns.RcodeNotAuth},
		{"wrong key", nil, axfr(), &zones.TSIGKey{Name: good.Name, Algorithm: good.Algorithm, Secret: []byte("sixteen octets..")}, false, dns.RcodeNotAuth},
		{"another secondary's address", func(o *zones.Options) {
			o.Transfer.Secondaries = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.54:53")}
		}, axfr(), &good, false, dns.RcodeRefused},
		{"another network", func(o *zones.Options) { o.Transfer.Allow = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")} }, axfr(), &good, false, dns.RcodeRefused},
		{"other name", nil, new(dns.Msg).SetAxfr("et." + zoneName), &good, false, dns.RcodeNotAuth},
		{"other zone", nil, new(dns.Msg).SetAxfr("example."), &good, false, dns.RcodeNotAuth},
		{"IXFR without SOA", nil, new(dns.Msg).SetQuestion(zoneName, dns.TypeIXFR), &good, false, dns.RcodeFormatError},
		{"AXFR with SOA", nil, func() *dns.Msg { m := ixfr(1); m.Question[0].Qtype = dns.TypeAXFR; return m }(), &good, false, dns.RcodeFormatError},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := transferOptions()
			if c.edit != nil {
				c.edit(&o)
			}
			z := newZone(t, o)
			wire, err := c.query.Pack()
			if err != nil {
				t.Fatal(err)
			}
			if c.key != nil {
				wire, _ = signed(t, c.query, *c.key, o.Now())
			}
			var m dns.Msg
			if err := m.Unpack(zones.Respond(t.Context(), z, wire, client(), c.udp)); err != nil {
				t.Fatal(err)
			}
			if m.Rcode != c.rcode || len(m.Answer) != 0 || (m.IsTsig() == nil) != (c.key == nil || c.rcode == dns.RcodeFormatError && m.IsTsig() == nil) {
				t.Errorf("want %s\n%v", dns.RcodeToString[c.rcode], &m)
			}
		})
	}
}

// IXFR over UDP gets the present SOA, signed (RFC 1995 §2).
func TestIncrementalTransferOverUDP(t *testing.T) {
	o := transferOptions(netip.AddrPortFrom(client().Addr(), 53))
	z := newZone(t, o)
	wire, mac := signed(t, ixfr(1), testKey("hmac-sha256"), o.Now())
	out := zones.Respond(t.Context(), z, wire, client(), true)
	checkSigned(t, out, testKey("hmac-sha256"), mac)
	var m dns.Msg
	if err := m.Unpack(out); err != nil || len(m.Answer) != 1 || m.Answer[0].(*dns.SOA).Serial != z.Serial() {
		t.Errorf("%v\n%v", err, &m)
	}
}

// readMsg reads a message without a look at TSIG.
func readMsg(conn *dns.Conn) (*dns.Msg, error) {
	wire := make([]byte, dns.MaxMsgSize)
	n, err := conn.Read(wire)
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	return m, m.Unpack(wire[:n])
}

// A transfer is of one version of the zone, whatever happens meanwhile.
func TestTransferIsOfOneVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := transferOptions()
		o.Now, o.Slots = time.Now, 20 // several messages
		z := newZone(t, o)
		conn := connect(t, z)
		wire, _ := signed(t, axfr(), testKey("hmac-sha256"), time.Now())
		if _, err := conn.Write(wire); err != nil {
			t.Fatal(err)
		}
		want, serial := text(everything(t, z)), z.Serial()
		var got []dns.RR
		for len(got) < 2 || got[len(got)-1].Header().Rrtype != dns.TypeSOA {
			m, err := readMsg(conn)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.Answer...)
			rotate(t, z, len(got))
		}
		if diff := cmp.Diff(want, text(got[1:])); diff != "" || got[0].(*dns.SOA).Serial != serial || z.Serial() == serial {
			t.Errorf("the copy differs (-want +got):\n%s", diff)
		}
	})
}

// No more transfers run than may, and one that nobody reads ends.
func TestTransferLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := transferOptions()
		o.Now, o.Transfer.Transfers = time.Now, 1
		z := newZone(t, o)
		ask := func() *dns.Conn {
			conn := connect(t, z)
			wire, _ := signed(t, axfr(), testKey("hmac-sha256"), time.Now())
			if _, err := conn.Write(wire); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return conn
		}
		rcode := func(conn *dns.Conn) string {
			m, err := readMsg(conn)
			if err != nil {
				return err.Error()
			}
			return dns.RcodeToString[m.Rcode]
		}
		slow := ask()
		second := ask()
		if got := rcode(second); got != "SERVFAIL" {
			t.Errorf("a second transfer: %s", got)
		}
		wait(time.Minute)
		third := ask()
		if got := rcode(third); got != "NOERROR" {
			t.Errorf("after the first one was given up: %s", got)
		}
		if got := rcode(slow); got != "EOF" {
			t.Errorf("the first one: %s", got)
		}
	})
}

// One that is read slowly ends, too.
func TestTransferTakesNotTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := transferOptions()
		o.Now, o.Slots = time.Now, 60 // some twelve messages
		o.Transfer.Time = 10 * time.Second
		z := newZone(t, o)
		conn := connect(t, z)
		wire, _ := signed(t, axfr(), testKey("hmac-sha256"), time.Now())
		if _, err := conn.Write(wire); err != nil {
			t.Fatal(err)
		}
		for n := 0; ; n++ {
			wait(4 * time.Second)
			if _, err := readMsg(conn); err != nil {
				if n != 3 {
					t.Errorf("%d messages in ten seconds, one every four: %v", n, err)
				}
				return
			}
		}
	})
}

func TestTransferOptionsAreChecked(t *testing.T) {
	addr := netip.MustParseAddrPort("192.0.2.54:53")
	keys := []zones.TSIGKey{testKey("hmac-sha256")}
	for _, c := range []struct {
		name     string
		transfer zones.Transfer
		want     string
	}{
		{"no key", zones.Transfer{Secondaries: []netip.AddrPort{addr}}, "need a TSIG key"},
		{"no port", zones.Transfer{Keys: keys, Secondaries: []netip.AddrPort{netip.AddrPortFrom(addr.Addr(), 0)}}, "192.0.2.54:0"},
		{"no address", zones.Transfer{Keys: keys, Secondaries: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:53")}}, "0.0.0.0:53"},
		{"twice", zones.Transfer{Keys: keys, Secondaries: []netip.AddrPort{addr, netip.MustParseAddrPort("[::ffff:192.0.2.54]:53")}}, "twice"},
		{"no prefix", zones.Transfer{Keys: keys, Allow: []netip.Prefix{{}}}, "prefix"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options()
			o.Transfer = c.transfer
			if _, err := zones.New(o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

// What a secondary may still serve is never older than its signatures allow:
// expire is less than what every signature has left when it is published.
func TestExpireIsShorterThanSignatures(t *testing.T) {
	for _, validity := range []time.Duration{24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour} {
		clk := newClock()
		o := transferOptions()
		o.Now, o.Validity = clk.Now, validity
		z := newZone(t, o)
		for range 60 {
			clk.Advance(validity / 24) // as often as Run looks
			check := func() {
				soa := ask(t, z, zoneName, dns.TypeSOA, false).Answer[0].(*dns.SOA)
				if soa.Refresh > 300 || soa.Retry > 60 || soa.Expire < soa.Refresh+soa.Retry {
					t.Fatalf("timers of %v", soa)
				}
				last := clk.Now().Add(time.Duration(soa.Expire+soa.Refresh+soa.Retry) * time.Second)
				for _, rr := range everything(t, z) {
					if sig, ok := rr.(*dns.RRSIG); ok && !sig.ValidityPeriod(last) {
						t.Fatalf("%v after the last refresh: a secondary may serve until %v\n%v", validity, last, sig)
					}
				}
			}
			check() // before it is renewed
			if err := z.Refresh(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
