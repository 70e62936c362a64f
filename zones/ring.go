package zones

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/evidence"
)

// queryKey is what queries are merged by.
type queryKey struct {
	client netip.Addr
	name   string // lower case, with trailing dot
	qtype  uint16
	minute int64
}

type queryEntry struct {
	queryKey
	first, last time.Time
	do          bool // of any of them
	rcode       int  // of the last
	count       int
}

// queryRing keeps the last merged queries, in the order of their first one.
type queryRing struct {
	mu      sync.Mutex
	size    int
	entries []queryEntry // grows to size, then next is the oldest
	next    int
	index   map[queryKey]int
}

func newQueryRing(size int) *queryRing {
	return &queryRing{size: size, index: make(map[queryKey]int)}
}

func (r *queryRing) add(at time.Time, client netip.Addr, name string, qtype uint16, do bool, rcode int) {
	key := queryKey{client, name, qtype, at.Unix() / 60}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i, ok := r.index[key]; ok {
		e := &r.entries[i]
		e.last, e.rcode, e.do = at, rcode, e.do || do
		e.count++
		return
	}
	entry := queryEntry{queryKey: key, first: at, last: at, do: do, rcode: rcode, count: 1}
	r.index[key] = r.next
	if len(r.entries) < r.size {
		r.entries = append(r.entries, entry)
	} else {
		delete(r.index, r.entries[r.next].queryKey)
		r.entries[r.next] = entry
	}
	r.next = (r.next + 1) % r.size
}

// since appends the entries that were last seen at from or later.
func (r *queryRing) since(out []evidence.Query, from time.Time) []evidence.Query {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		if e.last.Before(from) {
			continue
		}
		out = append(out, evidence.Query{
			Time: e.first, Client: e.client.String(), Name: e.name, Type: dns.Type(e.qtype).String(),
			DO: e.do, Rcode: dns.RcodeToString[e.rcode], Count: e.count,
		})
	}
	return out
}

// Queries returns the queries for names of the zone that were made since from,
// in order of time, as far as they are still kept. Equal queries of one client
// (the resolver's address) within one minute are one entry with a count; its
// time is that of the first. Names that do not exist have a small ring of their
// own, so that a flood of random names displaces no others.
func (z *Zone) Queries(from time.Time) []evidence.Query {
	out := z.unknown.since(z.known.since(nil, from), from)
	slices.SortStableFunc(out, func(a, b evidence.Query) int { return a.Time.Compare(b.Time) })
	return out
}

type counters struct {
	udp, tcp, nxdomain, refused, malformed, truncated, dropped, limited, slipped, transfers, signatures atomic.Uint64
}

// Counters are totals since start.
type Counters struct {
	UDP, TCP   uint64 // messages answered
	NXDomain   uint64
	Refused    uint64 // foreign names, zone transfers, wrong keys
	Malformed  uint64 // answered FORMERR, NOTIMP or BADVERS
	Truncated  uint64
	Dropped    uint64 // messages without an answer, connections over a limit
	Limited    uint64 // answers over the rate limit, not sent
	Slipped    uint64 // answers over the rate limit, sent without records
	Transfers  uint64 // complete copies sent to secondaries
	Signatures uint64 // made
}

// Counters returns the totals since start.
func (z *Zone) Counters() Counters {
	c := &z.counters
	return Counters{
		UDP: c.udp.Load(), TCP: c.tcp.Load(), NXDomain: c.nxdomain.Load(), Refused: c.refused.Load(),
		Malformed: c.malformed.Load(), Truncated: c.truncated.Load(), Dropped: c.dropped.Load(),
		Limited: c.limited.Load(), Slipped: c.slipped.Load(), Transfers: c.transfers.Load(),
		Signatures: c.signatures.Load(),
	}
}
