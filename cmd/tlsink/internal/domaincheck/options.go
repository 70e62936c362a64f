package domaincheck

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
)

// usage says what is wrong with the command line.
func (c *Cmd) usage() error {
	switch {
	case len(c.Domains) == 0:
		return errors.New("no domain: name at least one, or - to read them from standard input")
	case c.Timeout <= 0:
		return fmt.Errorf("--timeout is %s: want more than 0", c.Timeout)
	case c.Parallel < 1 || c.Parallel > 256:
		return fmt.Errorf("--parallel is %d: want 1 to 256", c.Parallel)
	case c.TrustResolver && len(c.Resolver) == 0:
		return errors.New("--trust-resolver needs --resolver: name the resolver that validates")
	case c.TrustResolver && c.TrustAnchor != "":
		return errors.New("--trust-resolver and --trust-anchor exclude each other: who validates, the resolver or this program?")
	}
	for _, d := range c.Domains {
		if d == "-" {
			continue
		}
		if _, err := inbound.ParseDomain(domainOf(d)); err != nil {
			return err
		}
	}
	return nil
}

// domainOf takes the domain of a mail address.
func domainOf(name string) string { return name[strings.LastIndexByte(name, '@')+1:] }

// names are the domains of the command line, and of standard input.
func (c *Cmd) names(e *cli.Env) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, d := range c.Domains {
			if d != "-" {
				if !yield(domainOf(d), nil) {
					return
				}
				continue
			}
			lines := bufio.NewScanner(e.Stdin)
			for lines.Scan() {
				line, _, _ := strings.Cut(lines.Text(), "#")
				if line = strings.TrimSpace(line); line != "" && !yield(domainOf(line), nil) {
					return
				}
			}
			if err := lines.Err(); err != nil && !yield("", fmt.Errorf("read domains from standard input: %w", err)) {
				return
			}
		}
	}
}

// options make of the command line what an analysis needs.
func (c *Cmd) options() (inbound.Options, error) {
	o := inbound.Options{
		Dial: c.dial, HELO: c.From, Now: time.Now, Timeout: c.Timeout, MaxRunning: c.Parallel,
		RetryAfter: -1, // nobody asks twice
		MaxLooks:   -1, // the domains are the operator's own choice
	}
	if c.AllowPrivate {
		o.Allowed = func(a netip.Addr) bool { return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() }
	}
	if o.HELO == "" {
		name, err := os.Hostname()
		if err != nil {
			return o, fmt.Errorf("name of this host: %w; give one with --from", err)
		}
		o.HELO = strings.TrimSuffix(name, ".")
	}
	if strings.ContainsFunc(o.HELO, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return o, fmt.Errorf("the name for EHLO is %q: give that of this host in DNS with --from, e.g. check.example.org", o.HELO)
	}
	var err error
	if o.Resolver, err = c.resolver(); err != nil {
		return o, err
	}
	if c.Roots != "" {
		if o.Roots, err = config.ReadRoots(c.Roots); err != nil {
			return o, fmt.Errorf("--roots: %w", err)
		}
	} else if o.Roots, err = config.SystemRoots(); err != nil {
		return o, fmt.Errorf("%w, or name a file of them with --roots", err)
	}
	if o.Network, err = config.OpenNetworks(c.Networks); err != nil {
		return o, fmt.Errorf("--networks: %w", err)
	}
	return o, nil
}

// resolver validates what the named resolvers answer, or believes them.
func (c *Cmd) resolver() (inbound.Resolver, error) {
	var servers []string
	for _, r := range c.Resolver {
		server, err := cli.ResolverAddress(r)
		if err != nil {
			return nil, err
		}
		servers = append(servers, server)
	}
	if c.TrustResolver {
		return dnssec.NewTrusting(dnssec.TrustingOptions{Servers: servers, Exchange: c.exchange})
	}
	if len(servers) == 0 {
		conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil || len(conf.Servers) == 0 {
			return nil, errors.New("/etc/resolv.conf names no resolver: name one with --resolver")
		}
		for _, s := range conf.Servers {
			servers = append(servers, net.JoinHostPort(s, conf.Port))
		}
	}
	anchors := dnssec.RootAnchors()
	if c.TrustAnchor != "" {
		var err error
		if anchors, err = config.ReadAnchors(c.TrustAnchor); err != nil {
			return nil, fmt.Errorf("--trust-anchor: %w", err)
		}
	}
	r, err := dnssec.New(dnssec.Options{TrustAnchors: anchors, Servers: servers, Exchange: c.exchange})
	if err != nil {
		return nil, fmt.Errorf("--resolver, --trust-anchor: %w", err)
	}
	return r, nil
}

// asksWell returns an error if nothing can be learnt from a resolver: it is to
// be believed and does not validate, or it drops what DNSSEC adds. One that does
// not answer for the root may still know the domains, as in a laboratory.
func asksWell(ctx context.Context, r inbound.Resolver) error {
	if t, ok := r.(*dnssec.Trusting); ok {
		if err := t.Check(ctx); err != nil {
			return fmt.Errorf("--trust-resolver: %w", err)
		}
		return nil
	}
	if a, err := r.Lookup(ctx, ".", dns.TypeSOA); err == nil && a.Status == dnssec.Bogus {
		return fmt.Errorf("the resolver does not pass DNSSEC records on, or the clock is wrong (%s): name one that does with --resolver, e.g. an Unbound on this host", a.Why)
	}
	return nil
}
