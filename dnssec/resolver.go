package dnssec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Status says what DNSSEC proves about an answer (RFC 4033 §5).
type Status string

// The values of Status.
const (
	Secure   Status = "secure"   // proven by a chain of signatures from a trust anchor
	Insecure Status = "insecure" // proven to be unsigned, or no trust anchor covers it
	Bogus    Status = "bogus"    // should be signed and is not, or not correctly
	Error    Status = "error"    // could not be found out
)

// ExchangeFunc sends one query over network ("udp" or "tcp") to a server and
// returns its response.
type ExchangeFunc func(ctx context.Context, query *dns.Msg, network, server string) (*dns.Msg, error)

// Options configure a [Resolver]. Zero values of limits mean the defaults.
type Options struct {
	// TrustAnchors are DS or DNSKEY records; their owner names are the zones
	// that are trusted. Names below none of them are insecure.
	TrustAnchors []dns.RR
	// Servers are asked in this order, host:port.
	Servers []string
	// Exchange replaces the network, for tests and in-process servers.
	Exchange ExchangeFunc
	// Now is the clock for signatures and the cache; time.Now by default.
	Now func() time.Time
	// Timeout bounds one exchange with one server; 5 s.
	Timeout time.Duration
	// MaxQueries bounds the queries of one lookup; 64.
	MaxQueries int
	// MaxVerifications bounds the signature checks of one lookup; 256. With
	// the limits per RRset it answers KeyTrap (CVE-2023-50387).
	MaxVerifications int
	// MaxIterations is the number of extra NSEC3 hash iterations above which a
	// zone is treated as insecure; 100 (RFC 9276 §3.2).
	MaxIterations int
	// CacheEntries and CacheTTL bound the cache; 1024 and one hour. A negative
	// CacheEntries turns it off.
	CacheEntries int
	CacheTTL     time.Duration
}

const maxAliases = 8 // links of a CNAME or DNAME chain

// Resolver looks up names and validates the answers. It is safe for concurrent
// use.
type Resolver struct {
	opts    Options
	anchors map[string][]dns.RR
	cache   *cache
}

// New returns a resolver, or an error that names the option that is wrong.
func New(opts Options) (*Resolver, error) {
	if len(opts.Servers) == 0 {
		return nil, errors.New("dnssec: no servers: give at least one host:port")
	}
	opts.setDefaults()
	r := &Resolver{opts: opts, anchors: make(map[string][]dns.RR), cache: newCache(opts.CacheEntries, opts.CacheTTL)}
	for _, rr := range opts.TrustAnchors {
		if !usableAnchor(rr) {
			return nil, fmt.Errorf("dnssec: trust anchor %q: want a DS or DNSKEY record of a supported algorithm", rr.String())
		}
		zone := dns.CanonicalName(rr.Header().Name)
		r.anchors[zone] = append(r.anchors[zone], rr)
	}
	return r, nil
}

func (o *Options) setDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Exchange == nil {
		o.Exchange = exchange
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.MaxQueries <= 0 {
		o.MaxQueries = 64
	}
	if o.MaxVerifications <= 0 {
		o.MaxVerifications = 256
	}
	if o.MaxIterations <= 0 {
		o.MaxIterations = 100
	}
	if o.CacheEntries == 0 {
		o.CacheEntries = 1024
	}
	if o.CacheTTL <= 0 {
		o.CacheTTL = time.Hour
	}
}

// RootAnchors returns the DS records of the root zone's keys as IANA publishes
// them (KSK-2017 and KSK-2024).
func RootAnchors() []dns.RR {
	ds := func(tag uint16, digest string) dns.RR {
		return &dns.DS{
			Hdr:    dns.RR_Header{Name: ".", Rrtype: dns.TypeDS, Class: dns.ClassINET, Ttl: 172800},
			KeyTag: tag, Algorithm: dns.RSASHA256, DigestType: dns.SHA256, Digest: digest,
		}
	}
	return []dns.RR{
		ds(20326, "E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"),
		ds(38696, "683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16"),
	}
}

// Answer is the result of a lookup.
type Answer struct {
	// RRs are the records of the type that was asked for, owned by
	// CanonicalName. Empty if there are none, and always if bogus.
	RRs []dns.RR
	// Status is that of the weakest link: aliases, wildcard proofs and denials
	// count.
	Status Status
	// Rcode is NOERROR or NXDOMAIN, and SERVFAIL if bogus. NOERROR without RRs
	// is NODATA.
	Rcode int
	// CanonicalName is the name that the aliases lead to, fully qualified and
	// in lower case.
	CanonicalName string
	// Why says in words why the status is not secure.
	Why string
}

// Lookup asks for the records of a name. The error is not nil exactly if the
// status is Error: no usable response, a limit, a name that is none, or ctx.
func (r *Resolver) Lookup(ctx context.Context, name string, qtype uint16) (Answer, error) {
	q, err := newQuestion(name, qtype)
	fqdn := q.name
	failed := Answer{Status: Error, CanonicalName: fqdn}
	if err != nil {
		return failed, err
	}
	l := &lookup{r: r, ctx: ctx, now: r.opts.Now()}
	a, err := l.run(fqdn, qtype) //nolint:contextcheck // a lookup carries its own
	if isBogus(err) {
		// What was kept may have been signed with keys that were rolled since.
		hit := l.hit
		l.forget()
		if hit {
			l = &lookup{r: r, ctx: ctx, now: r.opts.Now()}
			if a, err = l.run(fqdn, qtype); isBogus(err) { //nolint:contextcheck // as above
				l.forget()
			}
		}
	}
	if isBogus(err) {
		return Answer{Status: Bogus, Rcode: dns.RcodeServerFailure, CanonicalName: fqdn, Why: err.Error()}, nil
	}
	if err != nil {
		failed.Why = err.Error()
		return failed, fmt.Errorf("dnssec: look up %s %s: %w", fqdn, typeName(qtype), err)
	}
	return a, nil
}

// newQuestion checks what is to be looked up.
func newQuestion(name string, qtype uint16) (question, error) {
	q := question{dns.CanonicalName(name), qtype}
	if _, ok := dns.IsDomainName(q.name); !ok || name == "" {
		return q, fmt.Errorf("dnssec: %q is not a domain name", name)
	}
	switch qtype {
	case dns.TypeNone, dns.TypeOPT, dns.TypeRRSIG, dns.TypeANY, dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILA, dns.TypeMAILB:
		return q, fmt.Errorf("dnssec: type %s can't be looked up as an RRset", dns.TypeToString[qtype])
	}
	return q, nil
}

// lookup is the state of one Lookup.
type lookup struct {
	r             *Resolver
	ctx           context.Context
	now           time.Time
	queries       int
	verifications int
	hit           bool // something came from the cache
	used          []question
}

// bogusError is the reason why data must not be used.
type bogusError struct{ why string }

func (e *bogusError) Error() string { return e.why }

func bogus(format string, args ...any) error {
	return &bogusError{fmt.Sprintf(format, args...)}
}

func isBogus(err error) bool {
	var b *bogusError
	return errors.As(err, &b)
}

// run follows aliases until there are records, or proof that there are none.
func (l *lookup) run(name string, qtype uint16) (Answer, error) {
	total := Answer{Status: Secure}
	seen := map[string]bool{}
	for {
		// RFC 6672 §2.2 and RFC 1034 §3.6.2: chains may loop.
		if seen[name] || len(seen) > maxAliases {
			return Answer{}, fmt.Errorf("alias chain at %s is a loop or longer than %d", name, maxAliases)
		}
		seen[name] = true
		s, err := l.step(name, qtype)
		if err != nil {
			return Answer{}, err
		}
		if s.status == Insecure && total.Status == Secure {
			total.Status, total.Why = Insecure, s.why
		}
		if s.alias == "" {
			total.CanonicalName, total.Rcode = name, s.rcode
			for _, rr := range s.rrs {
				total.RRs = append(total.RRs, dns.Copy(rr))
			}
			return total, nil
		}
		name = s.alias
	}
}

// step is what is known about one name of an alias chain.
type step struct {
	rrs    []dns.RR
	alias  string // the name to go on with
	rcode  int
	status Status
	why    string
}

func (l *lookup) step(name string, qtype uint16) (step, error) {
	m, err := l.query(name, qtype)
	if err != nil {
		return step{}, err
	}
	if rrs := pick(m.Answer, name, qtype); len(rrs) > 0 {
		status, why, err := l.positive(m, rrs)
		return step{rrs: rrs, status: status, why: why}, err
	}
	if qtype != dns.TypeCNAME {
		if rrs, target := dname(m.Answer, name); target != "" {
			status, why, err := l.positive(m, rrs)
			return step{alias: target, status: status, why: why}, err
		}
		if rrs := pick(m.Answer, name, dns.TypeCNAME); len(rrs) == 1 {
			status, why, err := l.positive(m, rrs)
			return step{alias: dns.CanonicalName(rrs[0].(*dns.CNAME).Target), status: status, why: why}, err
		}
	}
	return l.negative(m, name, qtype)
}

// dname returns the DNAME record above name and the name that it leads to.
func dname(section []dns.RR, name string) (rrs []dns.RR, target string) {
	for _, rr := range section {
		d, ok := rr.(*dns.DNAME)
		owner := dns.CanonicalName(rr.Header().Name)
		if !ok || owner == name || !dns.IsSubDomain(owner, name) || owner == "." {
			continue
		}
		// RFC 6672 §2.2: the owner suffix is replaced by the target.
		target := strings.TrimSuffix(name, owner) + strings.TrimPrefix(dns.CanonicalName(d.Target), ".")
		if _, ok := dns.IsDomainName(target); ok {
			return []dns.RR{d}, target
		}
	}
	return nil, ""
}

// pick returns the records of an owner and type in a section.
func pick(section []dns.RR, owner string, rrtype uint16) []dns.RR {
	var out []dns.RR
	for _, rr := range section {
		h := rr.Header()
		if h.Rrtype == rrtype && h.Class == dns.ClassINET && dns.CanonicalName(h.Name) == owner {
			out = append(out, rr)
		}
	}
	return out
}

func typeName(t uint16) string { return dns.Type(t).String() }

// suffix returns the last n labels of a name.
func suffix(name string, n int) string {
	if n <= 0 {
		return "."
	}
	i := dns.Split(name)
	if n >= len(i) {
		return name
	}
	return name[i[len(i)-n]:]
}

func parent(name string) string { return suffix(name, dns.CountLabel(name)-1) }

// closestAnchor returns the deepest zone with a trust anchor at or above name.
func (r *Resolver) closestAnchor(name string) (zone string, ok bool) {
	for n := dns.CountLabel(name); n >= 0; n-- {
		if zone = suffix(name, n); len(r.anchors[zone]) > 0 {
			return zone, true
		}
	}
	return "", false
}

func usableAnchor(rr dns.RR) bool {
	switch a := rr.(type) {
	case *dns.DS:
		return supported(a.Algorithm) && supportedDigest(a.DigestType)
	case *dns.DNSKEY:
		return supported(a.Algorithm)
	}
	return false
}

// supported says whether signatures of an algorithm can be checked here. RFC
// 4035 §5.2: a zone with none of these is treated as unsigned.
func supported(algorithm uint8) bool {
	return slices.Contains([]uint8{
		dns.RSASHA1, dns.RSASHA1NSEC3SHA1, dns.RSASHA256, dns.RSASHA512,
		dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519,
	}, algorithm)
}

func supportedDigest(digest uint8) bool {
	return digest == dns.SHA1 || digest == dns.SHA256 || digest == dns.SHA384
}
