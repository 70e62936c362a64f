package rfc2136_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/zones/internal/realdns"
	"github.com/tlsink/tlsink/zones/providertest"
	"github.com/tlsink/tlsink/zones/rfc2136"
)

// settle is what real servers get.
func settle(o *rfc2136.Options) { o.Settle = 2 * time.Second }

// withServers runs a test with each of the real servers.
func withServers(t *testing.T, test func(*testing.T, *realdns.Server)) {
	inline := func(t *testing.T, c realdns.Config) *realdns.Server {
		c.Inline = true
		return realdns.BIND(t, c)
	}
	for name, start := range map[string]func(*testing.T, realdns.Config) *realdns.Server{
		"knot": realdns.Knot, "bind": realdns.BIND, "bind, inline": inline,
	} {
		t.Run(name, func(t *testing.T) {
			test(t, start(t, realdns.Config{Zone: zone, Records: "@ TXT \"stays\"\nwww CNAME www.other.example.\n"}))
		})
	}
}

func TestRealConformance(t *testing.T) {
	withServers(t, func(t *testing.T, s *realdns.Server) {
		providertest.Run(t, newProvider(t, s.Addr, settle), zone, providertest.Options{})
	})
}

// What goes through the provider is signed by the server at once, and a validating
// resolver takes it for secure, as it does the absence of the rest.
func TestRealAnswersValidate(t *testing.T) {
	withServers(t, func(t *testing.T, s *realdns.Server) {
		p := newProvider(t, s.Addr, settle)
		resolver, err := dnssec.New(dnssec.Options{TrustAnchors: s.Anchors(t), Servers: []string{s.Addr}, CacheEntries: -1})
		if err != nil {
			t.Fatal(err)
		}
		set := func(recs ...libdns.Record) {
			t.Helper()
			if _, err := p.SetRecords(t.Context(), zone, recs); err != nil {
				t.Fatal(err)
			}
		}
		expect := func(name string, qtype uint16, rcode int, want ...string) {
			t.Helper()
			a, err := resolver.Lookup(t.Context(), name+zone, qtype)
			if err != nil || a.Status != dnssec.Secure || a.Rcode != rcode {
				t.Errorf("%s %s: %s %s, %v", name, dns.TypeToString[qtype], a.Status, a.Why, err)
			}
			got := []string{}
			for _, rr := range a.RRs {
				got = append(got, strings.ToLower(strings.TrimPrefix(rr.String(), rr.Header().String())))
				if rr.Header().Ttl != 60 {
					t.Errorf("TTL of %v: want 60", rr)
				}
			}
			if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(got)); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", name, dns.TypeToString[qtype], diff)
			}
		}
		const ttl = time.Minute
		for _, host := range []string{"mx03.et", "mx04.et", "mx05.et", "ut"} { // BIND wants them first
			set(libdns.Address{Name: host, TTL: ttl, IP: netip.MustParseAddr("192.0.2.1")})
		}
		tlsa := func(b string) libdns.RR {
			return libdns.RR{Name: "_25._tcp.mx04.et", TTL: ttl, Type: "TLSA", Data: "3 1 1 " + strings.Repeat(b, 32)}
		}
		for round, host := range []string{"mx03", "mx04", "mx05"} {
			id := fmt.Sprint("v=STSv1; id=", round, ";")
			set(
				libdns.MX{Name: "et", TTL: ttl, Preference: 10, Target: host + ".et." + zone}, tlsa(fmt.Sprint("a", round)),
				libdns.TXT{Name: "_mta-sts.et", TTL: ttl, Text: id},
			)
			expect("et.", dns.TypeMX, dns.RcodeSuccess, "10 "+host+".et."+zone)
			expect("_25._tcp.mx04.et.", dns.TypeTLSA, dns.RcodeSuccess, "3 1 1 "+strings.Repeat(fmt.Sprint("a", round), 32))
			expect("_mta-sts.et.", dns.TypeTXT, dns.RcodeSuccess, fmt.Sprintf("%q", strings.ToLower(id)))
		}
		set(libdns.MX{Name: "ut", TTL: ttl, Preference: 10, Target: "ut." + zone})
		expect("_25._tcp.ut.", dns.TypeTLSA, dns.RcodeNameError)
		expect("_mta-sts.ut.", dns.TypeTXT, dns.RcodeNameError)
		expect("ut.", dns.TypeTLSA, dns.RcodeSuccess)
		if _, err := p.DeleteRecords(t.Context(), zone, []libdns.Record{libdns.RR{Name: "_25._tcp.mx04.et", Type: "TLSA"}}); err != nil {
			t.Fatal(err)
		}
		expect("_25._tcp.mx04.et.", dns.TypeTLSA, dns.RcodeNameError)
	})
}

// A zone of many messages is transferred with every message verified.
func TestRealLargeTransfer(t *testing.T) {
	withServers(t, func(t *testing.T, s *realdns.Server) {
		p := newProvider(t, s.Addr, settle)
		const calls, names = 8, 30
		for call := range calls {
			var recs []libdns.Record
			for i := range names {
				recs = append(recs, libdns.TXT{Name: fmt.Sprintf("n%d-%d", call, i), Text: strings.Repeat("x", 1000)})
			}
			if _, err := p.SetRecords(t.Context(), zone, recs); err != nil {
				t.Fatal(err)
			}
		}
		recs, err := p.GetRecords(t.Context(), zone)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, rec := range recs {
			if txt, ok := rec.(libdns.TXT); ok && len(txt.Text) == 1000 {
				n++
			}
		}
		if n != calls*names {
			t.Errorf("%d records, want %d", n, calls*names)
		}
	})
}

// Real servers say in many ways what is wrong; each becomes one clear message.
func TestRealErrors(t *testing.T) {
	withServers(t, func(t *testing.T, s *realdns.Server) {
		for _, c := range []struct {
			name, zone string
			change     func(*rfc2136.Options)
			rec        libdns.Record
			want       []string
		}{
			{"key", zone, func(o *rfc2136.Options) { o.KeyName = "other.key" }, nil, []string{"does not know key"}},
			{"secret", zone, func(o *rfc2136.Options) { o.Secret = "d3Jvbmc=" }, nil, []string{"another secret"}},
			{"algorithm", zone, func(o *rfc2136.Options) { o.Algorithm = "hmac-sha512" }, nil, []string{"does not know key", "another secret"}},
			{"clock", zone, func(o *rfc2136.Options) {
				o.Now = func() time.Time { return time.Now().Add(-time.Hour) }
			}, nil, []string{"clocks"}},
			{"zone", "other.example.", nil, nil, []string{"not the primary"}},
			{"CNAME", zone, nil, libdns.TXT{Name: "www", Text: "x"}, []string{"CNAME"}},
		} {
			var changes []func(*rfc2136.Options)
			if c.change != nil {
				changes = append(changes, c.change)
			}
			if c.rec == nil {
				c.rec = libdns.TXT{Name: "x", Text: "x"}
			}
			p := newProvider(t, s.Addr, append(changes, settle)...)
			_, err := p.SetRecords(t.Context(), c.zone, []libdns.Record{c.rec})
			contains := func() bool {
				for _, w := range c.want {
					if err != nil && strings.Contains(err.Error(), w) {
						return true
					}
				}
				return false
			}
			if !contains() {
				t.Errorf("%s: %v, want one of %q", c.name, err, c.want)
			}
		}
	})
}
