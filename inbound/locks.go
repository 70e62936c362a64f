package inbound

import (
	"context"
	"net/netip"
	"sync"
)

// locks holds one lock for each address in use.
type locks struct {
	mu   sync.Mutex
	held map[netip.Addr]*lock
}

type lock struct {
	turn  chan struct{} // holds one token while the lock is taken
	users int           // that hold it or wait for it
}

func newLocks() *locks { return &locks{held: make(map[netip.Addr]*lock)} }

// acquire waits for an address, and returns what gives it back. The error is
// that of ctx.
func (l *locks) acquire(ctx context.Context, addr netip.Addr) (release func(), err error) {
	l.mu.Lock()
	k := l.held[addr]
	if k == nil {
		k = &lock{turn: make(chan struct{}, 1)}
		l.held[addr] = k
	}
	k.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.held, addr)
		}
	}
	select {
	case k.turn <- struct{}{}:
		release = func() { <-k.turn; leave() }
		if ctx.Err() != nil { // both were ready
			release()
			return nil, ctx.Err()
		}
		return release, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
