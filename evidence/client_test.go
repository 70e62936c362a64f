package evidence_test

import (
	"net/netip"
	"testing"

	"github.com/tlsink/tlsink/evidence"
)

func TestClientOf(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.10":           "192.0.2.10/32",
		"::ffff:192.0.2.10":    "192.0.2.10/32",
		"2001:db8:0:1::ffff":   "2001:db8:0:1::/64",
		"fe80::1%eth0":         "fe80::/64",
		"2001:db8:0:1:8000::1": "2001:db8:0:1::/64",
	} {
		if got := evidence.ClientOf(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("ClientOf(%s) = %s, want %s", in, got, want)
		}
	}
	if got := evidence.ClientOf(netip.Addr{}); got.IsValid() {
		t.Errorf("ClientOf of no address = %v", got)
	}
}
