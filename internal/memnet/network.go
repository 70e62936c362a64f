package memnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// backlog is how many connections wait for Accept.
const backlog = 128

// Network connects hosts in memory. Its zero value has no host; it is safe for
// concurrent use.
type Network struct {
	mu        sync.Mutex
	listeners map[netip.AddrPort]*listener
	port      uint16
}

// Listen returns a listener at an address. It fails if there is one already.
func (n *Network) Listen(at netip.AddrPort) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[at] != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(at), Err: syscall.EADDRINUSE}
	}
	l := &listener{net: n, at: at, waiting: make(chan net.Conn, backlog), closed: make(chan struct{})}
	if n.listeners == nil {
		n.listeners = make(map[netip.AddrPort]*listener)
	}
	n.listeners[at] = l
	return l, nil
}

// Dialer returns a dial function, as many packages want one, for a host at
// from. Addresses are host:port with an IP address as host.
func (n *Network) Dialer(from netip.Addr) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, fmt.Errorf("dial %q: want an IP address and a port: %w", address, err)
		}
		return n.Dial(ctx, from, to)
	}
}

// Dial connects from a host to a listener. It waits while too many connections
// wait there, until ctx ends.
func (n *Network) Dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	l, port := n.find(to)
	if l == nil {
		return fail(syscall.ECONNREFUSED)
	}
	client, server := Pipe(netip.AddrPortFrom(from, port), to)
	select {
	case <-l.closed:
		return fail(syscall.ECONNREFUSED)
	case <-ctx.Done():
		return fail(ctx.Err())
	case l.waiting <- server:
	}
	select {
	case <-l.closed: // meanwhile, so that nobody may have seen it in the queue
		_ = server.Close()
	default:
	}
	return client, nil
}

// find returns the listener at an address, and a port for its client.
func (n *Network) find(to netip.AddrPort) (*listener, uint16) {
	const first = 32768
	n.mu.Lock()
	defer n.mu.Unlock()
	n.port = max(n.port+1, first)
	return n.listeners[to], n.port
}

type listener struct {
	net     *Network
	at      netip.AddrPort
	waiting chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, l.ended()
	default:
	}
	select {
	case c := <-l.waiting:
		return c, nil
	case <-l.closed:
		return nil, l.ended()
	}
}

func (l *listener) ended() error {
	return &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
}

// Close implements net.Listener. Connections that nobody accepted are closed.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.listeners, l.at)
		l.net.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.waiting:
				_ = c.Close()
				continue
			default:
			}
			return
		}
	})
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }
