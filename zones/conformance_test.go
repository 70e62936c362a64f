package zones_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"

	"github.com/tlsink/tlsink/zones"
	"github.com/tlsink/tlsink/zones/providertest"
)

// lines writes records in an order that does not depend on theirs.
func lines(recs []libdns.Record) []string { return providertest.Lines(recs) }

func TestProviderConformance(t *testing.T) {
	z := newZone(t, options())
	providertest.Run(t, z, zoneName, providertest.Options{})
	signatures(t, z) // all of them verify
}

// The content for an external provider is that of the zone, but for what a name
// server has of its own.
func TestContentForProviders(t *testing.T) {
	recs, err := zones.Content(options())
	if err != nil {
		t.Fatal(err)
	}
	want, err := newZone(t, options()).GetRecords(t.Context(), zoneName)
	if err != nil {
		t.Fatal(err)
	}
	want = slices.DeleteFunc(want, func(r libdns.Record) bool { return r.RR().Name == "ns1" })
	if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(recs)); diff != "" {
		t.Errorf("content (-zone +got):\n%s", diff)
	}
	bad := options()
	bad.PolicyID = "?"
	if _, err := zones.Content(bad); err == nil || !strings.Contains(err.Error(), "policy id") {
		t.Errorf("error %v, want one about the policy id", err)
	}
}
