package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/doctor"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/mailer"
	"github.com/tlsink/tlsink/policyinfer"
)

// selfCheck runs the checks of package doctor within the service. While our own
// zone or policy does not verify, every sender that relies on them truthfully
// looks as if it did not; while one of our servers is not what it has to be,
// whatever is seen says nothing.
//
//	a verdict was reached ────▶ our faces ──┐
//	its report waits, or                    ├▶ assess.SetFault ─▶ reports may go
//	every timing.self_check ──▶ everything ─┘
type selfCheck struct {
	service *service
	wake    chan struct{}
	known   chan struct{} // closed once at is known

	mu         sync.Mutex
	last       outcome
	outside    []doctor.Result // of the last check
	faces      []doctor.Result
	facesBegan time.Time
	good       passes
	awaited    bool       // a report waits for a check of everything
	from       netip.Addr // address that our DNS queries come from, if not one of the service
	asking     []string   // addresses that those of our resolver come from
	at         ourPorts

	foreign     spoiled // see spoil
	foreignKept spoiled // what the store has of it

	log checkLog
}

// ourPorts is where our own listeners are reached from this host, host:port.
type ourPorts struct {
	SMTP  string `json:"smtp"`
	HTTPS string `json:"https"`
	DNS   string `json:"dns,omitempty"`
}

// outcome is that of a check.
type outcome struct {
	at      time.Time // it ended
	fault   assess.Fault
	decided bool // no face was out of reach
	results []doctor.Result
}

// passes is when the last checks began that found no such fault.
type passes struct {
	Verifiable time.Time `json:"verifiable,omitzero"`
	Faces      time.Time `json:"faces,omitzero"`
	// Unsigned is until when caches may have that the zone is not signed.
	Unsigned time.Time `json:"unsigned,omitzero"`
}

// forget forgets what is later than now: the clock was set back.
func (p *passes) forget(now time.Time) {
	for _, t := range []*time.Time{&p.Verifiable, &p.Faces} {
		if t.After(now) {
			*t = time.Time{}
		}
	}
}

// passesKey is where the store keeps them.
const passesKey = "selfcheck/passes"

func newSelfCheck(s *service) *selfCheck {
	return &selfCheck{
		service: s, wake: make(chan struct{}, 1), known: make(chan struct{}), last: outcome{decided: true},
		log: checkLog{log: s.log.With("part", "self-check")},
	}
}

// decided asks for a check: a verdict was reached. It does not block.
func (c *selfCheck) decided() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run checks at once and then every timing.self_check, ten times as often
// while it fails, until ctx ends. After a verdict the faces are checked at once:
// its report waits for that.
func (c *selfCheck) run(ctx context.Context, l *listeners) error {
	interval := time.Duration(c.service.cfg.Timing.SelfCheck)
	pause := min(interval/10, time.Second)
	if err := c.load(l); err != nil {
		return err
	}
	due, ended, full := time.Now(), time.Time{}, time.Time{}
	for {
		scope := c.next(ctx, due, ended.Add(pause))
		if scope == 0 {
			return nil
		}
		check := c.checkAll
		if scope == doctor.Faces {
			check = func(ctx context.Context) error { return c.check(ctx, doctor.Faces) }
		}
		if err := check(ctx); err != nil {
			return err
		}
		if ctx.Err() == nil {
			c.log.tell(c.current())
		}
		ended = time.Now()
		if scope == doctor.All {
			due, full = ended.Add(interval), ended
		}
		if soon := full.Add(interval / 10); c.urgent() && soon.Before(due) {
			due = soon // the sooner verdicts can be given again, and reports mailed
		}
	}
}

// urgent reports whether the next check of everything should come soon.
func (c *selfCheck) urgent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.awaited || c.last.failed()
}

// next waits for the next check and says which it is: everything when that is
// due, the faces after a verdict, but not before a time. It is 0 when ctx ends.
func (c *selfCheck) next(ctx context.Context, due, notBefore time.Time) doctor.Scope {
	all := time.NewTimer(time.Until(due))
	defer all.Stop()
	select {
	case <-ctx.Done():
		return 0
	case <-all.C:
		return doctor.All
	case <-c.wake:
	}
	rest := time.NewTimer(time.Until(notBefore)) // many verdicts at once need one check
	defer rest.Stop()
	select {
	case <-ctx.Done():
		return 0
	case <-rest.C:
		return doctor.Faces
	}
}

// failed reports whether something is wrong that matters to verdicts.
func (o outcome) failed() bool {
	return o.fault.Unverifiable != "" || o.fault.Broken != "" || !o.decided
}

// load restores when the last checks passed, before this process.
func (c *selfCheck) load(l *listeners) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = ourPorts{SMTP: reachable(l.smtp[0].Addr()), HTTPS: reachable(l.https[0].Addr())}
	if l.dns != nil {
		c.at.DNS = reachable(l.dns.UDP[0].LocalAddr())
		// What is sent to an address of this host comes from the same address.
		if to, err := netip.ParseAddrPort(c.at.DNS); err == nil {
			c.from = to.Addr()
		}
	}
	close(c.known)
	b, err := values{c.service.store}.Load(passesKey)
	if err != nil {
		return fmt.Errorf("read when the last self-check passed: %w", err)
	}
	if b == nil || json.Unmarshal(b, &c.good) != nil {
		c.good = passes{} // not known
	}
	return c.loadForeign()
}

// check makes one check of our faces, or of what the world sees, and lets
// everyone know.
func (c *selfCheck) check(ctx context.Context, scope doctor.Scope) error {
	began := time.Now().Round(0) // as it is stored
	limit, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	x, err := c.doctor(limit)
	if err != nil {
		return fmt.Errorf("self-check: %w", err)
	}
	if scope == doctor.Outside {
		c.learn(limit, c.service.network.resolver)
	}
	results := x.Run(limit, scope, nil)
	until := time.Time{}
	if scope == doctor.Outside && unsigned(results) { // at least until the next check
		until = began.Add(time.Duration(c.service.cfg.Timing.SelfCheck)/10 + absence(limit, c.service.network.resolver, c.service.cfg.Zone))
	}
	if ctx.Err() != nil {
		return nil
	}
	c.mu.Lock()
	c.good.forget(began)
	if !until.IsZero() {
		c.good.Unsigned = until
	}
	if scope == doctor.Outside {
		c.outside = results
	} else {
		c.faces, c.facesBegan = results, began
	}
	now := outcome{results: slices.Concat(c.outside, c.faces)}
	now.fault.Unverifiable, now.fault.Broken, now.decided = doctor.Worst(now.results)
	if now.fault.Unverifiable == "" {
		now.fault.Unverifiable = c.good.cached(began)
	}
	if now.fault.Unverifiable != "" {
		now.fault.UnverifiableSince = c.good.Verifiable
	} else if scope == doctor.Outside || c.service.cfg.DNS.Private {
		c.good.Verifiable = c.facesBegan // the first half of this check
	}
	if now.fault.Broken != "" {
		now.fault.BrokenSince = c.good.Faces
		if f := c.foreign; f.now() && f.Since.Before(c.good.Faces) {
			now.fault.BrokenSince = f.Since
		}
	} else if now.decided && scope == doctor.Faces {
		c.good.Faces = began
	}
	c.mu.Unlock()

	c.keepForeign(ctx)
	// First what it means for tests, and only then may reports go.
	c.service.assess.SetFault(now.fault)
	now.at = time.Now()
	c.mu.Lock()
	c.last = now
	c.mu.Unlock()
	c.service.mailer.Kick()
	c.service.hub.TouchAll() //nolint:contextcheck // what pages load has a context of its own
	return nil
}

// checkAll checks our faces first, which is a matter of milliseconds, and then
// what the world sees, where others may take their time.
func (c *selfCheck) checkAll(ctx context.Context) error {
	c.mu.Lock()
	c.awaited = false
	c.mu.Unlock()
	if err := c.check(ctx, doctor.Faces); err != nil {
		return err
	}
	if !c.service.cfg.DNS.Private && ctx.Err() == nil {
		if err := c.check(ctx, doctor.Outside); err != nil {
			return err
		}
	}
	c.mu.Lock()
	good := c.good
	c.mu.Unlock()
	b, err := json.Marshal(good)
	if err != nil {
		return err
	}
	if err := (values{c.service.store}).Save(ctx, passesKey, b); err != nil && ctx.Err() == nil {
		c.service.log.Error("that the self-check passed could not be stored", "err", err)
	}
	return nil
}

// current returns the last outcome.
func (c *selfCheck) current() outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// ports returns where our listeners are, once they are known.
func (c *selfCheck) ports(ctx context.Context) (ourPorts, error) {
	select {
	case <-c.known:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.at, nil
	case <-ctx.Done():
		return ourPorts{}, ctx.Err()
	}
}

// speaksFor reports whether a check that began at a time or later found our
// servers to be what they have to be, and for a verdict without protection also
// that the world sees that. If not, it asks for one.
func (c *selfCheck) speaksFor(t time.Time, unprotected bool) bool {
	c.mu.Lock()
	good, fault := c.good, c.last.fault
	good.forget(time.Now().Round(0))
	wrong := !c.last.decided || fault.Broken != "" || c.foreign.now()
	faces := !good.Faces.Before(t)
	outside := !unprotected || !good.Verifiable.Before(t) || fault.Unverifiable != "" // then it was taken back
	ask := !wrong && (!faces || !outside && !c.awaited)
	c.awaited = c.awaited || ask && faces
	c.mu.Unlock()
	if ask {
		c.decided()
	}
	return !wrong && faces && outside
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
	return ip == c.from || slices.Contains(c.service.cfg.DNS.Addresses, ip) || slices.Contains(c.asking, client)
}

// mostAsking bounds the addresses of resolvers that are remembered.
const mostAsking = 100

// learn finds out from where our resolver asks: it looks up a name that nobody
// else can know. Its queries for TLSA records would look like those of a sender
// that does not enforce them.
func (c *selfCheck) learn(ctx context.Context, r doctor.Resolver) {
	began, name := time.Now(), strings.ToLower(rand.Text())+".resolver."+dns.Fqdn(c.service.cfg.Zone)
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if _, err := r.Lookup(ctx, name, dns.TypeA); err != nil {
		return // the checks will say so
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.service.names.queries(began.Add(-time.Minute)) {
		if strings.EqualFold(q.Name, name) && !slices.Contains(c.asking, q.Client) {
			c.asking = append(c.asking[max(0, len(c.asking)-mostAsking+1):], q.Client)
		}
	}
}

// doctor is set up to look at our own listeners and, for the rest, as the world.
func (c *selfCheck) doctor(ctx context.Context) (*doctor.Doctor, error) {
	o, err := c.service.doctorOptions(c.service.network.resolver)
	if err != nil {
		return nil, err
	}
	if o.Token, err = c.service.assess.ProbeToken(); err != nil {
		return nil, err
	}
	if o.Own, err = c.own(ctx); err != nil {
		return nil, err
	}
	o.Dial, o.SMTP, o.HTTPS, o.Timeout = c.service.network.dial, c.at.SMTP, c.at.HTTPS, 5*time.Second
	return doctor.New(o)
}

// own validates what our own server says, from our own DS record, or what the name
// servers of others say.
func (c *selfCheck) own(ctx context.Context) (doctor.Resolver, error) {
	if n, ok := c.service.names.(*externalNames); ok {
		return n.own(ctx)
	}
	zone := c.service.zone
	var anchors []dns.RR
	for _, ds := range zone.DS() {
		anchors = append(anchors, ds)
	}
	o := dnssec.Options{TrustAnchors: anchors, Servers: []string{"own zone"}, Exchange: c.service.network.exchange} // with a cache for this check
	switch {
	case c.at.DNS != "":
		o.Servers[0] = c.at.DNS
		if o.Exchange == nil {
			o.Exchange = overTCP
		}
	case o.Exchange == nil:
		// Somebody else serves the zone to the world; what is in it still counts.
		o.Exchange = func(ctx context.Context, q *dns.Msg, network, _ string) (*dns.Msg, error) {
			return zone.Answer(ctx, q, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0), network == "udp"), nil
		}
	}
	return dnssec.New(o)
}

// overTCP asks our own name server. Over UDP it limits how often a network is told
// that a name does not exist, and slots have many that must not.
func overTCP(ctx context.Context, q *dns.Msg, _, server string) (*dns.Msg, error) {
	client := dns.Client{Net: "tcp"}
	m, _, err := client.ExchangeContext(ctx, q, server)
	return m, err
}

// checkedQueue lets a report wait for a check that began after its verdict: a
// fault of ours that began minutes ago must not be taken for the sender's.
type checkedQueue struct {
	mailer.Queue
	check *selfCheck
}

// ready returns what is due of a queue, without reports that are not yet to be
// written. Those must not keep others from their turn.
func ready(q mailer.Queue, now time.Time, limit int, write func(mailer.Item) bool) ([]mailer.Item, error) {
	due, err := q.Due(now, 0)
	due = slices.DeleteFunc(due, func(it mailer.Item) bool { return len(it.Message) == 0 && !write(it) })
	if limit > 0 {
		due = due[:min(limit, len(due))]
	}
	return due, err
}

// Due implements mailer.Queue.
func (q checkedQueue) Due(now time.Time, limit int) ([]mailer.Item, error) {
	return ready(q.Queue, now, limit, func(it mailer.Item) bool { return q.check.speaksFor(it.Created, q.unprotected(it)) })
}

// unprotected reports whether the verdict of a report is one that a zone can
// cause that the world does not see as it is.
func (q checkedQueue) unprotected(it mailer.Item) bool {
	r, err := q.check.service.store.Test(it.TestID)
	if err != nil {
		return true
	}
	return withoutProtection(r)
}

func withoutProtection(r history.TestRecord) bool {
	var v policyinfer.Verdict
	return json.Unmarshal(r.Verdict, &v) != nil || v.Policy == policyinfer.Verify || v.Policy != policyinfer.Undetermined && !v.Policy.Protected()
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
