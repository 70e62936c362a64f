package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/scenario"
)

type downgradeConfig struct {
	Mode string `toml:"mode"`
}

// destinations returns the local addresses that one test domain has to itself:
// a connection to one of them is for that domain. Addresses of this host are
// also those of mx.<zone>, to which mail comes that is no test.
func (c *config) destinations() map[netip.Addr]scenario.Domain {
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

func (c *config) checkNAT() error {
	ours := plainAddresses(slices.Concat(c.DNS.Addresses, c.DNS.MXAddresses, c.DNS.UTAddresses))
	for _, local := range slices.Sorted(maps.Keys(c.Listen.NAT)) {
		if _, err := netip.ParseAddr(local); err != nil {
			return fmt.Errorf("listen.nat: %q: want local = public addresses, e.g. { \"10.0.0.26\" = \"192.0.2.26\" }", local)
		}
		if public := c.Listen.NAT[local]; !slices.Contains(ours, public.Unmap()) {
			return fmt.Errorf("listen.nat: %q = %q: want one of dns.addresses, dns.mx_addresses or dns.ut_addresses behind it", local, public)
		}
	}
	return nil
}

func (c *config) checkDowngrade() error {
	own := c.destinations()
	for _, a := range plainAddresses(c.DNS.UTAddresses) {
		if c.Downgrade.Mode == string(assess.FirstContact) && own[a] != scenario.Unprotected {
			return fmt.Errorf("downgrade.mode is %q, but ut shares %s of dns.ut_addresses: list only addresses there that are in neither dns.addresses nor dns.mx_addresses", c.Downgrade.Mode, a)
		}
	}
	return assess.Downgrade(c.Downgrade.Mode).Check(own)
}
