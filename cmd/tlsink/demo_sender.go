package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/deliver"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// demoSender is a mail server of one policy, at an address of its own, with
// one mail to deliver.
type demoSender struct {
	label, name string
	want        policyinfer.Name
	address     string // envelope sender
	ip          netip.Addr
	sender      *deliver.Sender
	rng         *rand.Rand
	retry       time.Duration

	view assess.View // what the service knows; the watching goroutine's own
}

// demoSenderIP is the address that the sender with a number plays.
func demoSenderIP(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(101 + i)}) }

func newDemoSender(d *demo, i int, p demoPolicy) (*demoSender, error) {
	ip := demoSenderIP(i)
	domain := demoDomain(ip)
	s := &demoSender{
		label: p.label, name: string(p.want), want: p.want, address: "user@" + domain, ip: ip, retry: 900 * time.Millisecond,
		rng: rand.New(rand.NewPCG(uint64(i), uint64(time.Now().UnixNano()))), //nolint:gosec // retry times
	}
	resolver, err := d.net.resolver(d.service.zone.DS())
	if err != nil {
		return nil, err
	}
	roots := d.service.ca.Pool()
	dial := d.net.dialFrom(ip)
	s.sender, err = deliver.New(p.policy, deliver.Options{
		Resolver: resolver, HTTPClient: &http.Client{Transport: httpTransport(roots, dial)}, Roots: roots, Dial: dial,
		LocalName: "mta." + domain, STSRetry: time.Second,
	})
	return s, err
}

// run tries to deliver until both copies are accepted or ctx ends. et and ut
// are tried at the same time, as mail servers do.
func (s *demoSender) run(ctx context.Context) error {
	n := scenario.Names(demoZone, 0)
	message := fmt.Sprintf("From: %[1]s\r\nTo: en@%[2]s, en@%[3]s\r\nSubject: test\r\nDate: %[4]s\r\nMessage-ID: <%[5]d@%[6]s>\r\n\r\nTest mail.\r\n",
		s.address, n.ET, n.UT, time.Now().Format(time.RFC1123Z), time.Now().UnixNano(), strings.SplitN(s.address, "@", 2)[1])
	pending := map[string]bool{"en@" + n.ET: true, "en@" + n.UT: true}
	for len(pending) > 0 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for _, to := range slices.Collect(maps.Keys(pending)) { // a copy: attempts delete from it
			wg.Go(func() {
				r := s.sender.Attempt(ctx, deliver.Envelope{From: s.address, To: []string{to}, Message: []byte(message)})
				if r.Delivered || !r.Temporary {
					mu.Lock()
					delete(pending, to)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.retry + time.Duration(s.rng.Int64N(int64(s.retry/2)))):
		}
	}
	return nil
}
