package config

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/tlsink/tlsink/scenario"
)

// Downgrade is when STARTTLS is withheld, [downgrade].
type Downgrade struct {
	Mode string `toml:"mode"`
}

// Destinations returns the local addresses that one test domain has to itself:
// a connection to one of them is for that domain. Addresses of this host are
// also those of mx.<zone>, to which mail comes that is no test.
func (c *Config) Destinations() map[netip.Addr]scenario.Domain {
	et, ut := plainAddresses(c.DNS.MXAddresses), plainAddresses(c.DNS.UTAddresses)
	if len(ut) == 0 {
		ut = et
	}
	out := make(map[netip.Addr]scenario.Domain)
	for _, one := range []struct {
		domain      scenario.Domain
		own, others []netip.Addr
	}{{scenario.ET, et, ut}, {scenario.Unprotected, ut, et}} {
		shared := append(plainAddresses(c.DNS.Addresses), one.others...)
		for _, a := range one.own {
			if !slices.Contains(shared, a) {
				out[a] = one.domain
			}
		}
	}
	for local, public := range c.Listen.NAT {
		if a, err := netip.ParseAddr(local); err == nil && out[public.Unmap()] != "" {
			out[a.Unmap()] = out[public.Unmap()]
		}
	}
	return out
}

func plainAddresses(list []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, 0, len(list))
	for _, a := range list {
		out = append(out, a.Unmap().WithZone(""))
	}
	return out
}

// OwnAddresses are those that senders find this service at: what comes to them is
// evidence, and must not come from us.
func (c *Config) OwnAddresses() []netip.Addr {
	own := plainAddresses(slices.Concat(c.DNS.Addresses, c.DNS.MXAddresses, c.DNS.UTAddresses, slices.Collect(maps.Values(c.Listen.NAT))))
	for _, l := range c.Listen.SMTP {
		if a, err := netip.ParseAddrPort(l); err == nil {
			own = append(own, a.Addr().Unmap().WithZone(""))
		}
	}
	return own
}
