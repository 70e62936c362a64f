package config

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/scenario"
)

func TestDestinations(t *testing.T) {
	for name, c := range map[string]struct {
		dns, listen string
		want        map[string]scenario.Domain
	}{
		"one address":                {want: map[string]scenario.Domain{}},
		"ut's own":                   {dns: `ut_addresses = ["192.0.2.26", "2001:db8::26"]`, want: map[string]scenario.Domain{"192.0.2.26": "ut", "2001:db8::26": "ut"}},
		"ut named with et":           {dns: `ut_addresses = ["192.0.2.25"]`, want: map[string]scenario.Domain{}},
		"both apart from the host's": {dns: "mx_addresses = [\"192.0.2.27\"]\nut_addresses = [\"192.0.2.26\"]", want: map[string]scenario.Domain{"192.0.2.26": "ut", "192.0.2.27": "et"}},
		"both at another address":    {dns: `mx_addresses = ["192.0.2.27"]`, want: map[string]scenario.Domain{}},
		"IPv4 written as IPv6":       {dns: `ut_addresses = ["::ffff:192.0.2.26"]`, want: map[string]scenario.Domain{"192.0.2.26": "ut"}},
		"behind NAT": {
			dns: `ut_addresses = ["192.0.2.26"]`, listen: "[listen]\nnat = {\"10.0.0.26\" = \"192.0.2.26\", \"10.0.0.25\" = \"192.0.2.25\"}",
			want: map[string]scenario.Domain{"192.0.2.26": "ut", "10.0.0.26": "ut"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := Load(writeFile(t, required+c.dns+"\n"+c.listen+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[string]scenario.Domain)
			for a, d := range cfg.Destinations() {
				got[a.String()] = d
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("destinations (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDowngradeMode(t *testing.T) {
	for name, c := range map[string]struct{ dns, mode, want string }{
		"default":           {},
		"timed":             {mode: "timed"},
		"first contact":     {dns: `ut_addresses = ["192.0.2.26"]`, mode: "first-contact"},
		"ut at et's":        {mode: "first-contact", want: "ut has no address of its own: list one in dns.ut_addresses"},
		"ut named at et's":  {dns: `ut_addresses = ["192.0.2.25"]`, mode: "first-contact", want: "shares 192.0.2.25 of dns.ut_addresses"},
		"ut partly at et's": {dns: "mx_addresses = [\"192.0.2.27\"]\nut_addresses = [\"192.0.2.26\", \"192.0.2.27\"]", mode: "first-contact", want: "shares 192.0.2.27"},
		"not in DNS":        {dns: "[listen]\nnat = {\"10.0.0.26\" = \"192.0.2.29\"}", want: `listen.nat has 192.0.2.29: want one of dns.addresses`},
		"no address":        {dns: "[listen]\nnat = {\"eth0\" = \"192.0.2.26\"}", want: `listen.nat has "eth0"`},
		"unknown":           {mode: "always", want: `downgrade.mode is "always": want "timed" or "first-contact"`},
	} {
		t.Run(name, func(t *testing.T) {
			text := required + c.dns + "\n"
			if c.mode != "" {
				text += "[downgrade]\nmode = \"" + c.mode + "\"\n"
			}
			_, err := Load(writeFile(t, text))
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

// What is not ours is for neither domain.
func TestDestinationOfAnotherAddress(t *testing.T) {
	own := netip.MustParseAddr("192.0.2.25")
	c := Config{DNS: DNS{Addresses: []netip.Addr{own}, UTAddresses: []netip.Addr{netip.MustParseAddr("192.0.2.26")}}}
	if d, ok := c.Destinations()[own]; ok {
		t.Errorf("the service's address is %s's", d)
	}
}
