package zones

import (
	"context"
	"net/netip"

	"github.com/miekg/dns"
)

// Respond answers a message in wire form.
func Respond(ctx context.Context, z *Zone, wire []byte, client netip.AddrPort, udp bool) []byte {
	return z.respond(ctx, wire, nil, client, udp)
}

// KeyOf returns the key of a name.
func KeyOf(name string) (string, error) {
	key, err := keyOf(name)
	return string(key), err
}

// All returns every record of the published zone.
func All(z *Zone) []dns.RR { return z.current.Load().all() }
