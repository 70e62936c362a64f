package dnssec_test

import (
	"context"
	"crypto"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// testZone is a zone that can be signed in every way that matters here.
type testZone struct {
	name       string
	records    string // zone file lines
	unsigned   bool
	nsec3      bool
	optOut     bool
	iterations uint16
	expired    bool
	signed     time.Time // when; now by default

	key    *dns.DNSKEY
	signer crypto.Signer
	sets   map[string]map[uint16][]dns.RR // with RRSIGs under TypeRRSIG
	proofs []dns.RR                       // NSEC or NSEC3 and RRSIGs
}

func (z *testZone) build(t testing.TB) {
	t.Helper()
	z.sets = map[string]map[uint16][]dns.RR{}
	head := fmt.Sprintf("$ORIGIN %s\n$TTL 60\n@ SOA ns host 1 60 60 60 60\n@ NS ns.invalid.\n", z.name)
	parser := dns.NewZoneParser(strings.NewReader(head+z.records), z.name, "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		z.add(rr)
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	if z.unsigned {
		return
	}
	z.key = &dns.DNSKEY{Hdr: dns.RR_Header{Name: z.name, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 60}, Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256}
	private, err := z.key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	z.signer = private.(crypto.Signer)
	z.add(z.key)
}

func (z *testZone) add(rr dns.RR) {
	h := rr.Header()
	if z.sets[h.Name] == nil {
		z.sets[h.Name] = map[uint16][]dns.RR{}
	}
	z.sets[h.Name][h.Rrtype] = append(z.sets[h.Name][h.Rrtype], rr)
}

// delegated says whether name is a zone cut or below one.
func (z *testZone) delegated(name string) (cut, below bool) {
	for n := name; n != z.name && n != "."; n = n[strings.Index(n, ".")+1:] {
		if z.sets[n][dns.TypeNS] != nil {
			return true, n != name
		}
	}
	return false, false
}

func (z *testZone) sign(t testing.TB) {
	t.Helper()
	if z.unsigned {
		return
	}
	for name, set := range z.sets {
		cut, below := z.delegated(name)
		for rrtype, rrs := range set {
			if rrtype != dns.TypeRRSIG && !below && (!cut || rrtype == dns.TypeDS) {
				z.add(z.rrsig(t, rrs))
			}
		}
	}
	names := map[string][]uint16{}
	for name, set := range z.sets {
		cut, below := z.delegated(name)
		if below || z.optOut && cut && set[dns.TypeDS] == nil {
			continue
		}
		names[name] = append(slices.Collect(maps.Keys(set)), z.extra()...)
		for n := name; z.nsec3 && n != z.name; n = n[strings.Index(n, ".")+1:] { // empty non-terminals
			if _, ok := names[n]; !ok {
				names[n] = nil
			}
		}
	}
	if z.nsec3 {
		z.chain3(t, names)
	} else {
		z.chain(t, names)
	}
}

func (z *testZone) extra() []uint16 {
	if z.nsec3 {
		return nil
	}
	return []uint16{dns.TypeNSEC, dns.TypeRRSIG}
}

func (z *testZone) chain(t testing.TB, names map[string][]uint16) {
	order := slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		x, y := dns.SplitDomainName(a), dns.SplitDomainName(b)
		slices.Reverse(x)
		slices.Reverse(y)
		return slices.Compare(x, y)
	})
	for i, name := range order {
		slices.Sort(names[name])
		n := &dns.NSEC{
			Hdr:        dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 60},
			NextDomain: order[(i+1)%len(order)], TypeBitMap: slices.Compact(names[name]),
		}
		z.proofs = append(z.proofs, n, z.rrsig(t, []dns.RR{n}))
	}
}

func (z *testZone) chain3(t testing.TB, names map[string][]uint16) {
	byHash := map[string][]uint16{}
	for name, types := range names {
		byHash[dns.HashName(name, dns.SHA1, z.iterations, "AB")] = types
	}
	order := slices.Sorted(maps.Keys(byHash))
	for i, hash := range order {
		slices.Sort(byHash[hash])
		n := &dns.NSEC3{
			Hdr:  dns.RR_Header{Name: strings.ToLower(hash) + "." + z.name, Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: 60},
			Hash: dns.SHA1, Iterations: z.iterations, SaltLength: 1, Salt: "AB", HashLength: 20,
			NextDomain: order[(i+1)%len(order)], TypeBitMap: slices.Compact(byHash[hash]),
		}
		if z.optOut {
			n.Flags = 1
		}
		z.proofs = append(z.proofs, n, z.rrsig(t, []dns.RR{n}))
	}
}

func (z *testZone) rrsig(t testing.TB, rrs []dns.RR) *dns.RRSIG {
	t.Helper()
	at := now
	if !z.signed.IsZero() {
		at = z.signed
	}
	sig := &dns.RRSIG{
		Hdr:       dns.RR_Header{Name: rrs[0].Header().Name, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: 60},
		Algorithm: z.key.Algorithm, KeyTag: z.key.KeyTag(), SignerName: z.name,
		Inception: uint32(at.Add(-time.Hour).Unix()), Expiration: uint32(at.Add(time.Hour).Unix()),
	}
	if z.expired {
		sig.Expiration = uint32(at.Add(-time.Minute).Unix())
	}
	if err := sig.Sign(z.signer, rrs); err != nil {
		t.Fatal(err)
	}
	return sig
}

// world answers for its zones like a recursive resolver with CD set, but
// follows no aliases.
type world struct {
	zones   map[string]*testZone
	queries int
	change  func(q dns.Question, m *dns.Msg)
	fail    func(q dns.Question, network string) (*dns.Msg, error)
}

func newWorld(t testing.TB, zones ...*testZone) *world {
	t.Helper()
	w := &world{zones: map[string]*testZone{}}
	for _, z := range zones {
		z.build(t)
		w.zones[z.name] = z
	}
	for _, z := range zones { // the parent gets the DS, unless it says otherwise
		up := w.zone(z.name[strings.Index(z.name, ".")+1:], dns.TypeNS)
		if up == nil || z.unsigned {
			continue
		}
		if up.sets[z.name][dns.TypeDS] == nil && up.sets[z.name][dns.TypeTXT] == nil {
			up.add(z.key.ToDS(dns.SHA256))
		}
	}
	for _, z := range zones {
		z.sign(t)
	}
	return w
}

func (w *world) zone(name string, qtype uint16) *testZone {
	if qtype == dns.TypeDS {
		_, name, _ = strings.Cut(name, ".")
	}
	for name != "" {
		if z := w.zones[name]; z != nil {
			return z
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return nil
}

func (w *world) Exchange(_ context.Context, query *dns.Msg, network, _ string) (*dns.Msg, error) {
	w.queries++
	q := query.Question[0]
	if w.fail != nil {
		if m, err := w.fail(q, network); m != nil || err != nil {
			if m != nil {
				m.SetReply(query)
				m.Truncated = true
			}
			return m, err
		}
	}
	m := new(dns.Msg)
	m.SetReply(query)
	if z := w.zone(q.Name, q.Qtype); z != nil {
		z.answer(q, m)
	} else {
		m.Rcode = dns.RcodeNameError
	}
	if w.change != nil {
		w.change(q, m)
	}
	wire, err := m.Pack()
	if err != nil {
		return nil, err
	}
	m = new(dns.Msg)
	return m, m.Unpack(wire)
}

func (z *testZone) answer(q dns.Question, m *dns.Msg) {
	if z.put(m, q.Name, q.Name, q.Qtype) {
		return
	}
	exists := false
	for name := range z.sets {
		exists = exists || dns.IsSubDomain(q.Name, name)
	}
	for n := q.Name; !exists && n != z.name && n != "."; {
		n = n[strings.Index(n, ".")+1:]
		if set := z.sets[n]; set[dns.TypeDNAME] != nil && z.put(m, n, n, dns.TypeDNAME) {
			return
		}
		if z.put(m, "*."+n, q.Name, q.Qtype) {
			m.Ns = append(m.Ns, z.proofs...)
			return
		}
		if z.sets["*."+n] != nil {
			exists = true
		}
	}
	if !exists {
		m.Rcode = dns.RcodeNameError
	}
	m.Ns = append(m.Ns, z.sets[z.name][dns.TypeSOA]...)
	m.Ns = append(m.Ns, z.covering(z.name, dns.TypeSOA)...)
	m.Ns = append(m.Ns, z.proofs...)
}

func (z *testZone) covering(owner string, rrtype uint16) (out []dns.RR) {
	for _, sig := range z.sets[owner][dns.TypeRRSIG] {
		if sig.(*dns.RRSIG).TypeCovered == rrtype {
			out = append(out, sig)
		}
	}
	return out
}

// put answers from the records of owner under the name as.
func (z *testZone) put(m *dns.Msg, owner, as string, qtype uint16) bool {
	for _, rrtype := range []uint16{qtype, dns.TypeCNAME} {
		rrs := z.sets[owner][rrtype]
		if len(rrs) == 0 {
			continue
		}
		for _, rr := range append(slices.Clone(rrs), z.covering(owner, rrtype)...) {
			rr = dns.Copy(rr)
			rr.Header().Name = as
			m.Answer = append(m.Answer, rr)
		}
		return true
	}
	return false
}

func (w *world) resolver(t testing.TB, change ...func(*dnssec.Options)) *dnssec.Resolver {
	t.Helper()
	opts := dnssec.Options{
		TrustAnchors: []dns.RR{w.zones["example."].key.ToDS(dns.SHA256)},
		Servers:      []string{"192.0.2.53:53"},
		Exchange:     w.Exchange,
		Now:          func() time.Time { return now },
	}
	for _, f := range change {
		f(&opts)
	}
	r, err := dnssec.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
