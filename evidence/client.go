package evidence

import "net/netip"

// ClientOf returns the client that an address belongs to: itself if it is IPv4,
// its /64 if it is IPv6, since that is what one host or site is given. It is
// the zero Prefix if a is no IP address.
func ClientOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
