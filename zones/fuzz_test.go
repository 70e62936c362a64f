package zones_test

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
)

// No message makes Answer panic; whatever it answers can be packed and fits
// the client's buffer, and what it denies is proven.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{zoneName, "et." + zoneName, "_25._tcp.mx04.et." + zoneName, "*.ut." + zoneName, `\000.` + zoneName, "org."} {
		for _, qtype := range []uint16{dns.TypeMX, dns.TypeTLSA, dns.TypeANY, dns.TypeDS, dns.TypeRRSIG} {
			wire, err := new(dns.Msg).SetQuestion(name, qtype).SetEdns0(600, true).Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire, true)
			f.Add(wire[:len(wire)-4], false)
		}
	}
	z := newZone(f, options())
	f.Fuzz(func(t *testing.T, wire []byte, udp bool) {
		if out := zones.Respond(t.Context(), z, wire, client(), udp); len(out) > dns.MaxMsgSize || udp && len(out) > 1232 {
			t.Errorf("%d octets", len(out))
		}
		q := new(dns.Msg)
		if q.Unpack(wire) != nil {
			return
		}
		reply := z.Answer(t.Context(), q, client(), udp)
		if reply == nil {
			if !q.Response {
				t.Error("no answer")
			}
			return
		}
		out, err := reply.Pack()
		if err != nil {
			t.Fatalf("%v\n%v", err, reply)
		}
		limit := dns.MaxMsgSize
		if udp {
			limit = dns.MinMsgSize
			if opt := q.IsEdns0(); opt != nil {
				limit = min(max(int(opt.UDPSize()), limit), 1232)
			}
		}
		if len(out) > limit {
			t.Errorf("%d octets, at most %d\n%v", len(out), limit, reply)
		}
		if opt := reply.IsEdns0(); opt != nil && opt.Do() && reply.Authoritative && !reply.Truncated && q.Question[0].Qtype != dns.TypeRRSIG {
			verify(t, z, reply)
		}
	})
}
