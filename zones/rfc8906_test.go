package zones_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
)

// unlimited are options without a rate limit.
func unlimited() zones.Options {
	o := options()
	o.RateLimit.Off = true
	return o
}

// wireOf packs a message and lets edit change the result.
func wireOf(t testing.TB, m *dns.Msg, edit func([]byte) []byte) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		wire = edit(wire)
	}
	return wire
}

// respond returns the answer to a message in wire form.
func respond(t testing.TB, z *zones.Zone, wire []byte, udp bool) *dns.Msg {
	t.Helper()
	out := zones.Respond(t.Context(), z, wire, client(), udp)
	if out == nil {
		t.Fatal("no answer")
	}
	if out[0] != wire[0] || out[1] != wire[1] || out[2]&0x80 == 0 || out[2]&0x78 != wire[2]&0x78 {
		t.Errorf("header %x does not answer %x: ID, QR, opcode", out[:4], wire[:4])
	}
	// RFC 8906 §8.1.3: neither RA, Z, AD nor CD, whatever was asked.
	if out[3]&0xf0 != 0 || out[2]&1 != wire[2]&1 {
		t.Errorf("flags %x in the answer to %x", out[2:4], wire[2:4])
	}
	m := new(dns.Msg)
	if err := m.Unpack(out); err != nil {
		t.Fatalf("answer can't be read: %v", err)
	}
	return m
}

// The tests of RFC 8906 §8, as the dig commands there are meant, over both
// transports.
func TestRFC8906(t *testing.T) {
	z := newZone(t, unlimited())
	soa := func() *dns.Msg {
		m := new(dns.Msg).SetQuestion(zoneName, dns.TypeSOA)
		m.RecursionDesired = false
		return m
	}
	edns := func(edit func(*dns.OPT)) *dns.Msg {
		m := soa().SetEdns0(1232, false)
		if edit != nil {
			edit(m.IsEdns0())
		}
		return m
	}
	local := func(o *dns.OPT) { o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: 100}) }
	plain := func(m *dns.Msg) bool {
		return m.Rcode == 0 && m.Authoritative && len(m.Answer) == 1 && m.IsEdns0() == nil
	}
	with := func(m *dns.Msg) bool {
		o := m.IsEdns0()
		return m.Rcode == 0 && m.Authoritative && len(m.Answer) == 1 && o != nil && o.Version() == 0 && len(o.Option) == 0 && o.Hdr.Ttl == 0
	}
	badVersion := func(m *dns.Msg) bool {
		o := m.IsEdns0()
		return m.Rcode == dns.RcodeBadVers && o != nil && o.Version() == 0 && len(o.Option) == 0 && len(m.Answer) == 0
	}
	headerOnly := func(opcode int) *dns.Msg { return &dns.Msg{MsgHdr: dns.MsgHdr{Id: dns.Id(), Opcode: opcode}} }
	for _, c := range []struct {
		name  string
		query *dns.Msg
		edit  func([]byte) []byte
		want  func(*dns.Msg) bool
	}{
		{"8.1.1 is it an authoritative server", soa(), nil, plain},
		{"8.1.2 unknown type", new(dns.Msg).SetQuestion(zoneName, 1000), nil, func(m *dns.Msg) bool {
			return m.Rcode == 0 && len(m.Answer) == 0 && len(m.Ns) == 1 && m.Ns[0].Header().Rrtype == dns.TypeSOA
		}},
		{"8.1.3.1 CD", func() *dns.Msg { m := soa(); m.CheckingDisabled = true; return m }(), nil, plain},
		{"8.1.3.2 Z", func() *dns.Msg { m := soa(); m.Zero = true; return m }(), nil, plain},
		{"8.1.3.3 RD", new(dns.Msg).SetQuestion(zoneName, dns.TypeSOA), nil, func(m *dns.Msg) bool { return plain(m) && m.RecursionDesired }},
		{"8.1.3 AD", func() *dns.Msg { m := soa(); m.AuthenticatedData = true; return m }(), nil, plain},
		{"8.1.3 AA, TC, RA and an rcode", soa(), func(w []byte) []byte { w[2] |= 0x06; w[3] |= 0x85; return w }, plain},
		{"8.1.4 unknown opcode", headerOnly(15), nil, func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeNotImplemented && m.Opcode == 15 && !m.Authoritative && len(m.Question)+len(m.Answer)+len(m.Ns)+len(m.Extra) == 0
		}},
		{"unknown opcode with EDNS", headerOnly(15).SetEdns0(1232, true), nil, func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeNotImplemented && m.Opcode == 15 && m.IsEdns0() != nil && m.IsEdns0().Do()
		}},
		{"unknown opcode of unknown form", headerOnly(14), func(w []byte) []byte {
			return append(binary.BigEndian.AppendUint16(w[:4], 77), 0xff, 0xff, 0, 1, 2, 3, 4, 5)
		}, func(m *dns.Msg) bool { return m.Rcode == dns.RcodeNotImplemented && m.Opcode == 14 }},

		{"8.2.1 EDNS", edns(nil), nil, with},
		{"8.2.2 EDNS version 1", edns(func(o *dns.OPT) { o.SetVersion(1) }), nil, badVersion},
		{"8.2.3 unknown option", edns(local), nil, with},
		{"8.2.4 unknown flag", edns(func(o *dns.OPT) { o.Hdr.Ttl |= 0x40 }), nil, with},
		{"8.2.5 version 1 and unknown flag", edns(func(o *dns.OPT) { o.SetVersion(1); o.Hdr.Ttl |= 0x40 }), nil, badVersion},
		{"8.2.6 version 1 and unknown option", edns(func(o *dns.OPT) { o.SetVersion(1); local(o) }), nil, badVersion},
		{"8.2.7 small buffer", new(dns.Msg).SetQuestion(zoneName, dns.TypeDNSKEY).SetEdns0(512, true), nil, func(m *dns.Msg) bool {
			return m.Rcode == 0 && m.IsEdns0() != nil && m.Len() <= 512
		}},
		{"8.2.8 DO and several options", edns(func(o *dns.OPT) {
			o.SetDo()
			local(o)
			o.Option = append(o.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_PADDING{Padding: make([]byte, 40)},
				&dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true}, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 0, Address: []byte{0, 0, 0, 0}})
		}), nil, func(m *dns.Msg) bool {
			return m.Rcode == 0 && len(m.Answer) == 2 && m.IsEdns0().Do() && len(m.IsEdns0().Option) == 0
		}},
	} {
		for _, udp := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s udp=%v", c.name, udp), func(t *testing.T) {
				if m := respond(t, z, wireOf(t, c.query, c.edit), udp); !c.want(m) {
					t.Errorf("unexpected answer\n%v", m)
				}
			})
		}
	}
}

// Every option that has a meaning elsewhere may come empty.
func TestEmptyOptionsAreIgnored(t *testing.T) {
	z := newZone(t, unlimited())
	for code := range 30 {
		if code == dns.EDNS0COOKIE || code == dns.EDNS0SUBNET || code == dns.EDNS0EDE { // never empty
			continue
		}
		m := new(dns.Msg).SetQuestion(zoneName, dns.TypeSOA).SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: uint16(code)}}
		if r := respond(t, z, wireOf(t, m, nil), true); r.Rcode != 0 || len(r.Answer) != 1 {
			t.Errorf("option %d: %s", code, dns.RcodeToString[r.Rcode])
		}
	}
}

func TestHostileMessages(t *testing.T) {
	z := newZone(t, unlimited())
	soa := func() *dns.Msg { return new(dns.Msg).SetQuestion(zoneName, dns.TypeSOA) }
	counts := func(off int, n byte) func([]byte) []byte {
		return func(w []byte) []byte { w[off+1] = n; return w }
	}
	for _, c := range []struct {
		name  string
		query *dns.Msg
		edit  func([]byte) []byte
		rcode int
	}{
		{"no question", soa(), func(w []byte) []byte { w[5] = 0; return w[:12] }, dns.RcodeFormatError},
		{"question missing", soa(), func(w []byte) []byte { return w[:12] }, dns.RcodeFormatError},
		{"two questions", soa(), func(w []byte) []byte { return append(counts(4, 2)(w), w[12:]...) }, dns.RcodeFormatError},
		{"question cut short", soa(), func(w []byte) []byte { return w[:len(w)-1] }, dns.RcodeFormatError},
		{"OPT missing", soa(), counts(10, 1), dns.RcodeFormatError},
		{"OPT cut short", soa().SetEdns0(1232, true), func(w []byte) []byte { return w[:len(w)-3] }, dns.RcodeFormatError},
		{"three additional records", soa(), counts(10, 3), dns.RcodeFormatError},
		{"answers", soa(), counts(6, 1), dns.RcodeFormatError},
		{"authority missing", soa(), counts(8, 1), dns.RcodeFormatError},
		{"authority", func() *dns.Msg {
			m := soa()
			m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeNS, Class: 1}, Ns: "."}}
			return m
		}(), nil, dns.RcodeFormatError},
		{"pointer in the question", soa(), func(w []byte) []byte { return append(w[:12], 0xc0, 0x04, 0, 6, 0, 1) }, dns.RcodeFormatError},
		{"label of 64", soa(), func(w []byte) []byte { w[12] = 64; return w }, dns.RcodeFormatError},
		{"option longer than the record", soa().SetEdns0(1232, false), func(w []byte) []byte {
			w[len(w)-1] = 4
			return append(w, 0, 100, 0, 9)
		}, dns.RcodeFormatError},
		{"class 0", soa(), func(w []byte) []byte { w[len(w)-1] = 0; return w }, dns.RcodeRefused},
		{"class HESIOD", soa(), func(w []byte) []byte { w[len(w)-1] = 4; return w }, dns.RcodeRefused},
		{"class NONE", soa(), func(w []byte) []byte { w[len(w)-1] = 254; return w }, dns.RcodeRefused},
	} {
		for _, udp := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s udp=%v", c.name, udp), func(t *testing.T) {
				if m := respond(t, z, wireOf(t, c.query, c.edit), udp); m.Rcode != c.rcode || len(m.Answer)+len(m.Ns) != 0 || m.Authoritative {
					t.Errorf("want %s\n%v", dns.RcodeToString[c.rcode], m)
				}
			})
		}
	}
	for _, wire := range [][]byte{nil, make([]byte, 11), {0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0}} {
		if out := zones.Respond(t.Context(), z, wire, client(), true); out != nil {
			t.Errorf("%x is answered by %x", wire, out)
		}
	}
}

// RFC 6895 §3.1: what is a type only in questions. RFC 8906 §3.1.2: no NOTIMP
// for types.
func TestMetaTypes(t *testing.T) {
	z := newZone(t, unlimited())
	for _, c := range []struct {
		qtype uint16
		rcode int
	}{
		{dns.TypeNone, dns.RcodeFormatError},
		{dns.TypeOPT, dns.RcodeFormatError},
		{dns.TypeTSIG, dns.RcodeFormatError},
		{dns.TypeTKEY, dns.RcodeFormatError},
		{dns.TypeNXNAME, dns.RcodeFormatError},
		{dns.TypeAXFR, dns.RcodeRefused},
		{dns.TypeIXFR, dns.RcodeRefused},
		{dns.TypeMAILA, 0},
		{dns.TypeMAILB, 0},
		{200, 0},
		{dns.TypeReserved, 0},
		{dns.TypeCNAME, 0},
		{dns.TypeNSEC3, 0},
		{dns.TypeSVCB, 0},
		{dns.TypeHTTPS, 0},
		{dns.TypeDS, 0},
	} {
		for _, udp := range []bool{true, false} {
			m := respond(t, z, wireOf(t, new(dns.Msg).SetQuestion(zoneName, c.qtype).SetEdns0(1232, true), nil), udp)
			if m.Rcode != c.rcode || len(m.Answer) != 0 {
				t.Errorf("type %d: want %s\n%v", c.qtype, dns.RcodeToString[c.rcode], m)
			}
			if c.rcode == 0 {
				verify(t, z, m) // proven NODATA
			}
		}
	}
}

// Class ANY is answered from class IN, without authority (RFC 1035 §6.2).
func TestClassANY(t *testing.T) {
	z := newZone(t, unlimited())
	for name, rcode := range map[string]int{"et.": 0, "nope.": dns.RcodeNameError} {
		q := new(dns.Msg).SetQuestion(name+zoneName, dns.TypeMX)
		q.Question[0].Qclass = dns.ClassANY
		m := respond(t, z, wireOf(t, q, nil), true)
		if m.Rcode != rcode || m.Authoritative || m.Question[0].Qclass != dns.ClassANY || rcode == 0 && len(m.Answer) != 4 {
			t.Errorf("%v", m)
		}
	}
}

// The case of the question (0x20) comes back in question and owner names, in
// every kind of answer, with the proofs as they are; names of other owners end
// in it where they are compressed.
func TestCaseOfQuestion(t *testing.T) {
	z := newZone(t, unlimited())
	random := func(name string) string {
		b := []byte(name)
		for i := range b {
			if i%3 != 1 && 'a' <= b[i] && b[i] <= 'z' {
				b[i] -= 'a' - 'A'
			}
		}
		return string(b)
	}
	for _, c := range []struct {
		name  string
		qtype uint16
		rcode int
	}{
		{"", dns.TypeSOA, 0},
		{"", dns.TypeDNSKEY, 0},
		{"", dns.TypeNS, 0},
		{"", dns.TypeDS, 0},
		{"", dns.TypeNSEC, 0},
		{"et.", dns.TypeMX, 0},
		{"et.", dns.TypeANY, 0},
		{"et.", dns.TypeNSEC, 0},
		{"_25._tcp.mx04.et.", dns.TypeTLSA, 0},
		{"mx03.et.", dns.TypeAAAA, 0},
		{"_tcp.mx03.et.", dns.TypeA, 0},
		{"nope.et.", dns.TypeA, dns.RcodeNameError},
		{"_25._tcp.ut.", dns.TypeTLSA, dns.RcodeNameError},
	} {
		for _, do := range []bool{true, false} {
			qname := random(c.name + zoneName)
			q := new(dns.Msg).SetQuestion(qname, c.qtype).SetEdns0(1232, do)
			m := respond(t, z, wireOf(t, q, nil), true)
			if m.Rcode != c.rcode || m.Question[0].Name != qname {
				t.Errorf("%s %d: %v", qname, c.qtype, m)
			}
			for _, rr := range m.Answer {
				if rr.Header().Name != qname {
					t.Errorf("owner %q in the answer to %q", rr.Header().Name, qname)
				}
			}
			for _, rr := range slices.Concat(m.Answer, m.Ns) {
				if owner := rr.Header().Name; !strings.HasSuffix(owner, qname[len(qname)-len(zoneName):]) {
					t.Errorf("owner %q in the answer to %q", owner, qname)
				}
			}
			if do {
				verify(t, z, m)
			}
			lower := respond(t, z, wireOf(t, new(dns.Msg).SetQuestion(strings.ToLower(qname), c.qtype).SetEdns0(1232, do), nil), true)
			if a, b := len(wireOf(t, compressed(m), nil)), len(wireOf(t, compressed(lower), nil)); a != b {
				t.Errorf("%s: %d octets, %d for lower case", qname, a, b)
			}
		}
	}
	for _, qname := range []string{"eXAMPLE.", "oRG."} {
		if m := respond(t, z, wireOf(t, new(dns.Msg).SetQuestion(qname, dns.TypeA), nil), true); m.Rcode != dns.RcodeRefused || m.Question[0].Name != qname {
			t.Errorf("%s: %v", qname, m)
		}
	}
}

func compressed(m *dns.Msg) *dns.Msg {
	m.Compress = true
	return m
}

// RFC 8482, RFC 6840 §4.4, RFC 2181 §5.4.1: nothing is answered that was not
// asked for.
func TestNothingElseIsAnswered(t *testing.T) {
	z := newZone(t, unlimited())
	for name, qtype := range map[string]uint16{"et.": dns.TypeMX, "": dns.TypeNS, "ut.": dns.TypeMX, "mx04.et.": dns.TypeA} {
		m := respond(t, z, wireOf(t, new(dns.Msg).SetQuestion(name+zoneName, qtype).SetEdns0(1232, true), nil), true)
		if len(m.Ns) != 0 || len(m.Extra) != 1 {
			t.Errorf("%s: authority %v, additional %v", name, m.Ns, m.Extra)
		}
	}
}

// RFC 7828: over TCP the server says how long a connection may be idle.
func TestKeepalive(t *testing.T) {
	z := newZone(t, unlimited())
	m := new(dns.Msg).SetQuestion(zoneName, dns.TypeSOA).SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}}
	if r := respond(t, z, wireOf(t, m, nil), true); len(r.IsEdns0().Option) != 0 {
		t.Errorf("over UDP: %v", r)
	}
	r := respond(t, z, wireOf(t, m, nil), false)
	if o := r.IsEdns0().Option; len(o) != 1 || o[0].(*dns.EDNS0_TCP_KEEPALIVE).Timeout != 100 {
		t.Errorf("over TCP: %v", r)
	}
}
