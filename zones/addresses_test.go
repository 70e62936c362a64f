package zones_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// With addresses of their own for et's hosts and for ut, only those names have
// them: mail of ours comes from the others, and nothing else is reached there.
func TestOwnAddresses(t *testing.T) {
	o := options()
	o.MXAddresses = []netip.Addr{netip.MustParseAddr("192.0.2.27")}
	o.UTAddresses = []netip.Addr{netip.MustParseAddr("192.0.2.26"), netip.MustParseAddr("2001:db8::26")}
	records, err := newZone(t, o).GetRecords(t.Context(), zoneName)
	if err != nil {
		t.Fatal(err)
	}
	named := make(map[string][]string) // by address
	var spf []string
	for _, r := range records {
		rr := r.RR()
		switch {
		case rr.Type == "A" || rr.Type == "AAAA":
			named[rr.Data] = append(named[rr.Data], rr.Name)
		case rr.Type == "TXT" && strings.HasPrefix(rr.Data, "v=spf1"):
			spf = append(spf, rr.Name+" "+rr.Data)
		}
	}
	var hosts []string
	for _, et := range []string{"et", "et1"} {
		for _, h := range []string{"mx03", "mx04", "mx05", "mx06"} {
			hosts = append(hosts, h+"."+et)
		}
	}
	service := []string{"@", "mta-sts.et", "mta-sts.et1", "mx", "ns1"}
	want := map[string][]string{
		"192.0.2.25": service, "2001:db8::25": service, "192.0.2.27": hosts,
		"192.0.2.26": {"ut", "ut1"}, "2001:db8::26": {"ut", "ut1"},
	}
	for _, names := range named {
		slices.Sort(names)
	}
	for _, names := range want {
		slices.Sort(names)
	}
	if diff := cmp.Diff(want, named); diff != "" {
		t.Errorf("names by address (-want +got):\n%s", diff)
	}
	slices.Sort(spf)
	wantSPF := []string{"@ v=spf1 mx -all", "et v=spf1 -all", "et1 v=spf1 -all", "mx v=spf1 a -all", "ut v=spf1 -all", "ut1 v=spf1 -all"}
	if diff := cmp.Diff(wantSPF, spf); diff != "" {
		t.Errorf("SPF (-want +got):\n%s", diff)
	}
}
