package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/tlspolicy"
)

// selfCheck verifies our own zone, from its own DS record and as the world sees
// it, and fetches our own policy. While that fails, every sender that relies on
// them truthfully looks as if it did not, and unprotected verdicts are
// suspended.
type selfCheck struct {
	service *service

	mu   sync.Mutex
	last string // why it failed; "" if it did not
	at   time.Time
	from netip.Addr // address that our DNS queries come from, if not one of the service
}

// selfCheckAgent is the User-Agent of our own fetches, which are no evidence
// about a sender.
const selfCheckAgent = "tlsink-self-check"

// run checks at once and then every timing.self_check, ten times as often
// while it fails, until ctx ends.
func (c *selfCheck) run(ctx context.Context, l *listeners) error {
	interval := time.Duration(c.service.cfg.Timing.SelfCheck)
	if l.dns != nil {
		// What is sent to an address of this host comes from the same address.
		if to, err := netip.ParseAddrPort(reachable(l.dns.UDP[0].LocalAddr())); err == nil {
			c.mu.Lock()
			c.from = to.Addr()
			c.mu.Unlock()
		}
	}
	for {
		err := c.check(ctx, l)
		if ctx.Err() != nil {
			return nil
		}
		why, wait := "", interval
		if err != nil {
			why, wait = err.Error(), interval/10 // the sooner verdicts can be given again
			c.service.log.Error("own zone or policy not verifiable, unprotected verdicts are suspended", "err", err)
		}
		c.mu.Lock()
		if why == "" && (c.last != "" || c.at.IsZero()) {
			c.service.log.Info("own zone and policy verified")
		}
		c.last, c.at = why, time.Now()
		c.mu.Unlock()
		c.service.assess.SetFault(assess.Fault{Unverifiable: why})
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// asks reports whether DNS queries of a client may be our own. Those of a
// sender at the same address are lost with them, which is no evidence either.
func (c *selfCheck) asks(client string) bool {
	ip, err := netip.ParseAddr(client)
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return ip == c.from || slices.Contains(c.service.cfg.DNS.Addresses, ip)
}

// state returns the last result.
func (c *selfCheck) state() (why string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, c.at
}

func (c *selfCheck) check(ctx context.Context, l *listeners) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	errs := []error{c.zone(ctx, l)}
	if !c.service.cfg.DNS.Private {
		if err := c.verify(ctx, c.service.network.resolver); err != nil {
			errs = append(errs, fmt.Errorf("seen from outside: %w; does the parent zone publish the records that `tlsink zone` prints?", err))
		}
	}
	if len(l.https) > 0 {
		for slot := range c.service.cfg.Slots {
			errs = append(errs, c.policy(ctx, l.https[0].Addr(), slot))
		}
	}
	return errors.Join(errs...)
}

// zone validates what our own server says, from our DS record as trust anchor.
func (c *selfCheck) zone(ctx context.Context, l *listeners) error {
	var anchors []dns.RR
	for _, ds := range c.service.zone.DS() {
		anchors = append(anchors, ds)
	}
	o := dnssec.Options{TrustAnchors: anchors, Servers: []string{"own zone"}, Exchange: c.service.network.exchange, CacheEntries: -1}
	switch {
	case l.dns != nil:
		o.Servers[0] = reachable(l.dns.UDP[0].LocalAddr())
	case o.Exchange == nil:
		// Somebody else serves the zone to the world; what is in it still counts.
		o.Exchange = func(ctx context.Context, q *dns.Msg, network, _ string) (*dns.Msg, error) {
			return c.service.zone.Answer(ctx, q, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0), network == "udp"), nil
		}
	}
	r, err := dnssec.New(o)
	if err != nil {
		return err
	}
	return c.verify(ctx, r)
}

// verify looks up what senders rely on.
func (c *selfCheck) verify(ctx context.Context, r *dnssec.Resolver) error {
	for slot := range c.service.cfg.Slots {
		n := scenario.Names(c.service.cfg.Zone, slot)
		type want struct {
			name  string
			qtype uint16
			found bool
		}
		wants := []want{{n.ET, dns.TypeMX, true}, {n.TLSA(scenario.UT), dns.TypeTLSA, false}, {n.UT, dns.TypeMX, true}}
		for _, h := range scenario.MXHosts() {
			wants = append(wants, want{n.TLSA(h), dns.TypeTLSA, true})
		}
		for _, w := range wants {
			a, err := r.Lookup(ctx, w.name, w.qtype)
			switch {
			case err != nil:
				return fmt.Errorf("own zone: %s %s: %w", w.name, dns.TypeToString[w.qtype], err)
			case a.Status != dnssec.Secure:
				return fmt.Errorf("own zone: %s %s is %s: %s", w.name, dns.TypeToString[w.qtype], a.Status, a.Why)
			case (len(a.RRs) > 0) != w.found:
				return fmt.Errorf("own zone: %s %s: %d records, want some: %v", w.name, dns.TypeToString[w.qtype], len(a.RRs), w.found)
			}
		}
	}
	return nil
}

// policy fetches our own MTA-STS policy as a sender would.
func (c *selfCheck) policy(ctx context.Context, https net.Addr, slot int) error {
	to := reachable(https)
	dial := c.service.network.dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	client := &http.Client{Transport: agent{httpTransport(c.service.ca.Pool(), func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, to)
	})}}
	defer client.CloseIdleConnections()
	n := scenario.Names(c.service.cfg.Zone, slot)
	p, err := tlspolicy.Fetch(ctx, client, n.ET)
	if err != nil {
		return fmt.Errorf("own policy: %w", err)
	}
	for _, h := range scenario.MXHosts() {
		if listed := p.Matches(n.Host(h)); listed != (h != scenario.MX03) || p.Mode != tlspolicy.ModeEnforce {
			return fmt.Errorf("own policy of %s: mode %s, %s listed: %v", n.ET, p.Mode, n.Host(h), listed)
		}
	}
	return nil
}

// agent adds our User-Agent.
type agent struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (a agent) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", selfCheckAgent)
	return a.RoundTripper.RoundTrip(r)
}

// CloseIdleConnections lets http.Client close them.
func (a agent) CloseIdleConnections() {
	if t, ok := a.RoundTripper.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// reachable returns the address under which we reach our own listener.
func reachable(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := ap.Addr().Unmap(); ip.IsUnspecified() {
		loopback := netip.MustParseAddr("127.0.0.1")
		if ip.Is6() && ap.Addr().Is6() && !ap.Addr().Is4In6() {
			// A dual-stack wildcard answers on IPv4, too, but one that is IPv6 only does not.
			loopback = netip.IPv6Loopback()
		}
		return netip.AddrPortFrom(loopback, ap.Port()).String()
	}
	return ap.String()
}

// httpTransport verifies against roots and dials with dial, if given.
func httpTransport(roots *x509.CertPool, dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Transport {
	t := &http.Transport{TLSHandshakeTimeout: 30 * time.Second, ResponseHeaderTimeout: 30 * time.Second, DialContext: dial, MaxIdleConns: 4, IdleConnTimeout: 10 * time.Second}
	t.TLSClientConfig = tlsClient(roots)
	return t
}
