package network

import (
	"context"
	"net/netip"
)

// Info is the network of an address, as far as it is known.
type Info struct {
	AS      uint32 `json:"as,omitempty"`      // autonomous system
	Name    string `json:"name,omitempty"`    // of the AS or network
	Country string `json:"country,omitempty"` // ISO 3166-1 alpha-2
}

// Lookup finds the network of an address; the zero Info if it is not known.
type Lookup interface {
	Network(ctx context.Context, ip netip.Addr) (Info, error)
}
