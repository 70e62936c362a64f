package zones

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// RateLimit bounds the answers over UDP to one network, an IPv4 /24 or an IPv6
// /56, so that the server is of no use to whoever sends queries under a
// victim's address. Zero fields mean the default. TCP, holders of a DNS cookie
// (RFC 7873) or TSIG key, and loopback addresses are not limited.
type RateLimit struct {
	Off bool
	// Responses is how many alike one network gets a second. Alike are answers
	// of one name and type, NODATA of one name, all NXDOMAIN, all errors.
	// Default 20.
	Responses int
	// All is how many it gets a second altogether; default 500.
	All int
	// Slip makes every so many-th answer over the limit a truncated one, which
	// is no longer than the query: a resolver that shares a victim's network
	// comes back over TCP. The others are not sent. Default 2.
	Slip int
	// Buckets is how many limits are kept at a time, 24 octets each; default 65536.
	Buckets int
}

func (r *RateLimit) setDefaults() {
	setDefault(&r.Responses, 20)
	setDefault(&r.All, 500)
	setDefault(&r.Slip, 2)
	setDefault(&r.Buckets, 1<<16)
}

// responseKind is what answers are alike in.
type responseKind uint8

const (
	kindError responseKind = iota // REFUSED, FORMERR, NOTIMP, BADVERS: the zero value
	kindAnswer
	kindNoData
	kindNoName
	kindAll
)

type rateVerdict uint8

const (
	rateSend rateVerdict = iota
	rateSlip
	rateDrop
)

const (
	rateWays   = 4 // buckets that one hash value may be kept in
	rateShards = 64
)

// bucket is a token bucket, kept as the time at which it will be full again
// (the generic cell rate algorithm).
type bucket struct {
	tag  uint64 // hash of what is limited; 0 is a free bucket
	full int64  // ns since 1970
	over uint32 // answers over the limit, for slip
}

// limiter limits responses. The number of buckets is fixed: where one is
// needed, the least loaded of a few is taken, so that floods stay counted.
type limiter struct {
	opts RateLimit
	seed maphash.Seed // secret: collisions can't be made on purpose
	sets [][rateWays]bucket
	mu   [rateShards]sync.Mutex // by number of the set
}

// newLimiter returns nil if there is no limit.
func newLimiter(o RateLimit) *limiter {
	if o.Off {
		return nil
	}
	return &limiter{opts: o, seed: maphash.MakeSeed(), sets: make([][rateWays]bucket, max(1, o.Buckets/rateWays))}
}

// check counts a response and says what is to become of it.
func (l *limiter) check(client netip.Addr, kind responseKind, name nameKey, qtype uint16, now time.Time) rateVerdict {
	network := networkOf(client)
	if v := l.take(network, kind, name, qtype, l.opts.Responses, now); v != rateSend {
		return v
	}
	return l.take(network, kindAll, "", 0, l.opts.All, now)
}

// take takes a token from a bucket that holds those of one second.
func (l *limiter) take(network uint64, kind responseKind, name nameKey, qtype uint16, rate int, now time.Time) rateVerdict {
	var id [11]byte
	binary.BigEndian.PutUint64(id[:], network)
	binary.BigEndian.PutUint16(id[8:], qtype)
	id[10] = byte(kind)
	var hash maphash.Hash
	hash.SetSeed(l.seed)
	hash.Write(id[:])
	hash.WriteString(string(name))
	tag := hash.Sum64() | 1 // never 0

	at, every := now.UnixNano(), int64(time.Second)/int64(rate)
	depth := every * int64(rate-1)
	n := (tag >> 1) % uint64(len(l.sets))
	mu := &l.mu[n%rateShards]
	mu.Lock()
	defer mu.Unlock()
	b := find(&l.sets[n], tag)
	ahead := b.full - at
	if ahead < 0 || ahead > depth+every { // full again, or the clock was set back
		ahead, b.over = 0, 0
	}
	if ahead > depth {
		b.over++
		if int(b.over)%l.opts.Slip == 0 {
			return rateSlip
		}
		return rateDrop
	}
	b.full = at + ahead + every
	return rateSend
}

// find returns the bucket of tag, or makes the least loaded one its.
func find(set *[rateWays]bucket, tag uint64) *bucket {
	least := &set[0]
	for i := range set {
		if set[i].tag == tag {
			return &set[i]
		}
		if set[i].full < least.full {
			least = &set[i]
		}
	}
	*least = bucket{tag: tag}
	return least
}

// networkOf returns the first 24 bits of an IPv4 address or the first 56 of an
// IPv6 address, as a number that is different for each.
func networkOf(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		return uint64(b[0])<<16 | uint64(b[1])<<8 | uint64(b[2])
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8])&^0xff | 1
}
