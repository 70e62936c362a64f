package zones_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"
)

func TestProtocol(t *testing.T) {
	z := newZone(t, options())
	et := "et." + zoneName
	for _, c := range []struct {
		name  string
		query func() *dns.Msg
		udp   bool
		check func(m *dns.Msg) bool
	}{
		{
			"no EDNS in, none out", func() *dns.Msg { return new(dns.Msg).SetQuestion(et, dns.TypeMX) }, true,
			func(m *dns.Msg) bool { return m.IsEdns0() == nil && len(m.Answer) == 4 && !m.Truncated },
		},
		{"RD is copied, CD and AD are not", func() *dns.Msg {
			m := new(dns.Msg).SetQuestion(et, dns.TypeMX)
			m.CheckingDisabled, m.AuthenticatedData = true, true
			return m
		}, true, func(m *dns.Msg) bool { return m.RecursionDesired && !m.CheckingDisabled && !m.AuthenticatedData }},
		{
			"EDNS without DO", func() *dns.Msg { return new(dns.Msg).SetQuestion(et, dns.TypeMX).SetEdns0(4096, false) }, true,
			func(m *dns.Msg) bool {
				o := m.IsEdns0()
				return o != nil && !o.Do() && o.UDPSize() == 1232 && len(m.Answer) == 4
			},
		},
		{
			"EDNS with DO", func() *dns.Msg { return new(dns.Msg).SetQuestion(et, dns.TypeMX).SetEdns0(4096, true) }, true,
			func(m *dns.Msg) bool { return m.IsEdns0().Do() && len(m.Answer) == 5 && !m.Truncated },
		},
		{
			"too large for UDP", func() *dns.Msg {
				return new(dns.Msg).SetQuestion("s1._domainkey."+zoneName, dns.TypeTXT).SetEdns0(400, true)
			}, true,
			func(m *dns.Msg) bool {
				return m.Truncated && len(m.Answer)+len(m.Ns) == 0 && m.IsEdns0() != nil && m.Rcode == 0
			},
		},
		{
			"the same over TCP", func() *dns.Msg {
				return new(dns.Msg).SetQuestion("s1._domainkey."+zoneName, dns.TypeTXT).SetEdns0(400, true)
			}, false,
			func(m *dns.Msg) bool { return !m.Truncated && len(m.Answer) == 2 },
		},
		{"EDNS version 1", func() *dns.Msg {
			m := new(dns.Msg).SetQuestion(et, dns.TypeMX).SetEdns0(4096, true)
			m.IsEdns0().SetVersion(1)
			return m
		}, true, func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeBadVers && m.IsEdns0().Version() == 0 && len(m.Answer) == 0
		}},
		{"two OPT records", func() *dns.Msg {
			return new(dns.Msg).SetQuestion(et, dns.TypeMX).SetEdns0(4096, true).SetEdns0(512, false)
		}, true, func(m *dns.Msg) bool { return m.Rcode == dns.RcodeFormatError }},
		{
			"ANY gives one RRset", func() *dns.Msg { return new(dns.Msg).SetQuestion(et, dns.TypeANY).SetEdns0(4096, true) }, true,
			func(m *dns.Msg) bool { return len(m.Answer) == 5 && m.Answer[0].Header().Rrtype == dns.TypeMX },
		},
		{
			"RRSIG gives those of one RRset", func() *dns.Msg { return new(dns.Msg).SetQuestion(et, dns.TypeRRSIG) }, true,
			func(m *dns.Msg) bool { return len(m.Answer) == 1 && m.Answer[0].Header().Rrtype == dns.TypeRRSIG },
		},
		{
			"foreign name", func() *dns.Msg { return new(dns.Msg).SetQuestion("sink.example.org.", dns.TypeA) }, true,
			func(m *dns.Msg) bool { return m.Rcode == dns.RcodeRefused && !m.Authoritative },
		},
		{
			"parent", func() *dns.Msg { return new(dns.Msg).SetQuestion("example.", dns.TypeA) }, true,
			func(m *dns.Msg) bool { return m.Rcode == dns.RcodeRefused },
		},
		{
			"name that only ends alike", func() *dns.Msg { return new(dns.Msg).SetQuestion("notsink.example.", dns.TypeA) }, true,
			func(m *dns.Msg) bool { return m.Rcode == dns.RcodeRefused },
		},
		{"class CHAOS", func() *dns.Msg {
			m := new(dns.Msg).SetQuestion(zoneName, dns.TypeTXT)
			m.Question[0].Qclass = dns.ClassCHAOS
			return m
		}, true, func(m *dns.Msg) bool { return m.Rcode == dns.RcodeRefused }},
		{
			"zone transfer", func() *dns.Msg { return new(dns.Msg).SetQuestion(zoneName, dns.TypeAXFR) }, false,
			func(m *dns.Msg) bool { return m.Rcode == dns.RcodeRefused && len(m.Answer) == 0 },
		},
		{
			"UPDATE", func() *dns.Msg { return new(dns.Msg).SetUpdate(zoneName) }, true,
			func(m *dns.Msg) bool { return m.Rcode == dns.RcodeNotImplemented && m.Opcode == dns.OpcodeUpdate },
		},
		{
			"NOTIFY", func() *dns.Msg { return new(dns.Msg).SetNotify(zoneName) }, true,
			func(m *dns.Msg) bool { return m.Rcode == dns.RcodeNotImplemented },
		},
		{
			"no question", func() *dns.Msg { return &dns.Msg{} }, true,
			func(m *dns.Msg) bool { return m.Rcode == dns.RcodeFormatError },
		},
		{"two questions", func() *dns.Msg {
			m := new(dns.Msg).SetQuestion(et, dns.TypeMX)
			m.Question = append(m.Question, m.Question[0])
			return m
		}, true, func(m *dns.Msg) bool { return m.Rcode == dns.RcodeFormatError }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if m := exchange(t, z, c.query(), c.udp); !c.check(m) {
				t.Errorf("unexpected answer\n%v", m)
			}
		})
	}
}

func TestResponsesAreNotAnswered(t *testing.T) {
	z := newZone(t, options())
	m := new(dns.Msg).SetQuestion(zoneName, dns.TypeA)
	m.Response = true
	if r := z.Answer(t.Context(), m, client(), true); r != nil {
		t.Errorf("answered %v", r)
	}
	if n := z.Counters().Dropped; n != 1 {
		t.Errorf("%d dropped, want 1", n)
	}
}

// Every answer that a mail server needs fits into a UDP message.
func TestUsualAnswersFitUDP(t *testing.T) {
	z := newZone(t, options())
	for _, name := range []string{"et.", "mx04.et.", "_25._tcp.mx04.et.", "_mta-sts.et.", "_25._tcp.ut.", "_mta-sts.ut.", "nope.et.", ""} {
		for _, qtype := range []uint16{dns.TypeMX, dns.TypeA, dns.TypeAAAA, dns.TypeTLSA, dns.TypeTXT, dns.TypeDNSKEY, dns.TypeSOA} {
			if m := ask(t, z, name+zoneName, qtype, true); m.Truncated {
				t.Errorf("%s%s %s does not fit", name, zoneName, dns.TypeToString[qtype])
			}
		}
	}
}

func TestUDPSizeIsBounded(t *testing.T) {
	z := newZone(t, options())
	var large []libdns.Record
	for i := range 8 {
		large = append(large, libdns.TXT{Name: "large", Text: strings.Repeat(string(rune('a'+i)), 200)})
	}
	if _, err := z.SetRecords(t.Context(), zoneName, large); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		advertised uint16
		truncated  bool
	}{
		{"large.", 4096, true}, // never more than 1232
		{"large.", 65535, true},
		{"et.", 0, false}, // RFC 6891 §6.2.3: less than 512 means 512
		{"et.", 100, false},
	} {
		m := exchange(t, z, new(dns.Msg).SetQuestion(c.name+zoneName, dns.TypeANY).SetEdns0(c.advertised, true), true)
		if m.Truncated != c.truncated {
			t.Errorf("%s with %d octets advertised: TC %v", c.name, c.advertised, m.Truncated)
		}
	}
}

// Answers of one snapshot do not change what a later one reads.
func TestAnswersDoNotShareMemory(t *testing.T) {
	z := newZone(t, options())
	query := func() *dns.Msg { return new(dns.Msg).SetQuestion("nope."+zoneName, dns.TypeA).SetEdns0(4096, true) }
	first := z.Answer(t.Context(), query(), client(), true)
	before := len(first.Ns)
	first.Ns = append(first.Ns, first.Ns[0])
	second := z.Answer(t.Context(), query(), client(), true)
	if len(second.Ns) != before || !slices.Equal(second.Ns, first.Ns[:before]) {
		t.Errorf("the second answer differs: %v", second.Ns)
	}
}
