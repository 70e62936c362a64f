package inbound

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/network"
	"github.com/tlsink/tlsink/inbound/probe"
	"github.com/tlsink/tlsink/tlspolicy"
)

const (
	smtpPort       = 25
	networkTimeout = 10 * time.Second
)

// target is one host at one address.
type target struct{ host, server int } // indices of out.Hosts and its Servers

// servers lists the servers of every host and probes them: different addresses
// at the same time, the names at one address one after the other.
func (r *run) servers(ctx context.Context) {
	var order []netip.Addr
	targets := map[netip.Addr][]target{}
	chosen, tooMany := 0, 0
	for i := range r.out.Hosts {
		h := &r.out.Hosts[i]
		for _, addr := range r.places[i].addresses {
			s := Server{Address: addr}
			known := targets[addr]
			switch {
			case !r.a.opts.Allowed(addr):
				s.Reached = check.Skip("the address is not one of the public internet, or is one of this service: it is not connected to")
			case chosen == r.a.opts.MaxServers:
				s.Reached = check.Skip(fmt.Sprintf("only %d servers of a domain are connected to", r.a.opts.MaxServers))
				tooMany++
			case len(known) == maxNames:
				s.Reached = check.Skip(fmt.Sprintf("the same address is probed under %d other names", maxNames))
				r.leaveOut("%s at %s was not probed: the address was, under %d other names", h.Name, addr, maxNames)
			default:
				if len(known) == 0 {
					order = append(order, addr)
				}
				targets[addr] = append(known, target{i, len(h.Servers)})
				chosen++
			}
			h.Servers = append(h.Servers, s)
		}
	}
	if tooMany > 0 {
		r.leaveOut("%d more servers were not connected to, only %d", tooMany, r.a.opts.MaxServers)
	}
	var done atomic.Int64
	r.parallel(len(order), func(i int) {
		for _, t := range targets[order[i]] {
			r.server(ctx, t)
		}
		r.say("%d of %d servers were looked at", done.Add(1), len(order))
	})
}

// server probes one target and compares what it shows with the TLSA records.
func (r *run) server(ctx context.Context, t target) {
	h, p := &r.out.Hosts[t.host], &r.places[t.host]
	s := &h.Servers[t.server]
	if r.a.opts.Network != nil {
		s.Network = r.network(ctx, s.Address)
	}
	names := []string{r.out.Domain}
	if h.Canonical != "" {
		names = append(names, h.Canonical)
	}
	addr := netip.AddrPortFrom(s.Address, smtpPort)
	s.Result = r.inTurn(ctx, addr.Addr(), h.Name, func(ctx context.Context) probe.Result {
		return r.a.opts.Prober.Probe(ctx, addr, h.Name, names, r.out.Domain)
	})
	shown := s.Result
	if p.base != "" && p.base != h.Name && isHost(p.base) && s.StartTLS.OK() {
		// RFC 7672 §8.1: with DANE, SNI is the TLSA base domain, and the server may
		// have another certificate for it.
		shown = r.inTurn(ctx, addr.Addr(), p.base, func(ctx context.Context) probe.Result {
			return r.a.opts.Prober.Certificate(ctx, addr, p.base, []string{r.out.Domain, h.Name})
		})
		s.Connections += shown.Connections
	}
	s.DANE = r.match(h, p, shown)
}

func (r *run) network(ctx context.Context, addr netip.Addr) network.Info {
	ctx, cancel := context.WithTimeout(ctx, networkTimeout)
	defer cancel()
	info, err := r.a.opts.Network.Network(ctx, addr)
	if err != nil {
		return network.Info{} // it is an addition; without it nothing is wrong
	}
	info.Name, info.Country = clean(info.Name), clean(info.Country)
	return info
}

// inTurn looks at one server when nobody else does.
func (r *run) inTurn(ctx context.Context, addr netip.Addr, host string, look func(context.Context) probe.Result) probe.Result {
	if ctx.Err() != nil {
		return probe.Result{Reached: check.Skip(r.late())}
	}
	release, err := r.a.busy.acquire(ctx, addr)
	if err != nil {
		return probe.Result{Reached: check.Skip("other analyses were talking to this server: " + r.late())}
	}
	defer release()
	if !r.a.budget.spend(addr) {
		r.failed.Store(true)
		return probe.Result{Reached: check.Skip("this server, or its network, was looked at too often within the last hour: try again later")}
	}
	limited, cancel := context.WithTimeout(ctx, r.a.opts.ServerTimeout)
	defer cancel()
	res := look(limited)
	if errors.Is(limited.Err(), context.DeadlineExceeded) {
		r.failed.Store(true)
		if ctx.Err() == nil {
			r.leaveOut("%s at %s was not looked at to the end: it took more than %s", host, addr, r.a.opts.ServerTimeout)
		}
	}
	if res.Reached.Outcome == "" {
		res.Reached = check.Skip(r.late())
	}
	return res
}

// match compares the chain of a server with the TLSA records of its host.
func (r *run) match(h *Host, p *place, shown probe.Result) check.Result {
	switch {
	case h.TLSA.Status == dnssec.Error:
		return proven("its TLSA records", h.TLSA)
	case len(p.tlsa) == 0:
		return check.Result{}
	case !shown.Reached.OK():
		return check.Skip(clean("the server could not be reached: " + shown.Reached.Why))
	case shown.StartTLS.Failed():
		return check.Fail("the server does not offer STARTTLS, and DANE demands it")
	case !shown.StartTLS.OK():
		return check.Skip(clean("STARTTLS could not be tested: " + shown.StartTLS.Why))
	case len(shown.Chain) == 0 && noVersion(shown):
		return check.Fail("no TLS handshake succeeded, and DANE demands TLS")
	case len(shown.Chain) == 0:
		return check.Skip("no certificate was seen")
	}
	// RFC 7672 §3.2.2: the TLSA base domain, then the next-hop domain, also as
	// its aliases expand it if that is secure.
	names := []string{p.base, r.out.Domain}
	if r.out.Canonical != "" && r.out.MX.Status == dnssec.Secure {
		names = append(names, r.out.Canonical)
	}
	if err := tlspolicy.VerifyDANE(p.tlsa, names, shown.Chain, r.a.opts.Now()); err != nil {
		return check.Fail(clean(err.Error()))
	}
	return check.Pass()
}

// noVersion reports whether every TLS version was tried and refused.
func noVersion(res probe.Result) bool {
	return len(res.Versions) > 0 && !slices.ContainsFunc(res.Versions, func(v probe.Version) bool { return !v.Accepted.Failed() })
}
