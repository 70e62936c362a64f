package zones_test

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/zones"
)

const zoneName = "sink.example."

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// options are those of a zone with two slots and everything published.
func options() zones.Options {
	data := func(b byte) []zones.TLSARecord {
		return []zones.TLSARecord{{3, 1, 1, slices.Repeat([]byte{b}, 32)}}
	}
	return zones.Options{
		Zone:      "sink.example",
		Slots:     2,
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.25"), netip.MustParseAddr("2001:db8::25")},
		TLSA: map[string][]zones.TLSARecord{
			"mx.sink.example":      data(1),
			"mx03.et.sink.example": data(3),
			"mx04.et.sink.example": append(data(4), data(0x44)...),
			"mx05.et.sink.example": data(5),
			"mx06.et.sink.example": data(6),
		},
		PolicyID: "20260301T000000",
		DKIM:     []zones.DKIM{{Selector: "s1", Record: "v=DKIM1; k=ed25519; p=" + strings.Repeat("A", 400)}},
		Now:      newClock().Now,
	}
}

func newZone(t testing.TB, o zones.Options) *zones.Zone {
	t.Helper()
	z, err := zones.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func client() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.53:5353") }

func ask(t testing.TB, z *zones.Zone, name string, qtype uint16, do bool) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	if do {
		m.SetEdns0(4096, true)
	}
	return exchange(t, z, m, true)
}

func exchange(t testing.TB, z *zones.Zone, m *dns.Msg, udp bool) *dns.Msg {
	t.Helper()
	reply := z.Answer(t.Context(), m, client(), udp)
	if reply == nil {
		t.Fatalf("no answer to\n%v", m)
	}
	wire, err := reply.Pack()
	if err != nil {
		t.Fatalf("answer can't be packed: %v", err)
	}
	out := new(dns.Msg)
	if err := out.Unpack(wire); err != nil {
		t.Fatalf("answer can't be unpacked: %v", err)
	}
	return out
}

// short writes records as "name type data", names relative to the zone.
func short(rrs []dns.RR) []string {
	out := []string{}
	for _, rr := range rrs {
		h := rr.Header()
		data := strings.TrimPrefix(rr.String(), h.String())
		switch v := rr.(type) {
		case *dns.RRSIG:
			data = dns.TypeToString[v.TypeCovered]
		case *dns.SOA, *dns.DNSKEY:
			data = "…"
		case *dns.TLSA:
			data = data[:8]
		}
		s := h.Name + " " + dns.TypeToString[h.Rrtype] + " " + data
		out = append(out, strings.ReplaceAll(strings.ReplaceAll(s, "."+zoneName, ""), zoneName, "@"))
	}
	slices.Sort(out)
	return out
}

func TestAnswers(t *testing.T) {
	z := newZone(t, options())
	soa := []string{"@ SOA …"}
	for _, c := range []struct {
		name   string
		qname  string
		qtype  uint16
		rcode  int
		answer []string
		proofs []string // NSEC owners with DO
	}{
		{"SOA", "", dns.TypeSOA, 0, []string{"@ SOA …"}, nil},
		{"NS", "", dns.TypeNS, 0, []string{"@ NS ns1"}, nil},
		{"DNSKEY", "", dns.TypeDNSKEY, 0, []string{"@ DNSKEY …"}, nil},
		{"apex MX", "", dns.TypeMX, 0, []string{"@ MX 10 mx"}, nil},
		{"apex A", "", dns.TypeA, 0, []string{"@ A 192.0.2.25"}, nil},
		{"apex AAAA", "", dns.TypeAAAA, 0, []string{"@ AAAA 2001:db8::25"}, nil},
		{"apex SPF", "", dns.TypeTXT, 0, []string{`@ TXT "v=spf1 mx -all"`}, nil},
		{"EHLO SPF", "mx.", dns.TypeTXT, 0, []string{`mx TXT "v=spf1 a -all"`}, nil},
		{"DMARC", "_dmarc.", dns.TypeTXT, 0, []string{`_dmarc TXT "v=DMARC1; p=reject"`}, nil},
		{"TLS-RPT", "_smtp._tls.et.", dns.TypeTXT, 0, []string{`_smtp._tls.et TXT "v=TLSRPTv1; rua=mailto:tlsrpt@sink.example"`}, nil},
		{"long TXT is split", "s1._domainkey.", dns.TypeTXT, 0, []string{`s1._domainkey TXT "v=DKIM1; k=ed25519; p=` + strings.Repeat("A", 233) + `" "` + strings.Repeat("A", 167) + `"`}, nil},
		{"et MX", "et.", dns.TypeMX, 0, []string{"et MX 10 mx03.et", "et MX 20 mx04.et", "et MX 30 mx05.et", "et MX 40 mx06.et"}, nil},
		{"MX hosts have one address", "mx03.et.", dns.TypeA, 0, []string{"mx03.et A 192.0.2.25"}, nil},
		{"MX hosts have no AAAA", "mx03.et.", dns.TypeAAAA, 0, nil, []string{"mx03.et"}},
		{"TLSA", "_25._tcp.mx04.et.", dns.TypeTLSA, 0, []string{"_25._tcp.mx04.et TLSA 3 1 1 04", "_25._tcp.mx04.et TLSA 3 1 1 44"}, nil},
		{"MTA-STS record", "_mta-sts.et.", dns.TypeTXT, 0, []string{`_mta-sts.et TXT "v=STSv1; id=20260301T000000;"`}, nil},
		{"policy host", "mta-sts.et.", dns.TypeAAAA, 0, []string{"mta-sts.et AAAA 2001:db8::25"}, nil},
		{"ut MX", "ut.", dns.TypeMX, 0, []string{"ut MX 10 ut"}, nil},
		{"second slot", "ut1.", dns.TypeMX, 0, []string{"ut1 MX 10 ut1"}, nil},
		{"second slot MX", "et1.", dns.TypeMX, 0, []string{"et1 MX 10 mx04.et1", "et1 MX 20 mx05.et1", "et1 MX 30 mx06.et1", "et1 MX 40 mx03.et1"}, nil},
		{"case does not matter", "MX03.eT.", dns.TypeA, 0, []string{"mx03.et A 192.0.2.25"}, nil},

		{"DS belongs to the parent", "", dns.TypeDS, 0, nil, []string{"@"}},
		{"NODATA", "ut.", dns.TypeAAAA, 0, nil, []string{"ut"}},
		{"NODATA TLSA at the name itself", "ut.", dns.TypeTLSA, 0, nil, []string{"ut"}},
		{"unknown type", "et.", 65280, 0, nil, []string{"et"}},
		{"empty non-terminal", "_tcp.mx03.et.", dns.TypeA, 0, nil, []string{"mx03.et"}},
		{"empty non-terminal in the apex", "_domainkey.", dns.TypeTXT, 0, nil, []string{"_dmarc"}},

		{"ut has no TLSA", "_25._tcp.ut.", dns.TypeTLSA, dns.RcodeNameError, nil, []string{"ut"}},
		{"ut has no _tcp", "_tcp.ut.", dns.TypeTLSA, dns.RcodeNameError, nil, []string{"ut"}},
		{"ut has no MTA-STS record", "_mta-sts.ut.", dns.TypeTXT, dns.RcodeNameError, nil, []string{"ut"}},
		{"ut has no policy host", "mta-sts.ut.", dns.TypeA, dns.RcodeNameError, nil, []string{"ut"}},
		{"NXDOMAIN after the last name", "zzz.", dns.TypeA, dns.RcodeNameError, nil, []string{"@", "ut1"}},
		{"NXDOMAIN with empty non-terminal as encloser", "_26._tcp.mx03.et.", dns.TypeA, dns.RcodeNameError, nil, []string{"_25._tcp.mx03.et", "mx03.et"}},
		{"NXDOMAIN several labels down", "a.b.c.ut.", dns.TypeA, dns.RcodeNameError, nil, []string{"ut"}},
		{"slot that does not exist", "et2.", dns.TypeMX, dns.RcodeNameError, nil, []string{"@", "mx06.et1"}},
		{"name with odd octets", `\000\255.ut.`, dns.TypeA, dns.RcodeNameError, nil, []string{"ut"}},
		{"wildcard", "*.", dns.TypeA, dns.RcodeNameError, nil, []string{"@"}},
	} {
		for _, do := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				qname := c.qname + zoneName
				m := ask(t, z, qname, c.qtype, do)
				if m.Rcode != c.rcode || !m.Authoritative || m.RecursionAvailable || m.AuthenticatedData || m.Truncated {
					t.Errorf("header %+v, want rcode %s and AA only", m.MsgHdr, dns.RcodeToString[c.rcode])
				}
				if m.Question[0].Name != qname {
					t.Errorf("question %q, want it as asked, %q", m.Question[0].Name, qname)
				}
				wantAnswer, wantNs := slices.Clone(c.answer), []string(nil)
				if c.answer == nil {
					wantNs = slices.Clone(soa)
				}
				if do && c.answer != nil {
					wantAnswer = append(wantAnswer, strings.SplitN(c.answer[0], " ", 2)[0]+" RRSIG "+dns.TypeToString[c.qtype])
				}
				if do && c.answer == nil {
					wantNs = append(wantNs, "@ RRSIG SOA")
				}
				slices.Sort(wantAnswer)
				if diff := cmp.Diff(append([]string{}, wantAnswer...), short(m.Answer)); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
				var nsec, rest []dns.RR
				for _, rr := range m.Ns {
					if sig, ok := rr.(*dns.RRSIG); rr.Header().Rrtype == dns.TypeNSEC || ok && sig.TypeCovered == dns.TypeNSEC {
						nsec = append(nsec, rr)
					} else {
						rest = append(rest, rr)
					}
				}
				slices.Sort(wantNs)
				if diff := cmp.Diff(append([]string{}, wantNs...), short(rest)); diff != "" {
					t.Errorf("authority without NSEC (-want +got):\n%s", diff)
				}
				var owners []string
				for _, rr := range nsec {
					if rr.Header().Rrtype == dns.TypeNSEC {
						owners = append(owners, strings.SplitN(short([]dns.RR{rr})[0], " ", 2)[0])
					}
				}
				slices.Sort(owners)
				want := c.proofs
				if !do {
					want = nil
				}
				if diff := cmp.Diff(want, owners); diff != "" {
					t.Errorf("NSEC owners (-want +got):\n%s", diff)
				}
				if do {
					verify(t, z, m)
				}
			})
		}
	}
}

// verify checks every signature of a message and, for a negative answer, that
// its NSEC records prove it. It is written from RFC 4035, not from the server.
func verify(t *testing.T, z *zones.Zone, m *dns.Msg) {
	t.Helper()
	keys := make(map[uint16]*dns.DNSKEY)
	for _, rr := range ask(t, z, zoneName, dns.TypeDNSKEY, false).Answer {
		keys[rr.(*dns.DNSKEY).KeyTag()] = rr.(*dns.DNSKEY)
	}
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		sets := make(map[string][]dns.RR)
		id := func(name string, rrtype uint16) string { return dns.CanonicalName(name) + dns.TypeToString[rrtype] }
		for _, rr := range section {
			if rr.Header().Rrtype != dns.TypeRRSIG {
				sets[id(rr.Header().Name, rr.Header().Rrtype)] = append(sets[id(rr.Header().Name, rr.Header().Rrtype)], rr)
			}
		}
		signed := make(map[string]bool)
		for _, rr := range section {
			sig, ok := rr.(*dns.RRSIG)
			if !ok {
				continue
			}
			set := sets[id(sig.Hdr.Name, sig.TypeCovered)]
			if keys[sig.KeyTag] == nil {
				t.Errorf("signature of %s %s is by key %d, which is not published", sig.Hdr.Name, dns.TypeToString[sig.TypeCovered], sig.KeyTag)
			} else if err := sig.Verify(keys[sig.KeyTag], set); err != nil {
				t.Errorf("signature of %s %s: %v", sig.Hdr.Name, dns.TypeToString[sig.TypeCovered], err)
			}
			signed[id(sig.Hdr.Name, sig.TypeCovered)] = true
		}
		for k := range sets {
			if !signed[k] {
				t.Errorf("%s is not signed", k)
			}
		}
	}
	if len(m.Answer) > 0 {
		return
	}
	var nsecs []*dns.NSEC
	for _, rr := range m.Ns {
		if n, ok := rr.(*dns.NSEC); ok {
			nsecs = append(nsecs, n)
		}
	}
	q := m.Question[0]
	if m.Rcode == dns.RcodeSuccess {
		if !slices.ContainsFunc(nsecs, func(n *dns.NSEC) bool { return provesNoData(n, q) }) {
			t.Errorf("NODATA of %s %s not proven by %v", q.Name, dns.TypeToString[q.Qtype], nsecs)
		}
		return
	}
	// The closest encloser follows from the NSEC that covers the name.
	covers := func(name string) *dns.NSEC {
		for _, n := range nsecs {
			if order(n.Hdr.Name, name) < 0 && (order(name, n.NextDomain) < 0 || n.NextDomain == zoneName) && !dns.IsSubDomain(name, n.NextDomain) {
				return n
			}
		}
		return nil
	}
	n := covers(q.Name)
	if n == nil {
		t.Errorf("%s not covered by %v", q.Name, nsecs)
		return
	}
	common := max(dns.CompareDomainName(q.Name, n.Hdr.Name), dns.CompareDomainName(q.Name, n.NextDomain))
	labels := dns.SplitDomainName(q.Name)
	wildcard := "*." + strings.Join(labels[len(labels)-common:], ".") + "."
	if dns.CanonicalName(q.Name) != wildcard && covers(wildcard) == nil {
		t.Errorf("wildcard %s not covered by %v", wildcard, nsecs)
	}
}

func provesNoData(n *dns.NSEC, q dns.Question) bool {
	if strings.EqualFold(n.Hdr.Name, q.Name) {
		return !slices.Contains(n.TypeBitMap, q.Qtype) && !slices.Contains(n.TypeBitMap, dns.TypeCNAME)
	}
	return order(n.Hdr.Name, q.Name) < 0 && dns.IsSubDomain(q.Name, n.NextDomain)
}

// order compares names in canonical order (RFC 4034 §6.1), label by label.
func order(a, b string) int {
	la, lb := dns.SplitDomainName(a), dns.SplitDomainName(b)
	slices.Reverse(la)
	slices.Reverse(lb)
	return slices.CompareFunc(la, lb, func(x, y string) int { return strings.Compare(label(x), label(y)) })
}

// label returns the octets of a label in presentation form, in lower case.
func label(s string) string {
	wire := make([]byte, 300)
	if _, err := dns.PackDomainName(s+".", wire, 0, nil, false); err != nil {
		panic(err)
	}
	octets := wire[1 : 1+wire[0]]
	for i, b := range octets {
		if 'A' <= b && b <= 'Z' {
			octets[i] += 'a' - 'A'
		}
	}
	return string(octets)
}

// The chain visits every name with records once and ends at the apex.
func TestChainIsClosed(t *testing.T) {
	z := newZone(t, options())
	seen := make(map[string]bool)
	name := zoneName
	for !seen[name] {
		seen[name] = true
		m := ask(t, z, name, dns.TypeNSEC, true)
		verify(t, z, m)
		n, ok := m.Answer[0].(*dns.NSEC)
		if !ok {
			t.Fatalf("no NSEC at %s: %v", name, m)
		}
		if n.NextDomain != zoneName && order(name, n.NextDomain) >= 0 {
			t.Errorf("%s comes after %s", name, n.NextDomain)
		}
		name = n.NextDomain
	}
	if name != zoneName {
		t.Errorf("the chain comes back to %s", name)
	}
	// apex, DMARC, DKIM, ns1, mx and its TLSA; per slot 9 names; TLSA of slot 0
	if want := 6 + 2*9 + 4; len(seen) != want {
		t.Errorf("%d names in the chain, want %d", len(seen), want)
	}
}

func TestTTLsAreShort(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Second} {
		o := options()
		o.TTL = ttl
		want := uint32(60)
		if ttl != 0 {
			want = 1
		}
		z := newZone(t, o)
		for _, q := range []struct {
			name  string
			qtype uint16
		}{{"et.", dns.TypeMX}, {"ut.", dns.TypeTLSA}, {"", dns.TypeDNSKEY}, {"nope.", dns.TypeA}} {
			m := ask(t, z, q.name+zoneName, q.qtype, true)
			for _, rr := range slices.Concat(m.Answer, m.Ns) {
				if rr.Header().Ttl != want {
					t.Errorf("TTL of %v is not %d", rr, want)
				}
				if soa, ok := rr.(*dns.SOA); ok && soa.Minttl != want {
					t.Errorf("minimum of %v is not %d", rr, want)
				}
			}
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*zones.Options)
		want string
	}{
		{"zone", func(o *zones.Options) { o.Zone = "" }, "zone"},
		{"zone with odd letters", func(o *zones.Options) { o.Zone = "ex ample" }, "label"},
		{"no address", func(o *zones.Options) { o.Addresses = nil }, "address"},
		{"useless address", func(o *zones.Options) { o.Addresses = []netip.Addr{netip.IPv4Unspecified()} }, "0.0.0.0"},
		{"policy id", func(o *zones.Options) { o.PolicyID = "a-b" }, "a-b"},
		{"TTL", func(o *zones.Options) { o.TTL = time.Hour }, "ttl 1h"},
		{"TTL of a fraction", func(o *zones.Options) { o.TTL = 1500 * time.Millisecond }, "ttl 1.5s"},
		{"validity", func(o *zones.Options) { o.Validity = time.Hour }, "validity"},
		{"slots", func(o *zones.Options) { o.Slots = -1 }, "slots"},
		{"TLSA at ut", func(o *zones.Options) { o.TLSA["ut.sink.example"] = o.TLSA["mx.sink.example"] }, "ut"},
		{"TLSA elsewhere", func(o *zones.Options) { o.TLSA["mx.example"] = o.TLSA["mx.sink.example"] }, "mx.example"},
		{"TLSA in a slot that is not there", func(o *zones.Options) { o.TLSA["mx03.et7.sink.example"] = nil }, "et7"},
		{"preferences", func(o *zones.Options) { o.Preferences = map[scenario.Host]uint16{"mx03": 1} }, "mx04"},
		{"DKIM selector", func(o *zones.Options) { o.DKIM = []zones.DKIM{{Selector: "*", Record: "x"}} }, "wildcard"},
		{"name server", func(o *zones.Options) { o.NameServers = []string{"ns 2"} }, "name server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options()
			c.edit(&o)
			if _, err := zones.New(o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

func TestDelegation(t *testing.T) {
	o := options()
	o.NameServers = []string{"ns2.other.example"}
	z := newZone(t, o)
	got := z.Delegation()
	text := got.String()
	for _, want := range []string{
		"sink.example.\t3600\tIN\tNS\tns1.sink.example.\n", "NS\tns2.other.example.\n",
		"ns1.sink.example.\t3600\tIN\tA\t192.0.2.25\n", "AAAA\t2001:db8::25\n", "DS\t",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	key := ask(t, z, zoneName, dns.TypeDNSKEY, false).Answer[0].(*dns.DNSKEY)
	if ds := got.DS[0]; ds.Digest != key.ToDS(dns.SHA256).Digest || ds.KeyTag != key.KeyTag() {
		t.Errorf("DS %v is not that of %v", ds, key)
	}
}
