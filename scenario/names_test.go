package scenario_test

import (
	"slices"
	"testing"

	"github.com/tlsink/tlsink/scenario"
)

// Every name that a slot has is found again, with its slot and host.
func TestNamesAndFindAreInverse(t *testing.T) {
	for _, slot := range []int{0, 1, 3, 12} {
		n := scenario.Names("Sink.Example.", slot)
		want := map[string]scenario.Target{
			n.ET:                  {Slot: slot, Role: scenario.RoleET},
			n.UT:                  {Slot: slot, Role: scenario.RoleUT, Host: scenario.UT},
			n.Policy:              {Slot: slot, Role: scenario.RolePolicy},
			n.STSRecord():         {Slot: slot, Role: scenario.RoleSTSRecord},
			n.TLSA(scenario.UT):   {Slot: slot, Role: scenario.RoleTLSA, Host: scenario.UT},
			n.TLSA(scenario.MX04): {Slot: slot, Role: scenario.RoleTLSA, Host: scenario.MX04},
		}
		for _, h := range scenario.MXHosts() {
			want[n.Host(h)] = scenario.Target{Slot: slot, Role: scenario.RoleMX, Host: h}
		}
		for name, target := range want {
			got, ok := scenario.Find("sink.example", name)
			if !ok || got != target {
				t.Errorf("Find(%q) = %+v, %v; want %+v", name, got, ok, target)
			}
		}
	}
}

func TestFindRefusesForeignNames(t *testing.T) {
	for _, name := range []string{
		"", ".", "example", "notsink.example", "et.sink.example.org", "mx07.et.sink.example",
		"et0.sink.example", "et01.sink.example", "et-1.sink.example", "mx03.ut.sink.example",
		"mta-sts.ut.sink.example", "_mta-sts.ut.sink.example", "a.mx03.et.sink.example",
		"_25._tcp.et.sink.example", "_25._tcp._25._tcp.ut.sink.example", "_443._tcp.ut.sink.example",
	} {
		if got, ok := scenario.Find("sink.example", name); ok {
			t.Errorf("Find(%q) = %+v, want nothing", name, got)
		}
	}
}

func TestServerOf(t *testing.T) {
	for _, c := range []struct {
		name string
		tls  bool
		sni  scenario.Host
		rcpt scenario.Domain
		want scenario.Server
	}{
		{"plaintext to et", false, "", scenario.ET, 1},
		{"plaintext to ut", false, "", scenario.Unprotected, 7},
		{"plaintext, left", false, "", scenario.UnknownDomain, 1},
		{"no SNI", true, "", scenario.ET, 2},
		{"no SNI, ut", true, "", scenario.Unprotected, 7},
		{"SNI mx05", true, scenario.MX05, scenario.UnknownDomain, 5},
		{"SNI wins over a recipient that disagrees", true, scenario.MX05, scenario.Unprotected, 5},
		{"SNI ut", true, scenario.UT, scenario.UnknownDomain, 7},
	} {
		if got := scenario.ServerOf(c.tls, c.sni, c.rcpt); got != c.want {
			t.Errorf("%s: server %d, want %d", c.name, got, c.want)
		}
	}
}

// Slots share the certificate of a face, which names its host in every one.
func TestCertificateNames(t *testing.T) {
	for _, c := range []struct {
		of    scenario.Certificate
		slots int
		want  []string
	}{
		{scenario.Certificate{Owner: scenario.OwnerService, Kind: scenario.CA}, 9, []string{"sink.example", "mx.sink.example"}},
		{scenario.Certificate{Owner: scenario.OwnerMX05, Kind: scenario.CA}, 1, []string{"mx05.et.sink.example"}},
		{scenario.Certificate{Owner: scenario.OwnerMX05, Kind: scenario.CA}, 3, []string{"mx05.et.sink.example", "mx05.et1.sink.example", "mx05.et2.sink.example"}},
		{scenario.Certificate{Slot: 2, Owner: scenario.OwnerUT, Kind: scenario.SelfSigned}, 3, []string{"ut.sink.example", "ut1.sink.example", "ut2.sink.example"}},
		{scenario.Certificate{Owner: scenario.OwnerMTASTS, Kind: scenario.CA}, 2, []string{"mta-sts.et.sink.example", "mta-sts.et1.sink.example"}},
		{scenario.Certificate{Owner: scenario.OwnerDefault, Kind: scenario.CA}, 2, []string{
			"mx03.et.sink.example", "mx04.et.sink.example", "mx05.et.sink.example", "mx06.et.sink.example", "et.sink.example", "ut.sink.example",
			"mx03.et1.sink.example", "mx04.et1.sink.example", "mx05.et1.sink.example", "mx06.et1.sink.example", "et1.sink.example", "ut1.sink.example",
		}},
	} {
		if got := scenario.CertificateNames("Sink.Example.", c.slots, c.of); !slices.Equal(got, c.want) {
			t.Errorf("%+v in %d slots: %v, want %v", c.of, c.slots, got, c.want)
		}
	}
	for _, c := range scenario.Certificates() {
		if c != c.Shared() {
			t.Errorf("%+v is listed, and %+v stands behind it", c, c.Shared())
		}
		// A public CA puts a hundred names into one.
		if n := len(scenario.CertificateNames("sink.example", 16, c)); n > 100 {
			t.Errorf("%+v has %d names with 16 slots", c, n)
		}
	}
}
