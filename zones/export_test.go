package zones

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/miekg/dns"
)

// Respond answers a message in wire form.
func Respond(_ context.Context, z *Zone, wire []byte, client netip.AddrPort, udp bool) []byte {
	out, _ := z.respond(wire, nil, client, udp)
	return out
}

// KeyOf returns the key of a name.
func KeyOf(name string) (string, error) {
	key, err := keyOf(name)
	return string(key), err
}

// All returns every record of the published zone.
func All(z *Zone) []dns.RR { return z.current.Load().all() }

// Published returns the DS records of keys that no parent should have yet.
func Published(z *Zone) []*dns.DS { return z.current.Load().keys.ds(KeyPublished) }

// KeepNotified tells the secondaries about changes until ctx ends.
func KeepNotified(ctx context.Context, z *Zone) {
	var all sync.WaitGroup
	for _, s := range z.secondaries {
		all.Go(func() { z.keepNotified(ctx, s) })
	}
	all.Wait()
}

// ServeConn serves one TCP connection until it ends, and closes it.
func ServeConn(ctx context.Context, z *Zone, conn net.Conn, client netip.AddrPort) {
	defer conn.Close()
	(&tcpServer{zone: z}).serveConn(ctx, conn, client)
}
