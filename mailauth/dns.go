package mailauth

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
)

// Resolver looks up DNS records. Like *net.Resolver, it must honour ctx and
// report names and types that do not exist by a *net.DNSError with IsNotFound;
// every other error counts as temporary.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

// maxTXT is the longest TXT record that is used, in octets: an RSA key of 8192
// bits takes a third of it.
const maxTXT = 4096

// lookups guards a Resolver: names come from strangers, and the SPF and DKIM
// libraries take unusual errors for permanent ones.
type lookups struct{ r Resolver }

// LookupTXT looks up TXT records, without those that are too long.
func (l lookups) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return guarded(name, func() ([]string, error) {
		all, err := l.r.LookupTXT(ctx, name)
		var short []string
		for _, txt := range all {
			if len(txt) <= maxTXT {
				short = append(short, txt)
			}
		}
		return short, err
	})
}

// Lookup looks up TXT records for package dmarc. Nothing is known here about
// DNSSEC: what is bogus is an error of the Resolver.
func (l lookups) Lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, error) {
	if qtype != dns.TypeTXT {
		return dnssec.Answer{Status: dnssec.Error}, errors.New("only TXT records are looked up here")
	}
	records, err := l.LookupTXT(ctx, name)
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return dnssec.Answer{Status: dnssec.Insecure}, nil
	}
	if err != nil {
		return dnssec.Answer{Status: dnssec.Error}, err
	}
	a := dnssec.Answer{Status: dnssec.Insecure}
	for _, txt := range records {
		txt = strings.ReplaceAll(txt, `\`, `\\`) // as miekg/dns keeps it
		a.RRs = append(a.RRs, &dns.TXT{Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{txt}})
	}
	return a, nil
}

// LookupMX looks up MX records.
func (l lookups) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	return guarded(name, func() ([]*net.MX, error) { return l.r.LookupMX(ctx, name) })
}

// LookupIPAddr looks up A and AAAA records.
func (l lookups) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	return guarded(host, func() ([]net.IPAddr, error) { return l.r.LookupIPAddr(ctx, host) })
}

// LookupAddr looks up PTR records.
func (l lookups) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	return guarded(addr, func() ([]string, error) { return l.r.LookupAddr(ctx, addr) })
}

func guarded[T any](name string, lookup func() ([]T, error)) ([]T, error) {
	if !plausible(name) {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	out, err := lookup()
	if err == nil {
		return out, nil
	}
	if dnsErr, ok := errors.AsType[*net.DNSError](err); ok && dnsErr.IsNotFound {
		return nil, dnsErr
	}
	return nil, &net.DNSError{Err: clean(err.Error(), maxText), Name: name, IsTemporary: true}
}

// plausible reports whether a name or address is worth a query.
func plausible(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return false
		}
	}
	return true
}
