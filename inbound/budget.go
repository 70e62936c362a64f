package inbound

import (
	"net/netip"
	"sync"
	"time"
)

// budget counts how often the servers at an address, and in its network, were
// looked at within an hour, over all domains: records that a stranger publishes
// in any number of domains must not send us to a third party without end.
type budget struct {
	perAddress int // looks an hour; negative: no limit
	now        func() time.Time

	mu     sync.Mutex
	until  time.Time            // the hour ends
	counts map[netip.Prefix]int // looks in this hour
}

const (
	budgetHour    = time.Hour
	networkFactor = 4       // looks at a network, for each that one of its addresses may have
	budgetEntries = 1 << 16 // addresses and networks that are counted
)

func newBudget(perAddress int, now func() time.Time) *budget {
	return &budget{perAddress: perAddress, now: now, counts: make(map[netip.Prefix]int)}
}

// spend reports whether an address may be looked at now, and counts it then.
func (b *budget) spend(addr netip.Addr) bool {
	if b.perAddress < 0 {
		return true
	}
	addr = addr.Unmap()
	bits := 24 // what usually belongs to one operator
	if addr.Is6() {
		bits = 48
	}
	one := netip.PrefixFrom(addr, addr.BitLen())
	network := netip.PrefixFrom(addr, bits).Masked()
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.now(); !now.Before(b.until) {
		b.until = now.Add(budgetHour)
		clear(b.counts)
	}
	if b.counts[one] >= b.perAddress || b.counts[network] >= networkFactor*b.perAddress || len(b.counts) >= budgetEntries {
		return false
	}
	b.counts[one]++
	b.counts[network]++
	return true
}
