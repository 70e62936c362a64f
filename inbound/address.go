package inbound

import "net/netip"

// Public reports whether an address is one of the public internet, for one
// host: not loopback, private, shared, link-local, multicast, reserved or for
// documentation, and not one that carries another address in it (IPv4-mapped,
// NAT64, 6to4, Teredo).
func Public(a netip.Addr) bool {
	switch {
	case !a.IsValid() || a.Zone() != "":
		return false
	case a.Is4():
		return !within(a, special4())
	}
	// Of IPv6 only this much is handed out; mapped, NAT64 (64:ff9b::/96), ULA
	// and all else lie outside.
	return within(a, []netip.Prefix{netip.MustParsePrefix("2000::/3")}) && !within(a, special6())
}

func within(a netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// special4 is the IANA IPv4 special-purpose address registry, and multicast.
func special4() []netip.Prefix {
	return prefixes(
		"0.0.0.0/8",       // this network
		"10.0.0.0/8",      // private
		"100.64.0.0/10",   // shared by a carrier's customers (RFC 6598)
		"127.0.0.0/8",     // loopback
		"169.254.0.0/16",  // link-local
		"172.16.0.0/12",   // private
		"192.0.0.0/24",    // protocol assignments
		"192.0.2.0/24",    // documentation
		"192.31.196.0/24", // AS112
		"192.52.193.0/24", // AMT
		"192.88.99.0/24",  // 6to4 relays
		"192.168.0.0/16",  // private
		"192.175.48.0/24", // AS112
		"198.18.0.0/15",   // benchmarks
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"224.0.0.0/4",     // multicast
		"240.0.0.0/4",     // reserved, broadcast
	)
}

// special6 is what the IANA IPv6 special-purpose address registry has in
// 2000::/3.
func special6() []netip.Prefix {
	return prefixes(
		"2001::/23",         // protocol assignments: Teredo, benchmarks, ORCHID
		"2001:db8::/32",     // documentation
		"2002::/16",         // 6to4
		"2620:4f:8000::/48", // AS112
		"3ffe::/16",         // the former 6bone
		"3fff::/20",         // documentation
	)
}

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}
