package web

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

// Costs of requests in tokens. A refused policy fetch would change what the
// sender under test does, so fetches are cheap.
const (
	pageCost  = 10
	fetchCost = 1
	guessCost = 100 // more, for a link that nobody was given
)

// clientOf returns whom limits apply to: an IPv4 address or an IPv6 /64. The
// zero prefix stands for clients without an address.
func clientOf(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	return evidence.ClientOf(ap.Addr())
}

// rateLimit is a token bucket for each client. What comes within the time that
// fills it may be spent at once.
type rateLimit struct {
	burst float64
	fill  time.Duration
	max   int

	mu      sync.Mutex
	buckets map[netip.Prefix]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newRateLimit(burst int, fill time.Duration, clients int) *rateLimit {
	return &rateLimit{burst: float64(burst), fill: fill, max: clients, buckets: make(map[netip.Prefix]bucket)}
}

// allow takes cost tokens of the client, if it has them.
func (r *rateLimit) allow(client netip.Prefix, cost int, now time.Time) bool {
	return r.take(client, float64(cost), float64(cost), now)
}

// charge takes cost tokens of the client, or as many as it has.
func (r *rateLimit) charge(client netip.Prefix, cost int, now time.Time) {
	r.take(client, float64(cost), 0, now)
}

func (r *rateLimit) take(client netip.Prefix, cost, least float64, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.buckets[client]
	if !ok {
		r.makeRoom(now)
		b = bucket{tokens: r.burst, at: now}
	}
	b.tokens = min(r.burst, b.tokens+r.burst*now.Sub(b.at).Seconds()/r.fill.Seconds())
	b.at = now
	allowed := b.tokens >= least
	if allowed {
		b.tokens = max(0, b.tokens-cost)
	}
	r.buckets[client] = b
	return allowed
}

// makeRoom forgets clients whose bucket is full again, and if that is not
// enough any other: memory is bounded, whoever comes.
func (r *rateLimit) makeRoom(now time.Time) {
	if len(r.buckets) < r.max {
		return
	}
	for client, b := range r.buckets {
		if now.Sub(b.at) >= r.fill {
			delete(r.buckets, client)
		}
	}
	for client := range r.buckets {
		if len(r.buckets) < r.max {
			return
		}
		delete(r.buckets, client)
	}
}

// connLimit counts what is open: connections over all listeners, or streams.
type connLimit struct {
	total, perClient int

	mu      sync.Mutex
	open    int
	clients map[netip.Prefix]int
}

func newConnLimit(total, perClient int) *connLimit {
	return &connLimit{total: total, perClient: perClient, clients: make(map[netip.Prefix]int)}
}

func (c *connLimit) listener(l net.Listener) net.Listener { return limitedListener{l, c} }

func (c *connLimit) acquire(client netip.Prefix) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= c.total || c.clients[client] >= c.perClient {
		return false
	}
	c.open++
	c.clients[client]++
	return true
}

func (c *connLimit) release(client netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if c.clients[client]--; c.clients[client] == 0 {
		delete(c.clients, client)
	}
}

// limitedListener closes connections over the limit at once.
type limitedListener struct {
	net.Listener
	limit *connLimit
}

func (l limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		client := clientOf(conn.RemoteAddr().String())
		if l.limit.acquire(client) {
			return &limitedConn{Conn: conn, release: sync.OnceFunc(func() { l.limit.release(client) })}, nil
		}
		_ = conn.Close() // refused: nothing was promised
	}
}

type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
