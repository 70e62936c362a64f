package api

import (
	"net/netip"
	"sync"
)

// followers counts the streams and waits of each client. Over HTTP/2 a few
// connections carry thousands: one client must not take those of all.
type followers struct {
	most int

	mu   sync.Mutex
	open map[netip.Prefix]int
}

func (f *followers) enter(client netip.Prefix) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[client] >= f.most {
		return false
	}
	f.open[client]++
	return true
}

func (f *followers) leave(client netip.Prefix) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[client]--; f.open[client] == 0 {
		delete(f.open, client)
	}
}

// follower is a Watcher that is counted until it is closed.
type follower struct {
	Watcher
	leave func()
}

// Close is called once.
func (f *follower) Close() {
	f.Watcher.Close()
	f.leave()
}
