package zones_test

import (
	"context"
	"crypto"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/zones"
)

// parentZone is the signed zone "example." with two servers.
type parentZone struct {
	clk    *clock
	key    *dns.DNSKEY
	signer crypto.Signer
	ttl    uint32        // of DS records
	served [2][]*dns.DS  // by each server
	fail   error         // of a question about DS
	lie    time.Duration // what the TTL is said to be
}

func newParent(t testing.TB, clk *clock, ttl uint32) *parentZone {
	t.Helper()
	p := &parentZone{clk: clk, ttl: ttl, key: &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: "example.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}}
	private, err := p.key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	p.signer = private.(crypto.Signer)
	return p
}

// set makes records those of some servers.
func (p *parentZone) set(records []*dns.DS, servers ...int) {
	for _, i := range servers {
		p.served[i] = nil
		for _, ds := range records {
			own := *ds
			own.Hdr.Ttl = p.ttl
			p.served[i] = append(p.served[i], &own)
		}
	}
}

// ask is KeyOptions.ParentDS.
func (p *parentZone) ask(context.Context) ([][]*dns.DS, error) {
	if p.fail != nil {
		return nil, p.fail
	}
	var out [][]*dns.DS
	for _, set := range p.served {
		var copied []*dns.DS
		for _, ds := range set {
			own := *ds
			if p.lie != 0 {
				own.Hdr.Ttl = uint32(p.lie.Seconds())
			}
			copied = append(copied, &own)
		}
		out = append(out, copied)
	}
	return out, nil
}

// answer gives a signed answer of one server, from the parent's side of the cut.
func (p *parentZone) answer(q *dns.Msg, server int) (*dns.Msg, error) {
	m := new(dns.Msg).SetReply(q)
	var rrs []dns.RR
	switch {
	case q.Question[0].Qtype == dns.TypeDS && q.Question[0].Name == zoneName:
		for _, ds := range p.served[server] {
			rrs = append(rrs, ds)
		}
	case q.Question[0].Qtype == dns.TypeDNSKEY && q.Question[0].Name == "example.":
		rrs = []dns.RR{p.key}
	}
	if len(rrs) == 0 { // only a zone without DS: proven to be insecure
		rrs = []dns.RR{&dns.NSEC{
			Hdr:        dns.RR_Header{Name: zoneName, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: p.ttl},
			NextDomain: "example.", TypeBitMap: []uint16{dns.TypeNS, dns.TypeRRSIG, dns.TypeNSEC},
		}}
		m.Ns = rrs
	} else {
		m.Answer = rrs
	}
	now := p.clk.Now()
	sig := &dns.RRSIG{
		Hdr: dns.RR_Header{Ttl: rrs[0].Header().Ttl}, Algorithm: p.key.Algorithm, KeyTag: p.key.KeyTag(), SignerName: "example.",
		Inception: uint32(now.Add(-time.Hour).Unix()), Expiration: uint32(now.Add(240 * time.Hour).Unix()),
	}
	if err := sig.Sign(p.signer, rrs); err != nil {
		return nil, err
	}
	if len(m.Answer) > 0 {
		m.Answer = append(m.Answer, sig)
	} else {
		m.Ns = append(m.Ns, sig)
	}
	return m, nil
}

// newResolver returns a validating, caching resolver that begins at the parent.
func newResolver(t testing.TB, p *parentZone, z func() *zones.Zone, server int) *dnssec.Resolver {
	t.Helper()
	r, err := dnssec.New(dnssec.Options{
		TrustAnchors: []dns.RR{p.key.ToDS(dns.SHA256)}, Servers: []string{"world"}, Now: p.clk.Now, CacheTTL: 48 * time.Hour,
		Exchange: func(ctx context.Context, m *dns.Msg, network, _ string) (*dns.Msg, error) {
			q := m.Question[0]
			if q.Name == "example." || q.Name == zoneName && q.Qtype == dns.TypeDS {
				return p.answer(m, server)
			}
			return z().Answer(ctx, m, client(), network == "udp"), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// history is every version of some RRsets with the time it was served.
type history struct {
	sets map[string][]version
}

type version struct {
	rrs         []dns.RR
	first, last time.Time
}

func (h *history) see(id string, at time.Time, rrs []dns.RR) {
	if h.sets == nil {
		h.sets = make(map[string][]version)
	}
	list := h.sets[id]
	if n := len(list); n > 0 && slices.EqualFunc(list[n-1].rrs, rrs, func(a, b dns.RR) bool { return a.String() == b.String() }) {
		list[n-1].last = at
		return
	}
	h.sets[id] = append(list, version{slices.Clone(rrs), at, at})
}

// record notes what zone and parent serve now.
func (h *history) record(t testing.TB, z *zones.Zone, p *parentZone) {
	t.Helper()
	now := p.clk.Now()
	for _, q := range []struct {
		name  string
		qtype uint16
	}{
		{"", dns.TypeDNSKEY}, {"", dns.TypeCDS}, {"", dns.TypeCDNSKEY}, {"et.", dns.TypeMX}, {"_25._tcp.mx04.et.", dns.TypeTLSA}, {"ut.", dns.TypeNSEC},
	} {
		m := ask(t, z, q.name+zoneName, q.qtype, true)
		h.see(dns.TypeToString[q.qtype], now, m.Answer)
	}
	for i, set := range p.served {
		var rrs []dns.RR
		for _, ds := range set {
			rrs = append(rrs, ds)
		}
		h.see(fmt.Sprint("DS", i), now, rrs)
	}
}

// meet reports whether two versions can be in caches at the same time.
func meet(a version, cacheA time.Duration, b version, cacheB time.Duration) bool {
	return !a.first.After(b.last.Add(cacheB)) && !b.first.After(a.last.Add(cacheA))
}

// broken returns every pair of versions that can be in caches at the same time
// and do not validate: DS with DNSKEY, DNSKEY with what it signs. own and ds
// are how long they can be cached after they were last served.
func (h *history) broken(own, ds time.Duration) (out []string) {
	for id, list := range h.sets {
		for _, v := range list {
			for _, keys := range h.sets["DNSKEY"] {
				var err error
				switch {
				case strings.HasPrefix(id, "DS") && meet(v, ds, keys, own):
					err = entered(v.rrs, keys.rrs)
				case !strings.HasPrefix(id, "DS") && meet(v, own, keys, own):
					err = validates(v.rrs, keys.rrs, nil)
				}
				if err != nil {
					out = append(out, fmt.Sprintf("%s of %v with keys of %v: %v", id, v.first, keys.first, err))
				}
			}
		}
	}
	return out
}

// unentitled returns every CDS and CDNSKEY RRset that the parent must not act
// on: RFC 7344 §4.1 wants it signed by a key that the parent has a DS of.
func (h *history) unentitled() (out []string) {
	for _, id := range []string{"CDS", "CDNSKEY"} {
		for _, v := range h.sets[id] {
			for _, ds := range slices.Concat(h.sets["DS0"], h.sets["DS1"]) {
				for _, keys := range h.sets["DNSKEY"] {
					if !meet(v, 0, ds, 0) || !meet(v, 0, keys, 0) || !meet(ds, 0, keys, 0) {
						continue
					}
					if err := validates(v.rrs, keys.rrs, func(k *dns.DNSKEY) bool { return hasDS(ds.rrs, k) }); err != nil {
						out = append(out, fmt.Sprintf("%s of %v with DS of %v: %v", id, v.first, ds.first, err))
					}
				}
			}
		}
	}
	return out
}

func hasDS(ds []dns.RR, key *dns.DNSKEY) bool {
	return slices.ContainsFunc(ds, func(rr dns.RR) bool {
		want := rr.(*dns.DS)
		return key.KeyTag() == want.KeyTag && strings.EqualFold(key.ToDS(want.DigestType).Digest, want.Digest)
	})
}

// entered checks the DNSKEY RRset against a DS RRset (RFC 4035 §5.2).
func entered(ds, keys []dns.RR) error {
	err := validates(keys, keys, func(k *dns.DNSKEY) bool { return hasDS(ds, k) })
	if err != nil {
		return fmt.Errorf("no DS of %d leads to a key: %w", len(ds), err)
	}
	return nil
}

// validates looks for a key that made a signature of rrs.
func validates(rrs, keys []dns.RR, eligible func(*dns.DNSKEY) bool) error {
	var set []dns.RR
	var sigs []*dns.RRSIG
	for _, rr := range rrs {
		if sig, ok := rr.(*dns.RRSIG); ok {
			sigs = append(sigs, sig)
		} else {
			set = append(set, rr)
		}
	}
	for _, sig := range sigs {
		for _, rr := range keys {
			key, ok := rr.(*dns.DNSKEY)
			if ok && (eligible == nil || eligible(key)) && key.KeyTag() == sig.KeyTag && sig.Verify(key, set) == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("%d signatures, none by these keys", len(sigs))
}
