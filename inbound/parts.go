package inbound

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/inbound/records"
)

// setParts makes what does the work, unless a test brought its own.
func (o *Options) setParts() error {
	dial := guard(o.Dial, o.Allowed)
	if o.Prober == nil {
		p, err := probe.New(probe.Options{Dial: dial, Roots: o.Roots, HELO: o.HELO, Now: o.Now, Pause: o.Pause})
		if err != nil {
			return fmt.Errorf("inbound: %w", err)
		}
		o.Prober = p
	}
	if o.NewRecords == nil {
		opts := records.Options{Dial: dial, Allowed: o.Allowed, Roots: o.Roots, Now: o.Now}
		o.NewRecords = func(r Resolver) Records {
			opts := opts
			opts.Resolver = r
			return records.New(opts)
		}
	}
	return nil
}

// guard refuses to connect to addresses that are not allowed, whoever asks.
func guard(dial Dial, allowed func(netip.Addr) bool) Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		addr, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, fmt.Errorf("connect to %q: want an IP address and a port: %w", address, err)
		}
		if !allowed(addr.Addr()) {
			return nil, fmt.Errorf("connect to %s: the address is not one of the public internet", address)
		}
		return dial(ctx, network, address)
	}
}
