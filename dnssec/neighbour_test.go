package dnssec_test

import (
	"bytes"
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/zones"
)

// Our own zone validates from its DS, with nothing but its own server: what
// the self-check asks for (DESIGN: preconditions).
func TestOwnZone(t *testing.T) {
	names := scenario.Names("sink.example", 0)
	data := []zones.TLSARecord{{Usage: 3, Selector: 1, MatchingType: 1, Data: bytes.Repeat([]byte{7}, 32)}}
	published := map[string][]zones.TLSARecord{scenario.ServiceHost("sink.example"): data}
	for _, h := range scenario.MXHosts() {
		published[names.Host(h)] = data
	}
	z, err := zones.New(zones.Options{
		Zone: "sink.example", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.25")}, TLSA: published, PolicyID: "1",
		Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	var anchors []dns.RR
	for _, ds := range z.DS() {
		anchors = append(anchors, ds)
	}
	client := netip.MustParseAddrPort("192.0.2.1:5353")
	r, err := dnssec.New(dnssec.Options{
		TrustAnchors: anchors, Servers: []string{"own"}, Now: func() time.Time { return now },
		Exchange: func(ctx context.Context, m *dns.Msg, network, _ string) (*dns.Msg, error) {
			return z.Answer(ctx, m, client, network == "udp"), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		qtype uint16
		rrs   int
		rcode int
	}{
		{names.ET, dns.TypeMX, 4, dns.RcodeSuccess},
		{names.Host(scenario.MX04), dns.TypeA, 1, dns.RcodeSuccess},
		{names.Host(scenario.MX04), dns.TypeAAAA, 0, dns.RcodeSuccess},
		{names.TLSA(scenario.MX04), dns.TypeTLSA, 1, dns.RcodeSuccess},
		{names.STSRecord(), dns.TypeTXT, 1, dns.RcodeSuccess},
		{names.UT, dns.TypeMX, 1, dns.RcodeSuccess},
		{names.TLSA(scenario.UT), dns.TypeTLSA, 0, dns.RcodeNameError},
		{"_mta-sts." + names.UT, dns.TypeTXT, 0, dns.RcodeNameError},
	} {
		a, err := r.Lookup(t.Context(), c.name, c.qtype)
		if err != nil || a.Status != dnssec.Secure || len(a.RRs) != c.rrs || a.Rcode != c.rcode {
			t.Errorf("%s %s: %+v, %v", c.name, dns.TypeToString[c.qtype], a, err)
		}
	}
}
