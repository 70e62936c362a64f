package records_test

import (
	"testing"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones/internal/records"
)

// What is taken survives the wire, and libdns.
func FuzzFromLibdns(f *testing.F) {
	f.Add("x", "TXT", `a "b" \065 \`)
	f.Add("@", "MX", "0 mx.example.")
	f.Add("_25._TCP.x", "TLSA", "3 1 1 ABCDEF")
	f.Add("x", "AAAA", "::ffff:192.0.2.1")
	f.Fuzz(func(t *testing.T, name, rrtype, data string) {
		rr, err := records.FromLibdns(zone, libdns.RR{Name: name, Type: rrtype, Data: data}, 60)
		if err != nil {
			return
		}
		wire := make([]byte, 64<<10)
		n, err := dns.PackRR(rr, wire, 0, nil, false)
		if err != nil {
			t.Fatalf("%v can't be packed: %v", rr, err)
		}
		read, _, err := dns.UnpackRR(wire[:n], 0)
		if err != nil {
			t.Fatalf("%v can't be unpacked: %v", rr, err)
		}
		back, err := records.FromLibdns(zone, records.ToLibdns(zone, read), 60)
		if err != nil || !records.SameData(back, rr) || records.IDOf(back) != records.IDOf(rr) {
			t.Errorf("%v became %v: %v", rr, back, err)
		}
	})
}
