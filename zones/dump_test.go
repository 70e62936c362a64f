package zones_test

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
)

// The dump of a zone has everything that queries find, once, SOA first.
func TestAll(t *testing.T) {
	z := newZone(t, options())
	all := zones.All(z)
	if all[0].Header().Rrtype != dns.TypeSOA {
		t.Errorf("begins with %v", all[0])
	}
	seen, sigs := make(map[string]bool), make(map[string]bool)
	for _, rr := range all {
		if seen[rr.String()] {
			t.Errorf("twice: %v", rr)
		}
		seen[rr.String()] = true
		if sig, ok := rr.(*dns.RRSIG); ok {
			sigs[sig.Hdr.Name+dns.TypeToString[sig.TypeCovered]] = true
		}
	}
	found := signatures(t, z)
	if len(found) != len(sigs) {
		t.Errorf("%d signatures, queries find %d", len(sigs), len(found))
	}
	for id := range found {
		if !sigs[id] {
			t.Errorf("%s is missing", id)
		}
	}
}
