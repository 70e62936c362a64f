package dnssec_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
)

func testWorld(t testing.TB) *world { return testWorldAt(t, now) }

func testWorldAt(t testing.TB, signed time.Time) *world {
	zones := []*testZone{
		{name: "example.", records: `
@ MX 10 mx
mx A 192.0.2.1
_25._tcp.mx TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000
alias CNAME mx
chain CNAME alias
loop CNAME loop
out CNAME www.elsewhere.
toplain CNAME www.plain
*.wild TXT "star"
b.wild TXT "closer"
*.wilda CNAME mx
from DNAME signed
signed NS ns.invalid.
plain NS ns.invalid.
odd NS ns.invalid.
odd DS 1 253 2 0000000000000000000000000000000000000000000000000000000000000000
old NS ns.invalid.
opt NS ns.invalid.
iter NS ns.invalid.
nokey NS ns.invalid.
nokey DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000
`},
		{name: "signed.example.", nsec3: true, records: `
www A 192.0.2.2
x.y.z A 192.0.2.3
*.wild TXT "star"
sub NS ns.invalid.
deep NS ns.invalid.
`},
		{name: "deep.signed.example.", records: "@ A 192.0.2.4\n"},
		{name: "sub.signed.example.", unsigned: true, records: "www A 192.0.2.5\n"},
		{name: "plain.example.", unsigned: true, records: "www A 192.0.2.6\n"},
		{name: "odd.example.", records: "www A 192.0.2.7\n"},
		{name: "old.example.", expired: true, records: "www A 192.0.2.8\n"},
		{name: "opt.example.", nsec3: true, optOut: true, records: "www A 192.0.2.9\nsub NS ns.invalid.\n"},
		{name: "sub.opt.example.", unsigned: true, records: "www A 192.0.2.10\n"},
		{name: "iter.example.", nsec3: true, iterations: 150, records: "www A 192.0.2.11\n"},
		{name: "nokey.example.", records: "www A 192.0.2.12\n"},
		{name: "elsewhere.", records: "www A 192.0.2.13\n"},
	}
	for _, z := range zones {
		z.signed = signed
	}
	return newWorld(t, zones...)
}

func TestLookup(t *testing.T) {
	w := testWorld(t)
	r := w.resolver(t)
	for _, c := range []struct {
		name, qname string
		qtype       uint16
		status      dnssec.Status
		rcode, rrs  int
		canonical   string
		why         string
	}{
		{"apex", "Example", dns.TypeMX, dnssec.Secure, 0, 1, "example.", ""},
		{"host", "mx.example.", dns.TypeA, dnssec.Secure, 0, 1, "mx.example.", ""},
		{"below an empty non-terminal", "_25._tcp.mx.example", dns.TypeTLSA, dnssec.Secure, 0, 1, "_25._tcp.mx.example.", ""},
		{"NODATA", "mx.example", dns.TypeAAAA, dnssec.Secure, 0, 0, "mx.example.", ""},
		{"NODATA at an empty non-terminal", "_tcp.mx.example", dns.TypeA, dnssec.Secure, 0, 0, "_tcp.mx.example.", ""},
		{"NXDOMAIN", "gone.example", dns.TypeA, dnssec.Secure, 3, 0, "gone.example.", ""},
		{"NXDOMAIN, deep", "_25._tcp.gone.example", dns.TypeTLSA, dnssec.Secure, 3, 0, "_25._tcp.gone.example.", ""},
		{"alias", "alias.example", dns.TypeA, dnssec.Secure, 0, 1, "mx.example.", ""},
		{"two aliases", "chain.example", dns.TypeA, dnssec.Secure, 0, 1, "mx.example.", ""},
		{"the alias itself", "alias.example", dns.TypeCNAME, dnssec.Secure, 0, 1, "alias.example.", ""},
		{"alias to nothing", "alias.example", dns.TypeTXT, dnssec.Secure, 0, 0, "mx.example.", ""},
		{"alias out of the trusted tree", "out.example", dns.TypeA, dnssec.Insecure, 0, 1, "www.elsewhere.", "no trust anchor"},
		{"alias to an insecure zone", "toplain.example", dns.TypeA, dnssec.Insecure, 0, 1, "www.plain.example.", "without DS"},
		{"wildcard", "a.wild.example", dns.TypeTXT, dnssec.Secure, 0, 1, "a.wild.example.", ""},
		{"wildcard, two labels", "a.a.wild.example", dns.TypeTXT, dnssec.Secure, 0, 1, "a.a.wild.example.", ""},
		{"wildcard NODATA", "a.wild.example", dns.TypeA, dnssec.Secure, 0, 0, "a.wild.example.", ""},
		{"name beside the wildcard", "b.wild.example", dns.TypeTXT, dnssec.Secure, 0, 1, "b.wild.example.", ""},
		{"the wildcard itself", "*.wild.example", dns.TypeTXT, dnssec.Secure, 0, 1, "*.wild.example.", ""},
		{"wildcard alias", "a.wilda.example", dns.TypeA, dnssec.Secure, 0, 1, "mx.example.", ""},
		{"DNAME", "www.from.example", dns.TypeA, dnssec.Secure, 0, 1, "www.signed.example.", ""},
		{"signed child", "www.signed.example", dns.TypeA, dnssec.Secure, 0, 1, "www.signed.example.", ""},
		{"signed grandchild", "deep.signed.example", dns.TypeA, dnssec.Secure, 0, 1, "deep.signed.example.", ""},
		{"DS of the child", "signed.example", dns.TypeDS, dnssec.Secure, 0, 1, "signed.example.", ""},
		{"no DS", "plain.example", dns.TypeDS, dnssec.Secure, 0, 0, "plain.example.", ""},
		{"NSEC3 NODATA", "www.signed.example", dns.TypeAAAA, dnssec.Secure, 0, 0, "www.signed.example.", ""},
		{"NSEC3 NODATA at an empty non-terminal", "y.z.signed.example", dns.TypeA, dnssec.Secure, 0, 0, "y.z.signed.example.", ""},
		{"NSEC3 NXDOMAIN", "gone.signed.example", dns.TypeA, dnssec.Secure, 3, 0, "gone.signed.example.", ""},
		{"NSEC3 NXDOMAIN, deep", "a.b.c.signed.example", dns.TypeA, dnssec.Secure, 3, 0, "a.b.c.signed.example.", ""},
		{"NSEC3 wildcard", "a.wild.signed.example", dns.TypeTXT, dnssec.Secure, 0, 1, "a.wild.signed.example.", ""},
		{"NSEC3 wildcard NODATA", "a.wild.signed.example", dns.TypeA, dnssec.Secure, 0, 0, "a.wild.signed.example.", ""},
		{"insecure child", "www.plain.example", dns.TypeA, dnssec.Insecure, 0, 1, "www.plain.example.", "plain.example. is delegated without DS"},
		{"insecure child, NXDOMAIN", "gone.plain.example", dns.TypeA, dnssec.Insecure, 3, 0, "gone.plain.example.", "without DS"},
		{"insecure child by NSEC3", "www.sub.signed.example", dns.TypeA, dnssec.Insecure, 0, 1, "www.sub.signed.example.", "without DS"},
		{"insecure child by opt-out", "www.sub.opt.example", dns.TypeA, dnssec.Insecure, 0, 1, "www.sub.opt.example.", "opt-out"},
		{"NXDOMAIN in an opt-out span", "gone.opt.example", dns.TypeA, dnssec.Insecure, 3, 0, "gone.opt.example.", "opt-out"},
		{"signed name of an opt-out zone", "www.opt.example", dns.TypeA, dnssec.Secure, 0, 1, "www.opt.example.", ""},
		{"unsupported algorithm", "www.odd.example", dns.TypeA, dnssec.Insecure, 0, 1, "www.odd.example.", "not supported"},
		{"too many iterations", "gone.iter.example", dns.TypeA, dnssec.Insecure, 3, 0, "gone.iter.example.", "150 NSEC3 iterations"},
		{"too many iterations, positive", "www.iter.example", dns.TypeA, dnssec.Secure, 0, 1, "www.iter.example.", ""},
		{"expired", "www.old.example", dns.TypeA, dnssec.Bogus, 2, 0, "www.old.example.", "valid from"},
		{"wrong key", "www.nokey.example", dns.TypeA, dnssec.Bogus, 2, 0, "www.nokey.example.", "no key of zone nokey.example. matches"},
		{"not covered", "www.elsewhere", dns.TypeA, dnssec.Insecure, 0, 1, "www.elsewhere.", "no trust anchor"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := r.Lookup(t.Context(), c.qname, c.qtype)
			if err != nil {
				t.Fatal(err)
			}
			if a.Status != c.status || a.Rcode != c.rcode || len(a.RRs) != c.rrs || a.CanonicalName != c.canonical {
				t.Errorf("got %+v", a)
			}
			if !strings.Contains(a.Why, c.why) || (a.Why == "") != (c.why == "") {
				t.Errorf("why %q, want %q", a.Why, c.why)
			}
		})
	}
}

func drop(section *[]dns.RR, match func(dns.RR) bool) {
	*section = slices.DeleteFunc(slices.Clone(*section), match)
}

func copies(rrs []dns.RR) []dns.RR {
	out := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		out[i] = dns.Copy(rr)
	}
	return out
}

func ofType(t uint16) func(dns.RR) bool {
	return func(rr dns.RR) bool { return rr.Header().Rrtype == t }
}

// Everything an attacker or a broken server may do to a response is noticed.
func TestLookupBogus(t *testing.T) {
	w := testWorld(t)
	zones := w.zones
	proofsOf := func(zone string) []dns.RR { return zones[zone].proofs }
	only := func(qname string, qtype uint16, f func(*dns.Msg)) func(dns.Question, *dns.Msg) {
		return func(q dns.Question, m *dns.Msg) {
			if q.Name == qname && q.Qtype == qtype {
				m.Answer = copies(m.Answer)
				f(m)
			}
		}
	}
	empty := func(m *dns.Msg) { m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeSuccess }
	for _, c := range []struct {
		name, qname string
		qtype       uint16
		change      func(dns.Question, *dns.Msg)
		why         string
	}{
		{"altered data", "mx.example.", dns.TypeA, only("mx.example.", dns.TypeA, func(m *dns.Msg) { m.Answer[0].(*dns.A).A[3]++ }), "does not fit"},
		{"record added", "mx.example.", dns.TypeA, only("mx.example.", dns.TypeA, func(m *dns.Msg) {
			rr := dns.Copy(m.Answer[0])
			rr.(*dns.A).A[3]++
			m.Answer = append(m.Answer, rr)
		}), "does not fit"},
		{"missing RRSIG", "mx.example.", dns.TypeA, only("mx.example.", dns.TypeA, func(m *dns.Msg) { drop(&m.Answer, ofType(dns.TypeRRSIG)) }), "has no signature"},
		{"RRset stripped", "mx.example.", dns.TypeA, only("mx.example.", dns.TypeA, empty), "no proof"},
		{"NSEC stripped", "gone.example.", dns.TypeA, only("gone.example.", dns.TypeA, func(m *dns.Msg) { drop(&m.Ns, ofType(dns.TypeNSEC)) }), "nothing denies"},
		{"NSEC3 stripped", "gone.signed.example.", dns.TypeA, only("gone.signed.example.", dns.TypeA, func(m *dns.Msg) { drop(&m.Ns, ofType(dns.TypeNSEC3)) }), "nothing denies"},
		{"denial without signatures", "gone.example.", dns.TypeA, only("gone.example.", dns.TypeA, func(m *dns.Msg) { drop(&m.Ns, ofType(dns.TypeRRSIG)) }), "no proof"},
		{"NSEC of the name says it exists", "mx.example.", dns.TypeA, only("mx.example.", dns.TypeA, func(m *dns.Msg) { m.Answer, m.Ns = nil, proofsOf("example.") }), "exists"},
		{"wildcard not denied", "gone.example.", dns.TypeA, only("gone.example.", dns.TypeA, func(m *dns.Msg) {
			drop(&m.Ns, func(rr dns.RR) bool { return rr.Header().Name == "example." && rr.Header().Rrtype == dns.TypeNSEC })
		}), "wildcard *.example."},
		{"wildcard instead of the closer name", "b.wild.example.", dns.TypeTXT, only("b.wild.example.", dns.TypeTXT, func(m *dns.Msg) {
			star := zones["example."]
			m.Answer, m.Ns = nil, nil
			star.put(m, "*.wild.example.", "b.wild.example.", dns.TypeTXT)
			m.Ns = star.proofs
		}), "nothing denies a closer name"},
		{"wildcard without proof", "a.wild.example.", dns.TypeTXT, only("a.wild.example.", dns.TypeTXT, func(m *dns.Msg) { m.Ns = nil }), "nothing denies a closer name"},
		{"NSEC3 wildcard without proof", "a.wild.signed.example.", dns.TypeTXT, only("a.wild.signed.example.", dns.TypeTXT, func(m *dns.Msg) { m.Ns = nil }), "nothing denies a closer name"},
		{"child denied with the parent's NSEC", "www.plain.example.", dns.TypeA, only("www.plain.example.", dns.TypeA, func(m *dns.Msg) {
			m.Answer, m.Ns, m.Rcode = nil, proofsOf("example."), dns.RcodeNameError
		}), "nothing denies"},
		{"DS stripped", "www.signed.example.", dns.TypeA, only("signed.example.", dns.TypeDS, empty), "whether signed.example. is delegated"},
		{"DS denied by the child", "www.signed.example.", dns.TypeA, only("signed.example.", dns.TypeDS, func(m *dns.Msg) {
			m.Answer, m.Ns = nil, proofsOf("signed.example.")
		}), "whether signed.example. is delegated"},
		{"DNSKEY stripped", "mx.example.", dns.TypeA, only("example.", dns.TypeDNSKEY, empty), "has no DNSKEY"},
		{"DNSKEY added", "mx.example.", dns.TypeA, only("example.", dns.TypeDNSKEY, func(m *dns.Msg) {
			m.Answer = append(m.Answer, dns.Copy(zones["elsewhere."].key))
			m.Answer[len(m.Answer)-1].Header().Name = "example."
		}), "does not fit"},
		{"signed by another zone", "mx.example.", dns.TypeA, only("mx.example.", dns.TypeA, func(m *dns.Msg) {
			m.Answer[1].(*dns.RRSIG).SignerName = "signed.example."
		}), "has no signature"},
		{"signed by a zone above the anchor", "mx.example.", dns.TypeA, only("mx.example.", dns.TypeA, func(m *dns.Msg) {
			m.Answer[1].(*dns.RRSIG).SignerName = "."
		}), "has no signature"},
		{"signer is no zone", "_25._tcp.mx.example.", dns.TypeTLSA, only("_25._tcp.mx.example.", dns.TypeTLSA, func(m *dns.Msg) {
			m.Answer[1].(*dns.RRSIG).SignerName = "mx.example."
		}), "the signer is"},
		{"alias without signature", "alias.example.", dns.TypeA, only("alias.example.", dns.TypeA, func(m *dns.Msg) { drop(&m.Answer, ofType(dns.TypeRRSIG)) }), "has no signature"},
		{"target altered", "alias.example.", dns.TypeA, only("mx.example.", dns.TypeA, func(m *dns.Msg) { m.Answer[0].(*dns.A).A[3]++ }), "does not fit"},
		{"forged for a signed zone, unsigned", "www.signed.example.", dns.TypeA, only("www.signed.example.", dns.TypeA, func(m *dns.Msg) {
			drop(&m.Answer, ofType(dns.TypeRRSIG))
		}), "has no signature"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.change = c.change
			a, err := w.resolver(t).Lookup(t.Context(), c.qname, c.qtype)
			if err != nil {
				t.Fatal(err)
			}
			if a.Status != dnssec.Bogus || len(a.RRs) != 0 || !strings.Contains(a.Why, c.why) {
				t.Errorf("got %+v, want bogus because of %q", a, c.why)
			}
		})
	}
}

func TestTimeWindow(t *testing.T) {
	w := testWorld(t)
	for _, c := range []struct {
		offset time.Duration
		want   dnssec.Status
	}{
		{-2 * time.Hour, dnssec.Bogus}, {-time.Hour, dnssec.Secure}, {time.Hour, dnssec.Secure}, {time.Hour + time.Second, dnssec.Bogus},
	} {
		r := w.resolver(t, func(o *dnssec.Options) { o.Now = func() time.Time { return now.Add(c.offset) } })
		if a, err := r.Lookup(t.Context(), "mx.example", dns.TypeA); err != nil || a.Status != c.want {
			t.Errorf("%v: %+v, %v, want %s", c.offset, a, err, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	down := errors.New("network is down")
	for _, c := range []struct {
		name, qname string
		qtype       uint16
		fail        func(dns.Question, string) (*dns.Msg, error)
		change      func(dns.Question, *dns.Msg)
		want        string
	}{
		{name: "no name", qname: "", qtype: dns.TypeA, want: "not a domain name"},
		{name: "bad name", qname: strings.Repeat("x", 64) + ".example", qtype: dns.TypeA, want: "not a domain name"},
		{name: "ANY", qname: "example", qtype: dns.TypeANY, want: "ANY can't"},
		{name: "no server", qname: "example", qtype: dns.TypeMX, fail: func(dns.Question, string) (*dns.Msg, error) { return nil, down }, want: "network is down"},
		{name: "no server for the keys", qname: "example", qtype: dns.TypeMX, fail: func(q dns.Question, _ string) (*dns.Msg, error) {
			if q.Qtype == dns.TypeDNSKEY {
				return nil, down
			}
			return nil, nil
		}, want: "network is down"},
		{name: "SERVFAIL", qname: "mx.example", qtype: dns.TypeA, change: func(_ dns.Question, m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }, want: "SERVFAIL"},
		{name: "wrong ID", qname: "mx.example", qtype: dns.TypeA, change: func(_ dns.Question, m *dns.Msg) { m.Id++ }, want: "does not belong"},
		{name: "wrong question", qname: "mx.example", qtype: dns.TypeA, change: func(_ dns.Question, m *dns.Msg) { m.Question[0].Name = "x.example." }, want: "does not belong"},
		{name: "always truncated", qname: "mx.example", qtype: dns.TypeA, change: func(_ dns.Question, m *dns.Msg) { m.Truncated = true }, want: "truncated"},
		{name: "alias loop", qname: "loop.example", qtype: dns.TypeA, want: "loop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := testWorld(t)
			w.fail, w.change = c.fail, c.change
			a, err := w.resolver(t).Lookup(t.Context(), c.qname, c.qtype)
			if err == nil || !strings.Contains(err.Error(), c.want) || a.Status != dnssec.Error || len(a.RRs) > 0 {
				t.Errorf("got %+v, %v, want error with %q", a, err, c.want)
			}
		})
	}
}

func TestTruncatedIsAskedAgainOverTCP(t *testing.T) {
	w := testWorld(t)
	w.fail = func(_ dns.Question, network string) (*dns.Msg, error) {
		if network == "udp" {
			return new(dns.Msg), nil // comes back truncated
		}
		return nil, nil
	}
	if a, err := w.resolver(t).Lookup(t.Context(), "mx.example", dns.TypeA); err != nil || a.Status != dnssec.Secure {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestNextServerIsAsked(t *testing.T) {
	w := testWorld(t)
	r := w.resolver(t, func(o *dnssec.Options) {
		o.Servers = []string{"dead", "alive"}
		o.Exchange = func(ctx context.Context, m *dns.Msg, network, server string) (*dns.Msg, error) {
			if server == "dead" {
				return nil, errors.New("no route")
			}
			return w.Exchange(ctx, m, network, server)
		}
	})
	if a, err := r.Lookup(t.Context(), "mx.example", dns.TypeA); err != nil || a.Status != dnssec.Secure {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestLostDatagramIsSentAgain(t *testing.T) {
	w := testWorld(t)
	lost := map[dns.Question]bool{}
	w.fail = func(q dns.Question, _ string) (*dns.Msg, error) {
		if !lost[q] {
			lost[q] = true
			return nil, context.DeadlineExceeded
		}
		return nil, nil
	}
	if a, err := w.resolver(t).Lookup(t.Context(), "www.signed.example", dns.TypeA); err != nil || a.Status != dnssec.Secure {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestCache(t *testing.T) {
	w := testWorld(t)
	at := now
	r := w.resolver(t, func(o *dnssec.Options) { o.Now = func() time.Time { return at } })
	look := func() dnssec.Answer {
		t.Helper()
		a, err := r.Lookup(t.Context(), "mx.example", dns.TypeA)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	look()
	first := w.queries
	look().RRs[0].(*dns.A).A[3] = 99 // belongs to the caller
	if w.queries != first {
		t.Errorf("%d queries for what was just asked", w.queries-first)
	}
	if a := look(); a.Status != dnssec.Secure {
		t.Errorf("a caller changed the cache: %+v", a)
	}
	at = at.Add(61 * time.Second)
	look()
	if w.queries == first {
		t.Error("not asked again after the TTL")
	}
}

// What turned out bogus is not kept.
func TestBogusFromCacheIsAskedAgain(t *testing.T) {
	w := testWorld(t)
	key := w.zones["example."].key
	r := w.resolver(t, func(o *dnssec.Options) { o.TrustAnchors = []dns.RR{key} })
	w.change = func(q dns.Question, m *dns.Msg) {
		if q.Qtype == dns.TypeMX {
			m.Answer[0].(*dns.MX).Preference++
		}
	}
	if a, _ := r.Lookup(t.Context(), "example", dns.TypeMX); a.Status != dnssec.Bogus {
		t.Fatalf("got %+v", a)
	}
	w.change = nil
	if a, err := r.Lookup(t.Context(), "example", dns.TypeMX); err != nil || a.Status != dnssec.Secure {
		t.Errorf("a bogus answer was kept: %+v, %v", a, err)
	}
}

func TestWithoutTrustAnchorsEverythingIsInsecure(t *testing.T) {
	w := testWorld(t)
	r := w.resolver(t, func(o *dnssec.Options) { o.TrustAnchors = nil })
	if a, err := r.Lookup(t.Context(), "mx.example", dns.TypeA); err != nil || a.Status != dnssec.Insecure || len(a.RRs) != 1 {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestLimits(t *testing.T) {
	w := testWorld(t)
	r := w.resolver(t, func(o *dnssec.Options) { o.MaxQueries = 2 })
	if _, err := r.Lookup(t.Context(), "deep.signed.example", dns.TypeA); err == nil || !strings.Contains(err.Error(), "more than 2 queries") {
		t.Errorf("queries: %v", err)
	}
	r = w.resolver(t, func(o *dnssec.Options) { o.MaxVerifications = 1 })
	if a, err := r.Lookup(t.Context(), "mx.example", dns.TypeA); err != nil || a.Status != dnssec.Bogus || !strings.Contains(a.Why, "signature checks") {
		t.Errorf("verifications: %+v, %v", a, err)
	}
	// KeyTrap: many signatures that fit no key must not cost many checks.
	w.change = func(q dns.Question, m *dns.Msg) {
		if q.Qtype != dns.TypeA {
			return
		}
		good := m.Answer[1].(*dns.RRSIG)
		for range 100 {
			bad := dns.Copy(good).(*dns.RRSIG)
			bad.Signature = "AAAA"
			m.Answer = slices.Insert(m.Answer, 1, dns.RR(bad))
		}
	}
	if a, err := w.resolver(t).Lookup(t.Context(), "mx.example", dns.TypeA); err != nil || a.Status != dnssec.Bogus {
		t.Errorf("KeyTrap: %+v, %v", a, err)
	}
}

func TestNewRefuses(t *testing.T) {
	soa := &dns.SOA{Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeSOA}}
	for name, o := range map[string]dnssec.Options{
		"servers": {},
		"anchor":  {Servers: []string{"x:53"}, TrustAnchors: []dns.RR{soa}},
		"digest":  {Servers: []string{"x:53"}, TrustAnchors: []dns.RR{&dns.DS{Algorithm: 13, DigestType: 200}}},
	} {
		if _, err := dnssec.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := dnssec.New(dnssec.Options{Servers: []string{"x:53"}, TrustAnchors: dnssec.RootAnchors()}); err != nil {
		t.Error(err)
	}
}

// A response made by anyone never gives secure data that the zone did not sign.
func FuzzResponse(f *testing.F) {
	w := testWorld(f)
	for _, q := range []dns.Question{
		{Name: "mx.example.", Qtype: dns.TypeA, Qclass: 1},
		{Name: "gone.example.", Qtype: dns.TypeA, Qclass: 1},
		{Name: "a.wild.example.", Qtype: dns.TypeTXT, Qclass: 1},
		{Name: "gone.signed.example.", Qtype: dns.TypeA, Qclass: 1},
	} {
		m := new(dns.Msg)
		m.SetQuestion(q.Name, q.Qtype)
		w.zone(q.Name, q.Qtype).answer(q, m)
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		forged := new(dns.Msg)
		if forged.Unpack(wire) != nil {
			return
		}
		w := *w
		w.change = func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeA || q.Qtype == dns.TypeTXT {
				m.Answer, m.Ns, m.Rcode = forged.Answer, forged.Ns, forged.Rcode&0xf
			}
		}
		r := w.resolver(t)
		for _, name := range []string{"mx.example.", "gone.example.", "gone.signed.example.", "www.signed.example."} {
			a, err := r.Lookup(t.Context(), name, dns.TypeA)
			if err != nil || a.Status != dnssec.Secure {
				continue
			}
			want := w.zone(name, dns.TypeA).sets[name][dns.TypeA]
			if len(a.RRs) != len(want) {
				t.Fatalf("%s: secure with %v, the zone has %v", name, a.RRs, want)
			}
			for i := range a.RRs {
				if a.RRs[i].(*dns.A).A.String() != want[i].(*dns.A).A.String() {
					t.Fatalf("%s: secure with %v, the zone has %v", name, a.RRs, want)
				}
			}
		}
	})
}
