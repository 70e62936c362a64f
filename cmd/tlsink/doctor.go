package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/doctor"
)

type doctorCmd struct {
	Config  string   `default:"/etc/tlsink/tlsink.toml" help:"Configuration file of the sink." type:"path" placeholder:"FILE"`
	JSON    bool     `name:"json" help:"Print JSON: an array of results."`
	Wait    bool     `default:"true" negatable:"" help:"Without access to the running service: wait for the end of this address's downgrade phase."`
	Address []string `help:"Look at these public addresses instead of the configured ones." placeholder:"IP"`

	waits string // what the running service says of verdicts
}

// Run checks the deployment; its exit status is 1 if anything is wrong.
func (c *doctorCmd) Run(e *cli.Env) error {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	o, err := c.options(e, cfg)
	if err != nil {
		return err
	}
	scope := doctor.All
	if cfg.DNS.Private {
		scope = doctor.Faces
	}
	o.Wait = c.Wait
	each := func(list []doctor.Result) {
		for _, r := range doctor.Group(list) {
			io.WriteString(e.Stdout, r.Line()) //nolint:errcheck // a terminal
		}
	}
	if c.JSON {
		each = nil
	}
	o.Waiting = func(left time.Duration) {
		fmt.Fprintf(e.Stderr, "\rSTARTTLS is withheld from this address for at most %v ", left)
		if left < time.Second {
			fmt.Fprint(e.Stderr, "\r"+strings.Repeat(" ", 70)+"\r")
		}
	}
	d, err := doctor.New(o)
	if err != nil {
		return err
	}
	results := d.Run(e.Ctx, scope, each)
	if e.Ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err := c.finish(e, cfg, o, results); err != nil {
		return err
	}
	if !doctor.Healthy(results) {
		return cli.ExitError(1)
	}
	return nil
}

func (c *doctorCmd) finish(e *cli.Env, cfg config.Config, o doctor.Options, results []doctor.Result) error {
	if c.JSON {
		enc := json.NewEncoder(e.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(results)
	}
	if cfg.DNS.Private {
		fmt.Fprintln(e.Stdout, "\ndns.private is set: delegation, reverse names and all else that only the world sees is not tested.")
	}
	if c.waits != "" {
		fmt.Fprintf(e.Stdout, "\nVerdicts without protection wait: %s.\n", c.waits)
	}
	if o.Token == "" {
		fmt.Fprintln(e.Stdout, "\nThe running service could not be asked: run `tlsink doctor` on its host, as its user, to test more in less time.")
	}
	return doctor.Summary(e.Stdout, results)
}

// options are those of the configuration, and what the running service tells.
func (c *doctorCmd) options(e *cli.Env, cfg config.Config) (doctor.Options, error) {
	resolver, err := newResolver(cfg)
	if err != nil {
		return doctor.Options{}, err
	}
	o := optionsOf(&cfg)
	if !cfg.DNS.Private {
		o.World = resolver
	}
	if len(c.Address) > 0 {
		o.Addresses, o.MXAddresses, o.UTAddresses = nil, nil, nil
		for _, s := range c.Address {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return o, fmt.Errorf("--address %q is no IP address", s)
			}
			o.Addresses = append(o.Addresses, a)
		}
	}
	s := service{cfg: cfg}
	if o.Roots, err = s.roots(&cfg); err != nil {
		return o, err
	}
	b, err := control.Ask(e.Ctx, cfg.DataDir, http.MethodGet, "/doctor")
	if err != nil {
		if cfg.Certificates.CA == "local" && cfg.Certificates.Roots == "" {
			return o, fmt.Errorf("%w; elsewhere, copy ca/root.pem from its data_dir and name it in certificates.roots", err)
		}
		return o, nil
	}
	var told doctorHelp
	if err := json.Unmarshal(b, &told); err != nil {
		return o, fmt.Errorf("answer of the running service: %w", err)
	}
	c.waits = told.Waits
	return o, told.complete(&o, cfg.DNS.Private)
}

// doctorHelp is what only the running service knows.
type doctorHelp struct {
	Token      string   `json:"token"`
	DS         []string `json:"ds"`
	Delegation string   `json:"delegation"`
	DKIM       string   `json:"dkim"`
	Roots      string   `json:"roots,omitempty"`    // of the local CA
	Clock      string   `json:"clock,omitempty"`    // what is wrong with it
	Provider   string   `json:"provider,omitempty"` // what is wrong with dns.provider
	Foreign    string   `json:"foreign,omitempty"`  // what somebody else changed there
	Waits      string   `json:"waits,omitempty"`    // why verdicts without protection do, although nothing is wrong any more
	Ports      ourPorts `json:"ports"`
}

// complete adds it to what is configured. Without a delegation the faces are
// looked at where the service listens.
func (h doctorHelp) complete(o *doctor.Options, private bool) error {
	o.Token, o.Delegation, o.DKIM = h.Token, h.Delegation, h.DKIM
	for _, line := range h.DS {
		rr, err := dns.NewRR(line)
		ds, ok := rr.(*dns.DS)
		if err != nil || !ok {
			return fmt.Errorf("answer of the running service: DS record %q", line)
		}
		o.DS = append(o.DS, ds)
	}
	servers := []string{h.Ports.DNS}
	if private {
		o.SMTP, o.HTTPS = h.Ports.SMTP, h.Ports.HTTPS
	} else {
		servers = nil
		for _, a := range o.Addresses {
			servers = append(servers, net.JoinHostPort(a.String(), "53"))
		}
	}
	if len(o.DS) > 0 && !o.External && servers[0] != "" {
		var anchors []dns.RR
		for _, ds := range o.DS {
			anchors = append(anchors, ds)
		}
		own, err := dnssec.New(dnssec.Options{TrustAnchors: anchors, Servers: servers, CacheEntries: -1})
		if err != nil {
			return fmt.Errorf("own name server: %w", err)
		}
		o.Own = own
	}
	if h.Roots != "" {
		o.Roots = x509.NewCertPool()
		if !o.Roots.AppendCertsFromPEM([]byte(h.Roots)) {
			return errors.New("answer of the running service: no root certificate in it")
		}
	}
	for to, text := range map[*func() error]string{&o.Clock: h.Clock, &o.Provider: h.Provider, &o.Foreign: h.Foreign} {
		*to = func() error {
			if text == "" {
				return nil
			}
			return errors.New(text)
		}
	}
	return nil
}

// doctorHelp tells `tlsink doctor` what it needs to know.
func (s *service) doctorHelp(ctx context.Context) (doctorHelp, error) {
	token, err := s.assess.ProbeToken()
	if err != nil {
		return doctorHelp{}, err
	}
	o, err := s.doctorOptions(nil)
	if err != nil {
		return doctorHelp{}, err
	}
	ports, err := s.check.ports(ctx)
	if err != nil {
		return doctorHelp{}, fmt.Errorf("the service does not listen yet: %w", err)
	}
	h := doctorHelp{Token: token, Delegation: o.Delegation, DKIM: o.DKIM, Waits: s.check.waits(), Ports: ports}
	for _, ds := range o.DS {
		h.DS = append(h.DS, ds.String())
	}
	if s.ca != nil {
		h.Roots = string(s.ca.RootPEM())
	}
	for to, problem := range map[*string]func() error{&h.Clock: o.Clock, &h.Provider: o.Provider, &h.Foreign: o.Foreign} {
		if problem == nil {
			continue
		}
		if err := problem(); err != nil {
			*to = err.Error()
		}
	}
	return h, nil
}

// doctorRoutes adds what `tlsink doctor` asks.
func (s *service) doctorRoutes(handle func(pattern string, f handler)) {
	handle("GET /doctor", func(w io.Writer, r *http.Request) error {
		h, err := s.doctorHelp(r.Context())
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(h)
	})
}

// optionsOf say what the sink should be, as configured.
func optionsOf(c *config.Config) doctor.Options {
	o := doctor.Options{
		Zone: c.Zone, Slots: c.Slots, Addresses: c.DNS.Addresses, MXAddresses: c.DNS.MXAddresses, UTAddresses: c.DNS.UTAddresses, NameServers: c.DNS.NameServers,
		External: c.DNS.External(), DKIMSelector: c.Mail.DKIMSelector, Smarthost: c.Mail.Smarthost.Address != "", Downgrade: c.AssessTiming().Downgrade, Host: hostAddresses(),
	}
	if c.Certificates.CA == config.CAACME {
		o.Date = c.Certificates.ACME.Directory
		if strings.Contains(o.Date, ".letsencrypt.org/") {
			o.CAs = []string{"letsencrypt.org"}
		}
	}
	if local := c.Mail.LocalAddress; local != "" {
		if public, ok := c.Listen.NAT[local]; ok {
			o.Sender = public
		} else if a, err := netip.ParseAddr(local); err == nil && !a.IsPrivate() {
			o.Sender = a
		}
	}
	return o
}

// doctorOptions add what the running service knows. Without a resolver, or with
// dns.private, the world is not asked.
func (s *service) doctorOptions(world doctor.Resolver) (doctor.Options, error) {
	o := optionsOf(&s.cfg)
	var err error
	if o.Roots, err = s.publicRoots(); err != nil {
		return o, err
	}
	if o.DKIM, err = s.dkim.TXT(); err != nil {
		return o, err
	}
	o.Delegation = s.names.delegation()
	if s.zone != nil {
		o.DS, o.Clock = s.zone.ValidDS(), s.zone.ClockProblem
	}
	if n, ok := s.names.(*externalNames); ok {
		o.DS, o.Provider, o.Foreign = n.ds(), n.providerProblem, s.check.spoiledNow
	}
	if s.network.clock != nil {
		o.Clock = s.network.clock
	}
	if !s.cfg.DNS.Private {
		o.World = world
	}
	return o, nil
}

// hostAddresses are those of this machine.
func hostAddresses() (out []netip.Addr) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !slices.Contains(out, p.Addr().Unmap()) {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out
}
