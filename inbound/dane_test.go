package inbound_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/inbound/probe"
)

// Whether senders have DANE at a host, and whose TLSA records count (RFC 7672
// §2.2).
func TestDANEAtHost(t *testing.T) {
	ch := newChain(t, "mx.example.org")
	good := "TLSA 3 1 1 " + spki(ch.leaf) + "\n"
	other := "TLSA 3 1 1 " + strings.Repeat("00", 32) + "\n"
	const (
		mx    = "example.org. MX 10 mx.example.org.\nmx.example.org. A 1.1.1.1\n"
		owner = "_25._tcp.mx.example.org. "
		alias = "example.org. MX 10 mx.example.org.\nmx.example.org. CNAME real.example.net.\nreal.example.net. A 1.1.1.1\n"
		there = "_25._tcp.real.example.net. "
	)
	for _, c := range []struct {
		name, zone string
		status     map[string]dnssec.Status
		dane       check.Outcome
		why        string
		tlsa       inbound.RRset
		from       string
		match      check.Outcome
		matchWhy   string
	}{
		{"matches", mx + owner + good, nil, check.Yes, "", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", check.Yes, ""},
		{"does not match", mx + owner + other, nil, check.Yes, "", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", check.No, "no certificate of the chain has the published data"},
		{"one of two matches", mx + owner + other + owner + good, nil, check.Yes, "", inbound.RRset{Status: dnssec.Secure, Count: 2}, "mx.example.org", check.Yes, ""},
		{"no records", mx, nil, check.No, "it has no TLSA records", inbound.RRset{Status: dnssec.Secure}, "", "", ""},
		{"none usable", mx + owner + "TLSA 0 0 1 " + strings.Repeat("00", 32), nil, check.No, "no TLSA record is usable", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", "", ""},
		{
			"MX insecure", "example.org. MX 10 mx.example.net.\nmx.example.net. A 1.1.1.1\n_25._tcp.mx.example.net. " + good,
			map[string]dnssec.Status{"example.org.": dnssec.Insecure},
			check.No, "the MX records are not secure: zone without DS",
			inbound.RRset{Status: dnssec.Secure, Count: 1},
			"mx.example.net", check.Yes, "",
		},
		{"address insecure", mx + owner + good, map[string]dnssec.Status{"mx.example.org. A": dnssec.Insecure}, check.No, "its addresses are not secure", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", check.Yes, ""},
		{"absence of AAAA insecure", mx + owner + good, map[string]dnssec.Status{"mx.example.org. AAAA": dnssec.Insecure}, check.Yes, "", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", check.Yes, ""},
		{"AAAA insecure", mx + "mx.example.org. AAAA 2606:4700::1\n" + owner + good, map[string]dnssec.Status{"mx.example.org. AAAA": dnssec.Insecure}, check.No, "its addresses are not secure", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", check.Yes, ""},
		{"AAAA bogus", mx + owner + good, map[string]dnssec.Status{"mx.example.org. AAAA": dnssec.Bogus}, check.No, "its addresses are bogus", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", check.Yes, ""},
		{"AAAA unknown", mx + owner + good, map[string]dnssec.Status{"mx.example.org. AAAA": dnssec.Error}, check.Untested, "could not be looked up: no answer", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", check.Yes, ""},
		{"TLSA insecure", mx + owner + good, map[string]dnssec.Status{"_tcp.mx.example.org.": dnssec.Insecure}, check.No, "its TLSA records are not secure", inbound.RRset{Status: dnssec.Insecure, Count: 1, Why: "zone without DS"}, "mx.example.org", "", ""},
		{"no TLSA, insecurely", mx, map[string]dnssec.Status{"_tcp.mx.example.org.": dnssec.Insecure}, check.No, "it has no TLSA records", inbound.RRset{Status: dnssec.Insecure, Why: "zone without DS"}, "", "", ""},
		{"TLSA bogus", mx + owner + good, map[string]dnssec.Status{"_tcp.mx.example.org.": dnssec.Bogus}, check.No, "its TLSA records are bogus", inbound.RRset{Status: dnssec.Bogus, Why: "the signature is wrong"}, "", "", ""},
		{"TLSA unknown", mx + owner + good, map[string]dnssec.Status{"_tcp.mx.example.org.": dnssec.Error}, check.Untested, "its TLSA records could not be looked up", inbound.RRset{Status: dnssec.Error, Why: "no answer"}, "", check.Untested, "could not be looked up"},
		{"TLSA unknown where the address is insecure", mx + owner + good, map[string]dnssec.Status{"_tcp.mx.example.org.": dnssec.Error, "mx.example.org. A": dnssec.Insecure}, check.No, "its addresses are not secure", inbound.RRset{Status: dnssec.Error, Why: "no answer"}, "", check.Untested, "could not be looked up"},
		{"TLSA behind an alias", mx + owner + "CNAME tlsa.example.org.\ntlsa.example.org. " + good, nil, check.Yes, "", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", check.Yes, ""},

		{"alias, records at the target", alias + there + good, nil, check.Yes, "", inbound.RRset{Status: dnssec.Secure, Count: 1}, "real.example.net", check.Yes, ""},
		{"alias, records at the alias", alias + owner + good, nil, check.Yes, "", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", check.Yes, ""},
		{"alias, the target comes first", alias + owner + good + there + other, nil, check.Yes, "", inbound.RRset{Status: dnssec.Secure, Count: 1}, "real.example.net", check.No, "published data"},
		{"alias, target insecure: only the alias counts", alias + owner + good + there + other, map[string]dnssec.Status{"example.net.": dnssec.Insecure}, check.Yes, "", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", check.Yes, ""},
		{"alias and target insecure", alias + owner + good, map[string]dnssec.Status{"example.net.": dnssec.Insecure, "mx.example.org.": dnssec.Insecure, "_25._tcp.mx.example.org.": dnssec.Secure}, check.No, "its addresses are not secure", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", check.Yes, ""},
		{"alias, target insecure in part, the rest unknown", alias + owner + good, map[string]dnssec.Status{"example.net.": dnssec.Insecure, "real.example.net. AAAA": dnssec.Error}, check.Untested, "its addresses could not be looked up", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", check.Yes, ""},
		{"alias, target insecure, whether the alias is is unknown", alias + owner + good, map[string]dnssec.Status{"example.net.": dnssec.Insecure, "mx.example.org. CNAME": dnssec.Error}, check.Untested, "its alias could not be looked up", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", check.Yes, ""},
		{"alias, target insecure in part, the rest bogus", alias + owner + good, map[string]dnssec.Status{"example.net.": dnssec.Insecure, "real.example.net. AAAA": dnssec.Bogus}, check.No, "its addresses are", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", check.Yes, ""},
		{"alias, TLSA of the target insecure", alias + there + other + owner + good, map[string]dnssec.Status{"_tcp.real.example.net.": dnssec.Insecure}, check.Yes, "", inbound.RRset{Status: dnssec.Secure, Count: 1}, "mx.example.org", check.Yes, ""},
		{"alias, TLSA of the target insecure, no other", alias + there + other, map[string]dnssec.Status{"_tcp.real.example.net.": dnssec.Insecure}, check.No, "its TLSA records are not secure", inbound.RRset{Status: dnssec.Insecure, Count: 1, Why: "zone without DS"}, "real.example.net", "", ""},
		{"alias, TLSA of the target bogus: senders stop", alias + there + good + owner + good, map[string]dnssec.Status{"_tcp.real.example.net.": dnssec.Bogus}, check.No, "bogus", inbound.RRset{Status: dnssec.Bogus, Why: "the signature is wrong"}, "", "", ""},
		{"alias, insecure records at the alias alone", alias + owner + good, map[string]dnssec.Status{"_tcp.mx.example.org.": dnssec.Insecure}, check.No, "its TLSA records are not secure", inbound.RRset{Status: dnssec.Insecure, Count: 1, Why: "zone without DS"}, "mx.example.org", "", ""},
		{"alias, nothing anywhere", alias, nil, check.No, "it has no TLSA records", inbound.RRset{Status: dnssec.Secure}, "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := analyzer(t, c.zone)
			s.world.status = c.status
			s.prober.results[""] = shows(ch.all())
			h := s.analyze(t, "example.org").Hosts[0]
			if h.DANE.Outcome != c.dane || !strings.Contains(h.DANE.Why, c.why) || (h.DANE.Why == "") != (c.why == "") {
				t.Errorf("DANE %+v, want %s, %q", h.DANE, c.dane, c.why)
			}
			if h.TLSA != c.tlsa || h.TLSAName != c.from {
				t.Errorf("TLSA %+v at %q, want %+v at %q", h.TLSA, h.TLSAName, c.tlsa, c.from)
			}
			m := h.Servers[0].DANE
			if m.Outcome != c.match || !strings.Contains(m.Why, c.matchWhy) {
				t.Errorf("match %+v, want %s, %q", m, c.match, c.matchWhy)
			}
		})
	}
}

func TestTLSARecords(t *testing.T) {
	c := newChain(t, "mx.example.org")
	digest, long := strings.Repeat("ab", 32), strings.Repeat("cd", 64)
	full := fmt.Sprintf("%x", c.leaf.Raw)
	zone := "example.org. A 1.1.1.1\n"
	for _, r := range []string{"0 0 1 " + digest, "1 1 1 " + digest, "2 0 1 " + digest, "3 1 1 " + digest, "3 1 2 " + long, "3 0 2 " + digest, "4 0 1 " + digest, "3 2 1 " + digest, "3 1 3 " + digest, "3 1 0 " + digest, "3 0 0 " + full} {
		zone += "_25._tcp.example.org. TLSA " + r + "\n"
	}
	s := analyzer(t, zone)
	var got []string
	for _, r := range s.analyze(t, "example.org").Hosts[0].Records {
		got = append(got, fmt.Sprintf("%d %d %d %v %s", r.Usage, r.Selector, r.MatchingType, r.Usable, r.Why))
		if len(r.Data) > 140 {
			t.Errorf("data of %d characters", len(r.Data))
		}
	}
	want := []string{
		"0 0 1 false certificate usage 0 can't be used for SMTP (RFC 7672 §3.1.3)",
		"1 1 1 false certificate usage 1 can't be used for SMTP (RFC 7672 §3.1.3)",
		"2 0 1 true ",
		"3 1 1 false a record with a stronger digest, SHA2-512, is beside it (RFC 7671 §9)",
		"3 1 2 true ",
		"3 0 2 false its data has 32 bytes, and a SHA2-512 digest has 64",
		"4 0 1 false certificate usage 4 is unknown",
		"3 2 1 false selector 2 is unknown",
		"3 1 3 false matching type 3 is unknown",
		"3 1 0 false its data is malformed: ",
		"3 0 0 true ",
	}
	for i, w := range want {
		if i >= len(got) || (got[i] != w && (!strings.HasSuffix(w, ": ") || !strings.HasPrefix(got[i], w))) {
			t.Errorf("record %d: got %q, want %q", i, got, w)
		}
	}
}

// The names of DANE-TA are the TLSA base domain and the next-hop domain, as its
// aliases expand it only if that is secure (RFC 7672 §3.2.2).
func TestNamesOfTrustAnchors(t *testing.T) {
	for _, c := range []struct {
		name, certificate string
		status            map[string]dnssec.Status
		want              check.Outcome
	}{
		{"base", "real.example.net", nil, check.Yes},
		{"next hop", "example.org", nil, check.Yes},
		{"next hop, expanded", "next.example.com", nil, check.Yes},
		{"MX host that is an alias", "mx.example.com", nil, check.No},
		{"stranger", "other.example", nil, check.No},
	} {
		t.Run(c.name, func(t *testing.T) {
			ch := newChain(t, c.certificate)
			s := analyzer(t, "example.org. CNAME next.example.com.\nnext.example.com. MX 10 mx.example.com.\nmx.example.com. CNAME real.example.net.\nreal.example.net. A 1.1.1.1\n_25._tcp.real.example.net. TLSA 2 1 1 "+spki(ch.ca))
			s.prober.results[""] = shows(ch.all())
			h := s.analyze(t, "example.org").Hosts[0]
			if got := h.Servers[0].DANE; got.Outcome != c.want || c.want == check.No && !strings.Contains(got.Why, "valid for "+c.certificate) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// With DANE, SNI is the TLSA base domain: the server may have a certificate of
// its own for it, and one for the name of the MX record.
func TestSNIOfAnAlias(t *testing.T) {
	plain, base := newChain(t, "mx.example.org"), newChain(t, "real.example.net")
	zone := "example.org. MX 10 mx.example.org.\nmx.example.org. CNAME real.example.net.\nreal.example.net. A 1.1.1.1\n"
	byName := map[string]probe.Result{"1.1.1.1 mx.example.org": shows(plain.all()), "1.1.1.1 real.example.net": shows(base.all())}
	for _, c := range []struct {
		name, tlsa string
		want       check.Outcome
		calls      []string
	}{
		{"base", "_25._tcp.real.example.net. TLSA 3 1 1 " + spki(base.leaf), check.Yes, []string{"1.1.1.1 mx.example.org", "1.1.1.1 real.example.net"}},
		{"base, other certificate", "_25._tcp.real.example.net. TLSA 3 1 1 " + spki(plain.leaf), check.No, []string{"1.1.1.1 mx.example.org", "1.1.1.1 real.example.net"}},
		{"alias", "_25._tcp.mx.example.org. TLSA 3 1 1 " + spki(plain.leaf), check.Yes, []string{"1.1.1.1 mx.example.org"}},
		{"no DANE", "", "", []string{"1.1.1.1 mx.example.org"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := analyzer(t, zone+c.tlsa)
			s.prober.results = byName
			server := s.analyze(t, "example.org").Hosts[0].Servers[0]
			if server.DANE.Outcome != c.want || server.Connections != 3+len(c.calls) {
				t.Errorf("got %+v after %d connections", server.DANE, server.Connections)
			}
			if diff := cmp.Diff(c.calls, s.prober.calls); diff != "" {
				t.Errorf("probes (-want +got):\n%s", diff)
			}
		})
	}
}

// What a server does not show is no mismatch, unless DANE demands it.
func TestDANEAtServer(t *testing.T) {
	refused := probe.Version{Version: probe.TLS12, Accepted: check.Fail("alert")}
	for _, c := range []struct {
		name   string
		result probe.Result
		want   check.Outcome
		why    string
	}{
		{"not reached", probe.Result{Reached: check.Skip("timeout")}, check.Untested, "could not be reached: timeout"},
		{"nothing said", probe.Result{}, check.Untested, "could not be reached"},
		{"no STARTTLS", probe.Result{Reached: check.Pass(), StartTLS: check.Fail("not offered")}, check.No, "does not offer STARTTLS"},
		{"STARTTLS untested", probe.Result{Reached: check.Pass(), StartTLS: check.Skip("421")}, check.Untested, "421"},
		{"no handshake", probe.Result{Reached: check.Pass(), StartTLS: check.Pass(), Versions: []probe.Version{refused}}, check.No, "no TLS handshake succeeded"},
		{"handshake untested", probe.Result{Reached: check.Pass(), StartTLS: check.Pass(), Versions: []probe.Version{refused, {Version: probe.TLS13, Accepted: check.Skip("reset")}}}, check.Untested, "no certificate was seen"},
		{"no versions", probe.Result{Reached: check.Pass(), StartTLS: check.Pass()}, check.Untested, "no certificate was seen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := analyzer(t, "example.org. A 1.1.1.1\n_25._tcp.example.org. TLSA 3 1 1 "+strings.Repeat("00", 32))
			s.prober.results[""] = c.result
			server := s.analyze(t, "example.org").Hosts[0].Servers[0]
			if server.DANE.Outcome != c.want || !strings.Contains(server.DANE.Why, c.why) {
				t.Errorf("got %+v", server.DANE)
			}
			if server.Reached.Outcome == "" {
				t.Error("nothing says whether it was reached")
			}
		})
	}
}

func TestListed(t *testing.T) {
	zone := "example.org. MX 10 mx.example.org.\nexample.org. MX 20 mx.example.net.\nmx.example.org. A 1.1.1.1\nmx.example.net. CNAME real.example.org.\nreal.example.org. A 1.1.1.2"
	unread, broken := policy("", ""), policy("")
	unread.Policy, broken.Policy = check.Skip("timeout"), check.Fail("HTTP status 404")
	for _, c := range []struct {
		name string
		set  func(*setup)
		want []check.Outcome
	}{
		{"no record", func(*setup) {}, []check.Outcome{"", ""}},
		{"wildcard, by the name of the MX record", func(s *setup) { s.rec.sts = policy("enforce", "*.example.org") }, []check.Outcome{check.Yes, check.No}},
		{"testing", func(s *setup) { s.rec.sts = policy("testing", "mx.example.org", "mx.example.net") }, []check.Outcome{check.Yes, check.Yes}},
		{"none", func(s *setup) { s.rec.sts = policy("none") }, []check.Outcome{"", ""}},
		{"policy not read", func(s *setup) { s.rec.sts = unread }, []check.Outcome{check.Untested, check.Untested}},
		{"policy broken", func(s *setup) { s.rec.sts = broken }, []check.Outcome{"", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := analyzer(t, zone)
			c.set(s)
			var got []check.Outcome
			for _, h := range s.analyze(t, "example.org").Hosts {
				got = append(got, h.Listed.Outcome)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("listed (-want +got):\n%s", diff)
			}
		})
	}
}
