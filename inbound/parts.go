package inbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// setParts makes what does the work, unless a test brought its own.
func (o *Options) setParts() error {
	o.Dial = guard(o.Dial, o.Allowed)
	if o.Prober == nil {
		return errors.New("inbound: no prober")
	}
	if o.NewRecords == nil {
		return errors.New("inbound: no reader of records")
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
