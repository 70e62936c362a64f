package deliver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/tlspolicy"
)

// Limits of what a domain can make a sender do in one attempt.
const (
	maxHosts     = 20
	maxAddresses = 10 // of a host
)

// route is where mail for a domain goes.
type route struct {
	domain string
	names  []string // the next-hop domain, and what its aliases lead to
	hosts  []string // in the order in which they are tried
	secure bool     // the MX RRset, or the proof that there is none, is secure
}

// route looks up the hosts of a domain; failed is the result if there are none.
func (s *Sender) route(ctx context.Context, domain string) (r route, failed *Result) {
	fail := func(f Result) (route, *Result) { return route{}, &f }
	a, err := s.lookup(ctx, domain, dns.TypeMX)
	if err != nil {
		return fail(temporary(451, "4.4.3 %v", err))
	}
	if a.Rcode == dns.RcodeNameError {
		return fail(permanent(550, "5.1.2 domain %s does not exist", domain))
	}
	r = route{domain: domain, names: []string{domain}, secure: a.Status == dnssec.Secure}
	if canonical := bare(a.CanonicalName); canonical != domain && r.secure {
		r.names = append(r.names, canonical) // RFC 7672 §3.2.2
	}
	var mx []*dns.MX
	for _, rr := range a.RRs {
		if m, ok := rr.(*dns.MX); ok {
			mx = append(mx, m)
		}
	}
	if len(mx) == 1 && mx[0].Mx == "." {
		return fail(permanent(556, "5.1.10 domain %s does not accept mail (null MX)", domain)) // RFC 7505 §4.2
	}
	if len(mx) == 0 {
		// RFC 5321 §5.1: the domain itself is the implicit MX.
		r.hosts = []string{domain}
		return r, nil
	}
	if s.policy.ShuffleEqual {
		s.mu.Lock()
		s.opts.Rand.Shuffle(len(mx), func(i, j int) { mx[i], mx[j] = mx[j], mx[i] })
		s.mu.Unlock()
	}
	slices.SortStableFunc(mx, func(a, b *dns.MX) int { return int(a.Preference) - int(b.Preference) })
	for _, m := range mx {
		if host := bare(m.Mx); host != "" && !slices.Contains(r.hosts, host) && len(r.hosts) < maxHosts {
			r.hosts = append(r.hosts, host)
		}
	}
	return r, nil
}

// lookup is Lookup with bogus data as an error: a validating resolver would not
// have answered.
func (s *Sender) lookup(ctx context.Context, name string, qtype uint16) (dnssec.Answer, error) {
	a, err := s.opts.Resolver.Lookup(ctx, name, qtype)
	if err == nil && a.Status == dnssec.Bogus {
		err = fmt.Errorf("%s %s: bogus: %s", name, dns.TypeToString[qtype], a.Why)
	}
	return a, err
}

func bare(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// location is where a host is found.
type location struct {
	addresses []string // host:port
	secure    bool     // all address RRsets are secure
	canonical string   // what its aliases lead to
}

func (s *Sender) locate(ctx context.Context, host string) (location, error) {
	l := location{secure: true, canonical: host}
	for _, qtype := range []uint16{dns.TypeAAAA, dns.TypeA} {
		a, err := s.lookup(ctx, host, qtype)
		if err != nil {
			return location{}, err // RFC 7672 §2.1.3: the host is unreachable
		}
		// That there is none of one kind need not be proven.
		if len(a.RRs) > 0 || a.Status != dnssec.Insecure {
			l.secure = l.secure && a.Status == dnssec.Secure
		}
		l.canonical = bare(a.CanonicalName)
		for _, rr := range a.RRs {
			if addr, ok := address(rr); ok && s.reaches(addr) && len(l.addresses) < maxAddresses {
				l.addresses = append(l.addresses, net.JoinHostPort(addr.String(), "25"))
			}
		}
	}
	if len(l.addresses) == 0 {
		return location{}, fmt.Errorf("host %s has no address that can be reached", host)
	}
	return l, nil
}

func address(rr dns.RR) (netip.Addr, bool) {
	switch rr := rr.(type) {
	case *dns.A:
		a, ok := netip.AddrFromSlice(rr.A.To4())
		return a, ok
	case *dns.AAAA:
		a, ok := netip.AddrFromSlice(rr.AAAA)
		return a, ok
	}
	return netip.Addr{}, false
}

func (s *Sender) reaches(a netip.Addr) bool {
	local := s.opts.LocalAddr
	return !local.IsValid() || local.Is4() == a.Is4()
}

// tlsa returns what the TLSA records of a host demand, and the TLSA base
// domain under which they are. An error means that it could not be found out:
// the host must not be used (RFC 7672 §2.1.3).
func (s *Sender) tlsa(ctx context.Context, host string, l location) (tlspolicy.Requirement, []*dns.TLSA, string, error) {
	bases := []string{host}
	switch {
	case l.canonical == host:
		if !l.secure {
			return tlspolicy.NoDANE, nil, "", nil
		}
	case l.secure:
		bases = []string{l.canonical, host} // RFC 7672 §2.2.2: the expanded name first
	default:
		// RFC 7672 §2.2.2: the alias itself may be secure where its target is not.
		a, err := s.lookup(ctx, host, dns.TypeCNAME)
		if err != nil {
			return tlspolicy.NoDANE, nil, "", err
		}
		if a.Status != dnssec.Secure {
			return tlspolicy.NoDANE, nil, "", nil
		}
	}
	for _, base := range bases {
		a, err := s.lookup(ctx, "_25._tcp."+base, dns.TypeTLSA)
		if err != nil {
			return tlspolicy.NoDANE, nil, "", err
		}
		if a.Status != dnssec.Secure {
			continue // RFC 7672 §2.2: insecure TLSA records are no records
		}
		var records []*dns.TLSA
		for _, rr := range a.RRs {
			if r, ok := rr.(*dns.TLSA); ok {
				records = append(records, r)
			}
		}
		if req, usable := tlspolicy.Require(records); req != tlspolicy.NoDANE {
			return req, usable, base, nil
		}
	}
	return tlspolicy.NoDANE, nil, "", nil
}

var (
	errUnlisted = errors.New("the host is not in the MTA-STS policy")
	errTLSA     = errors.New("TLSA records")
	errNoTLSA   = errors.New("DANE is required, and the host has no usable secure TLSA records")
)

// demands is what a sender asks of one host before it hands over a message.
type demands struct {
	host, base string   // base: the TLSA base domain
	names      []string // reference identifiers for DANE-TA

	useTLS, mustTLS bool
	dane            tlspolicy.Requirement
	records         []*dns.TLSA
	sts             bool // an MTA-STS policy is in force
	listed          bool // and it lists the host
	both            BothRule
	ca              CARule // own rule
	sni             string
	requireTLS      bool
}

func (d demands) authenticates() bool { return d.dane != tlspolicy.NoDANE || d.sts }

// demands finds out what the policy makes of a host. An error means that the
// host is not contacted.
func (s *Sender) demands(ctx context.Context, env Envelope, r route, sts stsPolicy, host string, l location) (demands, error) {
	p := s.policy
	d := demands{
		host: host, base: host, dane: tlspolicy.NoDANE, both: p.Both, ca: p.CA,
		useTLS: p.TLS != TLSNever, mustTLS: p.TLS == TLSRequired, requireTLS: env.RequireTLS,
		sts: sts.inForce, listed: sts.inForce && sts.policy.Matches(host),
	}
	if env.TLSOptional {
		d.ca, d.mustTLS, d.sts = CAIgnored, false, false
		if p.SNI == SNIAlways {
			d.sni = host
		}
		return d, nil
	}
	if p.DANE != DANEOff && r.secure && (!d.sts || p.Both != STSWins) {
		var base string
		var err error
		if d.dane, d.records, base, err = s.tlsa(ctx, host, l); err != nil {
			return d, fmt.Errorf("%w: %w", errTLSA, err)
		}
		if base != "" {
			d.base = base
		}
	}
	d.names = append([]string{d.base}, r.names...)
	if p.DANE == DANERequire && d.dane != tlspolicy.Authenticate && (!d.sts || p.Both != STSWins) {
		return d, errNoTLSA
	}
	if d.dane != tlspolicy.NoDANE && p.Both == DANEWins {
		d.sts = false
	}
	mayPassByDANE := d.dane != tlspolicy.NoDANE && p.Both == EitherSuffices
	if d.sts && !d.listed && p.Filter == FilterEarly && !mayPassByDANE {
		return d, errUnlisted
	}
	if d.authenticates() {
		d.useTLS, d.mustTLS, d.ca = true, true, CAIgnored
	}
	if env.RequireTLS {
		d.useTLS, d.mustTLS = true, true
		if !d.sts && d.dane != tlspolicy.Authenticate {
			d.ca = CAVerified // RFC 8689 §4.2.1: the certificate must be verified
		}
	}
	if p.SNI == SNIAlways || p.SNI == SNIAuthenticating && d.authenticates() {
		d.sni = d.base
	}
	return d, nil
}
