package zones

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Sizes of DNS cookies in octets, and times (RFC 9018 §4.3).
const (
	clientCookie  = 8
	serverCookie  = 16
	maxCookie     = clientCookie + 32
	cookieOption  = 4 + clientCookie + serverCookie
	cookieLife    = time.Hour
	cookieFuture  = 5 * time.Minute
	cookieRoll    = 24 * time.Hour
	cookieVersion = 1
)

// cookies makes and knows server cookies. Their form is that of RFC 9018, but
// the hash is HMAC-SHA-256, cut short: only servers that share an address need
// the same one (§5).
type cookies struct {
	mu      sync.Mutex // guards changes of the secrets
	secrets atomic.Pointer[cookieSecrets]
}

// cookieSecrets are the secret of the day and the one before it.
type cookieSecrets struct {
	made              time.Time
	current, previous *sync.Pool // of hash.Hash, keyed
}

func newCookieSecret() *sync.Pool {
	secret := make([]byte, sha256.Size)
	rand.Read(secret) // never fails
	return &sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }}
}

// at returns the secrets for a moment. RFC 7873 §7.1: they are not used forever.
func (c *cookies) at(now time.Time) *cookieSecrets {
	if s := c.secrets.Load(); s != nil && now.Sub(s.made).Abs() < cookieRoll {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.secrets.Load()
	if s != nil && now.Sub(s.made).Abs() < cookieRoll {
		return s
	}
	next := &cookieSecrets{made: now, current: newCookieSecret()}
	if next.previous = next.current; s != nil {
		next.previous = s.current
	}
	c.secrets.Store(next)
	return next
}

// answer returns the cookies for the answer to a query with cookies in. known
// means that the client got its server cookie from us not long ago, so that it
// is at that address. ok is false if the option is malformed (RFC 7873 §5.2.2).
func (c *cookies) answer(in []byte, client netip.Addr, now time.Time) (out [clientCookie + serverCookie]byte, known, ok bool) {
	if len(in) != clientCookie && (len(in) < 2*clientCookie || len(in) > maxCookie) {
		return out, false, false
	}
	secrets := c.at(now)
	copy(out[:], in[:clientCookie])
	if len(in) == len(out) && in[clientCookie] == cookieVersion {
		copy(out[:], in[:clientCookie+8])
		made := time.Unix(int64(binary.BigEndian.Uint32(in[clientCookie+4:])), 0)
		if age := now.Sub(made); age <= cookieLife && age >= -cookieFuture {
			for _, secret := range []*sync.Pool{secrets.current, secrets.previous} {
				hashCookie(secret, &out, client)
				known = known || hmac.Equal(out[clientCookie+8:], in[clientCookie+8:])
			}
		}
	}
	clear(out[clientCookie:])
	out[clientCookie] = cookieVersion
	binary.BigEndian.PutUint32(out[clientCookie+4:], uint32(now.Unix()))
	hashCookie(secrets.current, &out, client)
	return out, known, true
}

// hashCookie fills in the hash over the rest and the client's address.
func hashCookie(secret *sync.Pool, cookie *[clientCookie + serverCookie]byte, client netip.Addr) {
	mac, ok := secret.Get().(hash.Hash)
	if !ok {
		return
	}
	defer secret.Put(mac)
	mac.Reset()
	mac.Write(cookie[:clientCookie+8])
	address := client.As16()
	mac.Write(address[:])
	var sum [sha256.Size]byte
	copy(cookie[clientCookie+8:], mac.Sum(sum[:0]))
}
