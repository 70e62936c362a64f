package dnssec

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// What a server sends is what Texts returns, whatever the octets are.
func TestTexts(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for name, parts := range map[string][]string{
		"joined without a space": {"v=spf1 ip4:192.0.2.1", " -all"},
		"quotes and backslashes": {`v=DKIM1\; "k"=rsa\\`},
		"not ASCII":              {"caf\xc3\xa9"},
		"a number after an escape": {
			"\x001", "\\1", `\065`,
		},
		"every octet": {string(every[:128]), string(every[128:])},
		"empty":       {""},
	} {
		t.Run(name, func(t *testing.T) {
			wire := []byte("\x01x\x00\x00\x10\x00\x01\x00\x00\x00\x00\x00\x00")
			want := ""
			for _, p := range parts {
				wire = append(append(wire, byte(len(p))), p...)
				want += p
			}
			wire[12] = byte((len(wire) - 13) & 0xff)
			wire[11] = byte((len(wire) - 13) >> 8)
			rr, _, err := dns.UnpackRR(wire, 0)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{want}, Answer{RRs: []dns.RR{rr, &dns.A{}}}.Texts()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
