package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsink/tlsink/deliver"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/policyinfer"
)

const (
	toET = "en@et." + worldZone
	toUT = "en@ut." + worldZone
)

// kind is how a sender behaves, and what should be found out about it.
type kind struct {
	label  string
	want   policyinfer.Name
	open   string // why no verdict may be reached; "" if one must be
	policy deliver.Policy
	helo   string // EHLO name of a provider; else one of the sender's domain
}

// mta is a mail server: one policy, some outbound hosts with a memory each.
type mta struct {
	kind
	w      *world
	domain string
	ips    []netip.Addr
	hosts  []*deliver.Sender
	retry  time.Duration
	rng    *rand.Rand
	mails  int

	// Its resolver does not see signatures, as where the parent has no DS.
	blind *atomic.Bool
}

// newMTA returns a sender with hosts at ips. A domain starts with its number.
func newMTA(w *world, k kind, retry time.Duration, seed uint64, ips ...netip.Addr) *mta {
	w.t.Helper()
	s := &mta{kind: k, w: w, ips: ips, retry: retry, rng: rand.New(rand.NewPCG(seed, 7)), blind: new(atomic.Bool)}
	w.mu.Lock()
	s.domain = fmt.Sprintf("s%d.example", len(w.spf)+1)
	w.spf[s.domain] = ips
	w.mu.Unlock()
	roots := w.service().ca.Pool()
	for _, ip := range ips {
		dial := w.dialer(ip)
		host, err := deliver.New(k.policy, deliver.Options{
			Resolver: &mayBeBlind{s, w.resolver(ip, w.service().zone.DS()), w.resolver(ip, nil)}, HTTPClient: &http.Client{Transport: httpTransport(roots, dial)},
			Roots: roots, Dial: dial, LocalName: cmp.Or(k.helo, "mta."+s.domain), Rand: rand.New(rand.NewPCG(seed, 8)),
		})
		if err != nil {
			w.t.Fatal(err)
		}
		s.hosts = append(s.hosts, host)
	}
	return s
}

// again returns the same hosts for another user, who sends at other times.
func (s *mta) again(seed uint64) *mta {
	u := *s
	u.rng = rand.New(rand.NewPCG(seed, 9))
	return &u
}

type mayBeBlind struct {
	s             *mta
	seeing, blind *dnssec.Resolver
}

func (r *mayBeBlind) Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, error) {
	if r.s.blind.Load() {
		return r.blind.Lookup(ctx, name, qtype)
	}
	return r.seeing.Lookup(ctx, name, qtype)
}

var _ deliver.Resolver = (*mayBeBlind)(nil)

func (s *mta) address(user string) string { return user + "@" + s.domain }

// testMail is one message, and the copies that its sender still has to deliver.
type testMail struct {
	from    string
	to      []string
	message []byte
}

// write makes a mail to the given recipients, all of them named in To.
func (s *mta) write(user string, to ...string) *testMail {
	s.mails++
	return &testMail{from: s.address(user), to: to, message: fmt.Appendf(nil,
		"From: %s\r\nTo: %s\r\nSubject: test\r\nDate: %s\r\nMessage-ID: <%d.%s@%s>\r\n\r\nTest mail.\r\n",
		s.address(user), strings.Join(to, ", "), time.Now().Format(time.RFC1123Z), s.mails, user, s.domain)}
}

// trip is how the delivery of a mail went.
type trip struct {
	attempts int
	took     time.Duration
	accepted map[string]bool
	bounced  map[string]string
}

func (p trip) String() string {
	return fmt.Sprintf("%2d attempts %5.0f min", p.attempts, p.took.Minutes())
}

// mailPatience is when senders give up.
const mailPatience = 36 * time.Hour

// deliver tries again and again until all copies were accepted or bounced, ctx
// ends, or the sender loses mailPatience. before each attempt is told its number.
func (s *mta) deliver(ctx context.Context, m *testMail, before func(n int)) trip {
	p := trip{accepted: make(map[string]bool), bounced: make(map[string]string)}
	pending := make(map[string]bool)
	for _, to := range m.to {
		if to == toUT && s.policy.DANE == deliver.DANERequire {
			continue // never delivered, and nobody waits for it
		}
		pending[to] = true
	}
	start := time.Now()
	for len(pending) > 0 && time.Since(start) < mailPatience {
		if before != nil {
			before(p.attempts)
		}
		p.attempts++
		s.attempt(ctx, m, pending, &p)
		p.took = time.Since(start)
		if len(pending) == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return p
		case <-time.After(s.retry + time.Duration(s.rng.Int64N(int64(s.retry/5)))):
		}
	}
	return p
}

// attempt tries every pending copy once, at the same time or one by one.
func (s *mta) attempt(ctx context.Context, m *testMail, pending map[string]bool, p *trip) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	together := s.rng.IntN(2) == 0
	host := s.hosts[s.rng.IntN(len(s.hosts))]
	for _, to := range slices.Sorted(maps.Keys(pending)) {
		one := func() {
			r := host.Attempt(ctx, deliver.Envelope{From: m.from, To: []string{to}, Message: m.message})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case r.Delivered:
				p.accepted[to] = true
				delete(pending, to)
			case !r.Temporary:
				p.bounced[to] = r.Text
				delete(pending, to)
			}
		}
		if together {
			wg.Go(one)
		} else {
			one()
		}
	}
	wg.Wait()
}

// wait returns when nothing of the sender runs any more.
func (s *mta) wait() {
	for _, h := range s.hosts {
		h.Wait()
	}
}

// client returns an address of the sender's side.
func clientIP(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{203, 0, 113, byte(n)})
}

// policyNamed is a kind by its policy name, with changes.
func policyNamed(name string, change ...func(*kind)) kind {
	p, _ := deliver.Named(name)
	k := kind{label: name, want: policyinfer.Name(name), policy: p}
	for _, c := range change {
		c(&k)
	}
	return k
}
