package dnssec

import (
	"context"
	"errors"
	"net"

	"github.com/miekg/dns"
)

// Lookups answers as a net.Resolver does, for code that knows nothing of DNSSEC:
// bogus answers are temporary failures. It is safe for concurrent use.
type Lookups struct{ Resolver *Resolver }

func (l Lookups) lookup(ctx context.Context, name string, qtype uint16) ([]dns.RR, error) {
	a, err := l.answer(ctx, name, qtype)
	return a.RRs, err
}

func (l Lookups) answer(ctx context.Context, name string, qtype uint16) (Answer, error) {
	a, err := l.Resolver.Lookup(ctx, name, qtype)
	switch {
	case err != nil:
		return a, &net.DNSError{Err: err.Error(), Name: name, IsTemporary: true}
	case a.Status == Bogus:
		return a, &net.DNSError{Err: "bogus: " + a.Why, Name: name, IsTemporary: true}
	case len(a.RRs) == 0:
		return a, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return a, nil
}

// LookupTXT is that of net.Resolver.
func (l Lookups) LookupTXT(ctx context.Context, name string) ([]string, error) {
	a, err := l.answer(ctx, name, dns.TypeTXT)
	return a.Texts(), err
}

// LookupMX is that of net.Resolver.
func (l Lookups) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	rrs, err := l.lookup(ctx, name, dns.TypeMX)
	var out []*net.MX
	for _, rr := range rrs {
		if m, ok := rr.(*dns.MX); ok {
			out = append(out, &net.MX{Host: m.Mx, Pref: m.Preference})
		}
	}
	return out, err
}

// LookupIPAddr is that of net.Resolver.
func (l Lookups) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	var out []net.IPAddr
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		rrs, err := l.lookup(ctx, host, qtype)
		if err != nil {
			if e, ok := errors.AsType[*net.DNSError](err); !ok || !e.IsNotFound {
				return nil, err
			}
		}
		for _, rr := range rrs {
			switch rr := rr.(type) {
			case *dns.A:
				out = append(out, net.IPAddr{IP: rr.A})
			case *dns.AAAA:
				out = append(out, net.IPAddr{IP: rr.AAAA})
			}
		}
	}
	if len(out) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return out, nil
}

// LookupAddr is that of net.Resolver.
func (l Lookups) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	name, err := dns.ReverseAddr(addr)
	if err != nil {
		return nil, err
	}
	rrs, err := l.lookup(ctx, name, dns.TypePTR)
	var out []string
	for _, rr := range rrs {
		if p, ok := rr.(*dns.PTR); ok {
			out = append(out, p.Ptr)
		}
	}
	return out, err
}
