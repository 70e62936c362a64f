package dnssec

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	rounds         = 2        // each server is asked so often: a datagram may be lost
	udpSize        = 1232     // EDNS payload size that is not fragmented (RFC 9715)
	maxCachedBytes = 16 << 10 // longer responses are not kept
)

type question struct {
	name  string
	qtype uint16
}

// query returns the response to one question, from the cache or a server.
func (l *lookup) query(name string, qtype uint16) (*dns.Msg, error) {
	q := question{name, qtype}
	l.used = append(l.used, q)
	if m := l.r.cache.get(q, l.now); m != nil {
		l.hit = true
		return m, nil
	}
	var errs []error
	servers := l.r.opts.Servers
	for i := range rounds * len(servers) {
		m, err := l.ask(q, servers[i%len(servers)])
		if err == nil {
			l.r.cache.put(q, m, l.now)
			return m, nil
		}
		errs = append(errs, err)
		if l.ctx.Err() != nil || l.queries >= l.r.opts.MaxQueries {
			break
		}
	}
	return nil, fmt.Errorf("ask for %s %s: %w", name, typeName(qtype), errors.Join(errs...))
}

// ask puts a question to one server, again over TCP if the answer is cut off.
func (l *lookup) ask(q question, server string) (*dns.Msg, error) {
	for _, network := range []string{"udp", "tcp"} {
		if l.queries >= l.r.opts.MaxQueries {
			return nil, fmt.Errorf("more than %d queries", l.r.opts.MaxQueries)
		}
		l.queries++
		m, err := l.exchange(q, network, server)
		if err != nil {
			return nil, fmt.Errorf("server %s: %w", server, err)
		}
		if !m.Truncated {
			return m, nil
		}
	}
	return nil, fmt.Errorf("server %s: response over TCP is truncated", server)
}

func (l *lookup) exchange(q question, network, server string) (*dns.Msg, error) {
	query := newQuery(q)
	// RFC 4035 §3.2.2: with CD a validating server hands out bogus data too, so
	// that it can be told from a failure.
	query.CheckingDisabled = true
	ctx, cancel := context.WithTimeout(l.ctx, l.r.opts.Timeout)
	defer cancel()
	m, err := l.r.opts.Exchange(ctx, query, network, server)
	if err != nil {
		return nil, err
	}
	if err := belongs(m, query, q); err != nil {
		return nil, err
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("response code %s", dns.RcodeToString[m.Rcode])
	}
	return m, nil
}

func newQuery(q question) *dns.Msg {
	query := new(dns.Msg)
	query.SetQuestion(q.name, q.qtype)
	query.SetEdns0(udpSize, true)
	return query
}

// belongs checks that a message is the response to a query.
func belongs(m, query *dns.Msg, q question) error {
	if m == nil || !m.Response || m.Id != query.Id || m.Opcode != dns.OpcodeQuery || len(m.Question) != 1 ||
		dns.CanonicalName(m.Question[0].Name) != q.name || m.Question[0].Qtype != q.qtype || m.Question[0].Qclass != dns.ClassINET {
		return errors.New("response does not belong to the query")
	}
	return nil
}

// exchange is the default ExchangeFunc: the network.
func exchange(ctx context.Context, query *dns.Msg, network, server string) (*dns.Msg, error) {
	c := dns.Client{Net: network, UDPSize: udpSize}
	if deadline, ok := ctx.Deadline(); ok {
		c.Timeout = time.Until(deadline)
	}
	m, _, err := c.ExchangeContext(ctx, query, server)
	return m, err
}

// forget removes from the cache everything that this lookup has used.
func (l *lookup) forget() { l.r.cache.drop(l.used) }

// cache keeps responses, not conclusions: what comes out is validated again
// with the time of the lookup. It is safe for concurrent use.
type cache struct {
	max    int
	maxTTL time.Duration

	mu      sync.Mutex
	entries map[question]entry
}

type entry struct {
	msg     *dns.Msg // never changed once here
	expires time.Time
}

func newCache(limit int, maxTTL time.Duration) *cache {
	return &cache{max: limit, maxTTL: maxTTL, entries: make(map[question]entry)}
}

func (c *cache) get(q question, now time.Time) *dns.Msg {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[q]
	if !ok || !now.Before(e.expires) {
		return nil
	}
	return e.msg
}

func (c *cache) put(q question, m *dns.Msg, now time.Time) {
	ttl := min(lifetime(m), c.maxTTL)
	if c.max <= 0 || ttl <= 0 || m.Len() > maxCachedBytes {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= c.max {
		for q, e := range c.entries {
			if !now.Before(e.expires) {
				delete(c.entries, q)
			}
		}
	}
	for q := range c.entries { // whichever comes first
		if len(c.entries) < c.max {
			break
		}
		delete(c.entries, q)
	}
	c.entries[q] = entry{m, now.Add(ttl)}
}

func (c *cache) drop(qs []question) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range qs {
		delete(c.entries, q)
	}
}

// lifetime returns how long a response may be kept: its smallest TTL, for a
// denial at most the negative TTL of the SOA (RFC 2308 §5), none without SOA.
func lifetime(m *dns.Msg) time.Duration {
	seconds, found := uint32(1<<31-1), len(m.Answer) > 0
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			seconds = min(seconds, rr.Header().Ttl)
			if soa, ok := rr.(*dns.SOA); ok && len(m.Answer) == 0 {
				seconds, found = min(seconds, soa.Minttl), true
			}
		}
	}
	if !found {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
