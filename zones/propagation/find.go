package propagation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Bounds of what is believed.
const (
	maxNames     = 32
	maxAddresses = 64
)

// Servers returns the addresses of the authoritative name servers: those that the
// parent names and those that the zone names. A list that was found is used for
// Options.Refresh, and longer while a new one can't be had.
func (s *Servers) Servers(ctx context.Context) ([]Server, error) {
	if len(s.opts.Fixed) > 0 {
		out := make([]Server, len(s.opts.Fixed))
		for i, addr := range s.opts.Fixed {
			out[i] = Server{Addr: addr}
		}
		return out, nil
	}
	s.mu.Lock()
	found, at := s.found, s.at
	s.mu.Unlock()
	if found != nil && s.opts.Now().Sub(at) < s.opts.Refresh {
		return slices.Clone(found), nil
	}
	fresh, err := s.find(ctx)
	if err != nil {
		if found == nil || ctx.Err() != nil {
			return nil, fmt.Errorf("find the name servers of %q: %w", s.opts.Zone, err)
		}
		s.opts.Logger.WarnContext(ctx, "name servers not found, using those of before", slog.Any("err", err))
		return slices.Clone(found), nil
	}
	s.mu.Lock()
	s.found, s.at = fresh, s.opts.Now()
	s.mu.Unlock()
	return slices.Clone(fresh), nil
}

// hosts are names of name servers, and addresses that came with them.
type hosts map[string]map[string]bool

func (h hosts) addNames(rrs []dns.RR, zone string) {
	for _, rr := range rrs {
		if ns, ok := rr.(*dns.NS); ok && dns.CanonicalName(ns.Hdr.Name) == zone && len(h) < maxNames {
			name := dns.CanonicalName(ns.Ns)
			if h[name] == nil {
				h[name] = make(map[string]bool)
			}
		}
	}
}

// addAddresses takes addresses of names that are there.
func (h hosts) addAddresses(rrs []dns.RR) {
	for _, rr := range rrs {
		addrs, ok := h[dns.CanonicalName(rr.Header().Name)]
		if !ok {
			continue
		}
		switch r := rr.(type) {
		case *dns.A:
			addrs[r.A.String()] = true
		case *dns.AAAA:
			addrs[r.AAAA.String()] = true
		}
	}
}

func (s *Servers) find(ctx context.Context) ([]Server, error) {
	names := make(hosts)
	child, err := s.opts.Lookup(ctx, s.opts.Zone, dns.TypeNS)
	if err != nil {
		return nil, fmt.Errorf("its NS records: %w", err)
	}
	names.addNames(child, s.opts.Zone)
	if err := s.delegation(ctx, names); err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("it has no NS records: is it delegated?")
	}
	return s.addresses(ctx, names)
}

// addresses looks up the addresses of name servers. One without an address is asked
// by nobody.
func (s *Servers) addresses(ctx context.Context, names hosts) ([]Server, error) {
	var out []Server
	seen := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			rrs, err := s.opts.Lookup(ctx, name, qtype)
			if err != nil {
				return nil, fmt.Errorf("addresses of name server %s: %w", name, err)
			}
			hosts{name: names[name]}.addAddresses(rrs)
		}
		if len(names[name]) == 0 {
			s.opts.Logger.WarnContext(ctx, "name server has no address", slog.String("name", name))
		}
		for _, addr := range slices.Sorted(maps.Keys(names[name])) {
			addr = net.JoinHostPort(addr, s.opts.Port)
			if !seen[addr] && len(out) < maxAddresses {
				seen[addr] = true
				out = append(out, Server{Name: strings.TrimSuffix(name, "."), Addr: addr})
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("none of its name servers has an address")
	}
	return out, nil
}

// parents returns the servers of the zone above.
func (s *Servers) parents(ctx context.Context) (zone string, servers []Server, err error) {
	names := make(hosts)
	zone = s.opts.Zone
	for len(names) == 0 && zone != "." {
		i, end := dns.NextLabel(zone, 0)
		if zone = zone[i:]; end {
			zone = "."
		}
		rrs, err := s.opts.Lookup(ctx, zone, dns.TypeNS)
		if err != nil {
			return "", nil, fmt.Errorf("NS records of the parent %q: %w", zone, err)
		}
		names.addNames(rrs, zone)
	}
	if len(names) == 0 {
		return "", nil, errors.New("no zone above it has NS records")
	}
	if servers, err = s.addresses(ctx, names); err != nil {
		return "", nil, fmt.Errorf("parent zone %q: %w", zone, err)
	}
	return zone, servers, nil
}

// delegation adds the name servers that the parent zone refers to, and their glue.
func (s *Servers) delegation(ctx context.Context, names hosts) error {
	parent, servers, err := s.parents(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, server := range servers {
		m, err := s.query(ctx, "udp", server, s.opts.Zone, dns.TypeNS)
		if err == nil && m.Truncated {
			m, err = s.query(ctx, "tcp", server, s.opts.Zone, dns.TypeNS)
		}
		if err == nil && m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
			err = fmt.Errorf("it answers %s", dns.RcodeToString[m.Rcode])
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", server, err))
			continue
		}
		names.addNames(slices.Concat(m.Ns, m.Answer), s.opts.Zone)
		names.addAddresses(m.Extra)
		return nil
	}
	return fmt.Errorf("no server of the parent zone %q says where the zone is delegated to: %w", parent, errors.Join(errs...))
}

// ParentDS returns the DS records of the zone at each server of the parent zone,
// with their full TTLs. It fails if one of them does not say: it may still serve
// the old ones.
func (s *Servers) ParentDS(ctx context.Context) ([][]*dns.DS, error) {
	parent, servers, err := s.parents(ctx)
	if err != nil {
		return nil, err
	}
	answers := s.each(ctx, servers, s.opts.Zone, dns.TypeDS)
	out := make([][]*dns.DS, 0, len(answers))
	for _, a := range answers {
		if a.err != nil {
			return nil, fmt.Errorf("name server %s of the parent zone %q: %w", a.server, parent, a.err)
		}
		set := make([]*dns.DS, 0, len(a.rrs))
		for _, rr := range a.rrs {
			if ds, ok := rr.(*dns.DS); ok {
				set = append(set, ds)
			}
		}
		out = append(out, set)
	}
	return out, nil
}
