package scenario_test

import (
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
