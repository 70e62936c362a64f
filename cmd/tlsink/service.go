package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/blocklist"
	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/certs/acme"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/deliver"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/lease"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/mailauth"
	"github.com/tlsink/tlsink/mailer"
	"github.com/tlsink/tlsink/metrics"
	"github.com/tlsink/tlsink/mxrotator"
	"github.com/tlsink/tlsink/operate"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/sink"
	"github.com/tlsink/tlsink/statistics"
	"github.com/tlsink/tlsink/web"
	"github.com/tlsink/tlsink/zones"
)

// service is a running sink: every part, wired. One test mail goes through it
// like this:
//
//	sink ─▶ mailauth (DKIM, SPF) ─▶ assess ─▶ policyinfer
//	                                  │
//	                                  ▼
//	                               history ─▶ inbound ─▶ mailer ─▶ report, deliver
//
// while zones answers DNS, mxrotator changes the MX order through it, web
// serves the MTA-STS policy and the result pages, and selfCheck verifies that
// all of that can be verified.
type service struct {
	cfg     config.Config                 // as it was at the start
	current atomic.Pointer[config.Config] // with what was reloaded since
	log     *slog.Logger
	network network
	started time.Time

	store   *history.Store
	ca      *certs.LocalCA // nil: a public one
	acme    *acme.Issuer   // nil: the local one
	certs   *certs.Store
	zone    *zones.Zone // nil: another name server has it
	names   nameService
	assess  *assess.Assessor
	sink    *sink.Server
	rotator *mxrotator.Rotator
	web     *web.Server
	dkim    *mailer.DKIM
	mailer  *mailer.Mailer
	check   *selfCheck
	analyst *analyst // nil: switched off

	blocks      *blocklist.List
	leases      *lease.Manager // slots of tests that are started on the web
	hub         *live.Hub      // tests as people follow them
	completions *completions   // tells webhooks
	operator    *operate.Operator
	api         http.Handler

	recorder   *metrics.Recorder
	observed   *observedStore        // store, as assess writes to it
	statistics *statistics.Collector // nil: switched off

	reload *reloader // nil: nothing to reload from
}

// network is what a service uses of the network besides its listeners. The
// zero value is the real one; the demo stays on loopback.
type network struct {
	resolver *dnssec.Resolver // recursive; nil: as configured
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	roots    *x509.CertPool      // nil: the system's, or as configured
	exchange dnssec.ExchangeFunc // with our own name server; nil: through its listener, or in process without one
	clock    func() error        // what is wrong with the clock; nil: as the zone judges it
}

// newService opens and wires everything; nothing runs yet.
func newService(ctx context.Context, cfg config.Config, n network, log *slog.Logger) (_ *service, err error) {
	s := &service{cfg: cfg, log: log, network: n, started: time.Now(), recorder: metrics.NewRecorder()}
	s.current.Store(&cfg)
	s.check = newSelfCheck(s)
	if s.store, err = history.Open(history.Options{
		Path: cfg.Path("history.db"), Logger: log.With("part", "history"),
		MailboxMax: cfg.Limits.MailboxMessages, MessageBytes: cfg.Limits.MessageSize,
	}); err != nil {
		return nil, fmt.Errorf("data_dir %q: %w", cfg.DataDir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.store.Close())
		}
	}()
	if err = s.openCertificates(ctx); err != nil {
		return nil, err
	}
	if s.dkim, err = mailer.OpenDKIM(cfg.Zone, cfg.Mail.DKIMSelector, cfg.Path("dkim.pem")); err != nil {
		return nil, err
	}
	if s.network.resolver == nil {
		if s.network.resolver, err = newResolver(cfg); err != nil {
			return nil, err
		}
	}
	if err = s.openNames(ctx); err != nil {
		return nil, err
	}
	s.openLive()
	for _, open := range []func(context.Context) error{
		s.openBlocks, s.openCompletions, s.openLeases, s.openAssess, s.openSink, s.openRotator, s.openAnalyst, s.openMailer,
		s.openStatistics, s.openOperator, s.openWeb,
	} {
		if err = open(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *service) openAssess(ctx context.Context) (err error) {
	s.observed = newObservedStore(s.store, s.recorder, s.log.With("part", "history"))
	s.assess, err = assess.New(ctx, assess.Options{
		Zone: s.cfg.Zone, Slots: s.cfg.Slots, Store: s.observed, Timing: s.cfg.AssessTiming(), Now: time.Now, Rand: rand.Reader,
		Downgrade: assess.Downgrade(s.cfg.Downgrade.Mode), Own: s.cfg.Destinations(), Logger: s.log.With("part", "assess"),
		Queries: s.queries, Decided: s.check.decided, ResultURL: s.cfg.ResultURL,
		Claim: s.leases.Claim, Used: s.leases.Used, Changed: s.hub.Touch, Ended: s.testEnded, Blocked: s.blockedClient,
	})
	return err
}

func (s *service) openSink(context.Context) error {
	inspector, err := mailauth.New(mailauth.Options{
		Zone: s.cfg.Zone, Slots: s.cfg.Slots, Resolver: dnssec.Lookups{Resolver: s.network.resolver}, Logger: s.log.With("part", "mailauth"),
	})
	if err != nil {
		return err
	}
	s.sink, err = sink.New(sink.Options{
		Zone: s.cfg.Zone, Slots: s.cfg.Slots, Certificates: s.certs, Inspector: inspector, Mailbox: s.store, Observer: s.recorder,
		Director: blockingDirector{observedDirector{s.assess, s.recorder, s.log.With("part", "sink")}, s.blocks}, Leased: s.leases.Leased,
		NewID: s.store.NewConnID, Now: time.Now, Logger: s.log.With("part", "sink"),
		Limits: sinkLimits(&s.cfg),
	})
	return err
}

// publishTimeout is for all name servers to have a change.
const publishTimeout = 2 * time.Minute

func (s *service) openRotator(context.Context) (err error) {
	s.rotator, err = mxrotator.New(mxrotator.Options{
		Zone: s.cfg.Zone, Slots: s.cfg.Slots, Provider: s.names, Interval: s.cfg.AssessTiming().Rotation, TTL: time.Duration(s.cfg.DNS.TTL), Timeout: publishTimeout, Seed: mathrand.Uint64(),
		Need: s.needs,
		OnState: func(slot int, at time.Time, mx map[string]int) { //nolint:contextcheck // what pages load has a context of its own
			s.assess.RecordState(slot, evidence.State{Time: at, MX: mx})
			s.hub.TouchAll()
		},
		Logger: s.log.With("part", "mxrotator"),
	})
	return err
}

// needs tells the rotator what tests need, by slot.
func (s *service) needs() map[int]mxrotator.Need {
	out := make(map[int]mxrotator.Need)
	for slot, choices := range s.assess.Needs() {
		out[slot] = mxrotator.Need{Choices: choices}
	}
	return out
}

func (s *service) openMailer(context.Context) error {
	transport, err := s.observedTransport(&s.cfg)
	if err != nil {
		return err
	}
	m := mailerSettings(&s.cfg, transport)
	s.mailer, err = mailer.New(mailer.Options{
		Queue: analysedQueue{checkedQueue{reportQueue{s.store}, s.check}, s.analyst}, Transport: m.Transport, Signer: s.dkim, Render: s.render, Trace: traceReport, From: s.cfg.From(), Now: time.Now,
		Rand:   mathrand.New(mathrand.NewPCG(mathrand.Uint64(), mathrand.Uint64())), //nolint:gosec // jitter
		Logger: s.log.With("part", "mailer"), Limits: m.Limits, FirstRetry: m.FirstRetry, GiveUp: m.GiveUp, AttemptTimeout: m.AttemptTimeout,
	})
	return err
}

// transport delivers reports: directly, enforcing what the recipient's domain
// publishes, or through the operator's smarthost.
func (s *service) transport(cfg *config.Config) (mailer.Transport, error) {
	roots, err := s.roots(cfg)
	if err != nil {
		return nil, err
	}
	if h := cfg.Mail.Smarthost; h.Address != "" {
		password, err := h.Password().Read()
		if err != nil {
			return nil, err
		}
		return mailer.NewSmarthost(mailer.SmarthostOptions{
			Addr: h.Address, Username: h.Username, Password: password, Plaintext: h.Plaintext, Hello: scenario.ServiceHost(cfg.Zone), Roots: roots,
		})
	}
	opts := deliver.Options{
		Resolver: s.network.resolver, Roots: roots, Dial: s.network.dial, LocalName: scenario.ServiceHost(cfg.Zone), Logger: s.log.With("part", "deliver"),
	}
	opts.LocalAddr = cfg.LocalAddress()
	fetch := opts.Dial
	if opts.Dial == nil {
		opts.Dial, fetch = strangers(s.mayConnect(cfg.Mail.Private), opts.LocalAddr), strangers(s.mayConnect(cfg.Mail.Private), netip.Addr{})
	}
	opts.HTTPClient = &http.Client{Transport: httpTransport(roots, fetch)}
	// What the recipient's domain publishes must hold, all of it: no fallback.
	sender, err := deliver.New(deliver.Policy{
		TLS: deliver.TLSOffered, DANE: deliver.DANEEnforce, STS: deliver.STSEnforce, Both: deliver.BothMustHold,
		SNI: deliver.SNIAlways, Filter: deliver.FilterEarly, ShuffleEqual: true,
	}, opts)
	if err != nil {
		return nil, err
	}
	return mailer.NewDirect(sender), nil
}

// strangers dials addresses that strangers chose, if they are allowed. local may
// be zero.
func strangers(allowed func(netip.Addr) bool, local netip.Addr) func(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address) // whatever name it was found by
		if err == nil && !allowed(to.Addr().Unmap().WithZone("")) {
			err = fmt.Errorf("%s is no address of the public internet, or one of this service: nothing is delivered there (mail.private)", to.Addr())
		}
		return err
	}}
	if local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return d.DialContext
}

// run serves until ctx ends, then drains: name servers answer until the last
// transaction has ended, and the store closes last.
func (s *service) run(ctx context.Context, l *listeners) error {
	g, gctx := errgroup.WithContext(ctx)
	last, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	dnsEnded := make(chan error, 1)
	go func() { dnsEnded <- s.names.run(last, l) }()
	g.Go(func() error {
		select {
		case err := <-dnsEnded:
			dnsEnded <- nil // it has ended
			return err
		case <-gctx.Done():
			return nil
		}
	})
	g.Go(func() error { return s.sink.Serve(gctx, l.smtp...) })
	g.Go(func() error { return s.web.Serve(gctx, l.http, l.https) })
	g.Go(func() error { return s.serveMetrics(gctx, l.metrics) })
	g.Go(func() error { return s.certs.Run(gctx) })
	g.Go(func() error { return s.rotator.Run(gctx) })
	g.Go(func() error { return s.assess.Run(gctx) })
	g.Go(func() error { return s.mailer.Run(gctx) })
	g.Go(func() error { return s.check.run(gctx, l) })
	if s.analyst != nil {
		g.Go(func() error { return s.analyst.run(gctx) })
	}
	g.Go(func() error { return s.leases.Run(gctx) })
	g.Go(func() error { return s.completions.run(gctx) })
	g.Go(func() error { return s.completions.sender.Run(gctx) })
	g.Go(func() error {
		<-gctx.Done()
		s.hub.Close() // ends the streams, which the pages would wait for
		return nil
	})
	if s.statistics != nil {
		g.Go(func() error { return s.statistics.Run(gctx) })
	}
	g.Go(func() error { return s.housekeep(gctx) })
	err := g.Wait()
	stop()
	return errors.Join(err, <-dnsEnded, s.store.Close())
}

// housekeep deletes what is too old, and tells the rotator
// and the mailer what assess has for them: it knows neither of them.
func (s *service) housekeep(ctx context.Context) error {
	hour := time.NewTicker(time.Hour)
	defer hour.Stop()
	short := time.NewTicker(max(s.cfg.AssessTiming().Attempt/4, 100*time.Millisecond))
	defer short.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-short.C:
			s.mailer.Kick()
			if slots := s.assess.Steer(); len(slots) > 0 {
				s.rotator.Trigger(slots...)
			}
			s.keepAsked()
		case <-hour.C:
			before := time.Now().AddDate(0, 0, -s.current.Load().Retention)
			if _, err := s.store.Purge(ctx, before); err != nil && ctx.Err() == nil {
				s.log.Error("old evidence not deleted", "err", err)
			}
		}
	}
}

// newResolver returns the recursive resolver for everything that is not ours.
func newResolver(cfg config.Config) (*dnssec.Resolver, error) {
	servers := cfg.DNS.Resolvers
	if len(servers) == 0 {
		c, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil || len(c.Servers) == 0 {
			return nil, errors.New("dns.resolvers is missing, and /etc/resolv.conf names none: list recursive resolvers, e.g. [\"127.0.0.1:53\"]")
		}
		for _, s := range c.Servers {
			servers = append(servers, net.JoinHostPort(s, c.Port))
		}
	}
	anchors := dnssec.RootAnchors()
	if file := cfg.DNS.TrustAnchors; file != "" {
		var err error
		if anchors, err = config.ReadAnchors(file); err != nil {
			return nil, fmt.Errorf("dns.trust_anchors: %w", err)
		}
	}
	r, err := dnssec.New(dnssec.Options{TrustAnchors: anchors, Servers: servers})
	if err != nil {
		return nil, fmt.Errorf("dns.resolvers: %w", err)
	}
	return r, nil
}
