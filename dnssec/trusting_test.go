package dnssec_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/dnssec"
)

// validating is a recursive resolver that validates: it follows aliases, sets
// AD, and refuses what is bogus unless CD is set.
func validating(w *world, r *dnssec.Resolver) dnssec.ExchangeFunc {
	return func(ctx context.Context, query *dns.Msg, network, server string) (*dns.Msg, error) {
		out := new(dns.Msg)
		out.SetReply(query)
		if !query.CheckingDisabled {
			a, err := r.Lookup(ctx, query.Question[0].Name, query.Question[0].Qtype)
			if err != nil || a.Status == dnssec.Bogus {
				out.Rcode = dns.RcodeServerFailure
				return out, nil
			}
			out.AuthenticatedData = a.Status == dnssec.Secure
		}
		ask := query.Copy()
		for range 10 {
			m, err := w.Exchange(ctx, ask, network, server)
			if err != nil {
				return nil, err
			}
			out.Answer, out.Ns, out.Rcode = append(out.Answer, m.Answer...), m.Ns, m.Rcode
			next := ""
			for _, rr := range m.Answer {
				switch rr := rr.(type) {
				case *dns.CNAME:
					next = rr.Target
				case *dns.DNAME:
					next = strings.TrimSuffix(ask.Question[0].Name, rr.Hdr.Name) + rr.Target
				}
			}
			if next == "" || query.Question[0].Qtype == dns.TypeCNAME {
				break
			}
			ask.Question[0].Name = next
		}
		return out, nil
	}
}

func trusting(t testing.TB, exchange dnssec.ExchangeFunc, servers ...string) *dnssec.Trusting {
	t.Helper()
	r, err := dnssec.NewTrusting(dnssec.TrustingOptions{Servers: append(servers, "127.0.0.1:53"), Exchange: exchange})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A resolver that validates and one that trusts it come to the same conclusion.
func TestTrustingAgrees(t *testing.T) {
	for _, c := range []struct {
		name  string
		qtype uint16
		want  dnssec.Status
	}{
		{"example", dns.TypeMX, dnssec.Secure},
		{"_25._tcp.mx.example", dns.TypeTLSA, dnssec.Secure},
		{"mx.example", dns.TypeAAAA, dnssec.Secure},
		{"gone.example", dns.TypeA, dnssec.Secure},
		{"chain.example", dns.TypeA, dnssec.Secure},
		{"alias.example", dns.TypeCNAME, dnssec.Secure},
		{"alias.example", dns.TypeTXT, dnssec.Secure},
		{"toplain.example", dns.TypeA, dnssec.Insecure},
		{"a.wild.example", dns.TypeTXT, dnssec.Secure},
		{"www.from.example", dns.TypeA, dnssec.Secure},
		{"www.plain.example", dns.TypeA, dnssec.Insecure},
		{"gone.plain.example", dns.TypeA, dnssec.Insecure},
		{"www.odd.example", dns.TypeA, dnssec.Insecure},
		{"www.old.example", dns.TypeA, dnssec.Bogus},
		{"www.nokey.example", dns.TypeA, dnssec.Bogus},
	} {
		t.Run(c.name+" "+dns.TypeToString[c.qtype], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // bogus takes a pause
				w := testWorld(t)
				own := w.resolver(t)
				want, err := own.Lookup(t.Context(), c.name, c.qtype)
				if err != nil {
					t.Fatal(err)
				}
				got, err := trusting(t, validating(w, own)).Lookup(t.Context(), c.name, c.qtype)
				if err != nil {
					t.Fatal(err)
				}
				if got.Status != c.want || (got.Why == "") != (c.want == dnssec.Secure) {
					t.Errorf("status %q (%s), want %q", got.Status, got.Why, c.want)
				}
				if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(dnssec.Answer{}, "Why")); diff != "" {
					t.Errorf("own validation differs (-own +trusted):\n%s", diff)
				}
			})
		})
	}
}

// scripted answers with these in turn; the last one stays.
type scripted struct {
	steps []func(*dns.Msg)
	asked []string
}

func (s *scripted) exchange(_ context.Context, query *dns.Msg, network, server string) (*dns.Msg, error) {
	flags := network + " " + server
	if query.CheckingDisabled {
		flags += " CD"
	}
	s.asked = append(s.asked, flags)
	f := s.steps[0]
	if len(s.steps) > 1 {
		s.steps = s.steps[1:]
	}
	if f == nil {
		return nil, errors.New("no route")
	}
	m := new(dns.Msg)
	m.SetReply(query)
	m.SetEdns0(1232, true)
	f(m)
	return m, nil
}

func yes(m *dns.Msg) {
	rr, err := dns.NewRR(m.Question[0].Name + " 60 A 192.0.2.1")
	if err != nil {
		panic(err)
	}
	m.Answer = []dns.RR{rr}
}

func vouchedFor(m *dns.Msg) { yes(m); m.AuthenticatedData = true }

func servfail(code int, text string) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.Rcode = dns.RcodeServerFailure
		if code >= 0 {
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: uint16(code), ExtraText: text})
		}
	}
}

func answer(lines ...string) func(*dns.Msg) {
	return func(m *dns.Msg) {
		for _, l := range lines {
			rr, err := dns.NewRR(l)
			if err != nil {
				panic(err)
			}
			m.Answer = append(m.Answer, rr)
		}
	}
}

func rcode(code int) func(*dns.Msg) { return func(m *dns.Msg) { m.Rcode = code } }

func TestTrusting(t *testing.T) {
	const (
		plain = "udp 127.0.0.1:53"
		cd    = plain + " CD"
	)
	type steps = []func(*dns.Msg)
	fails := servfail(-1, "")
	for _, c := range []struct {
		name   string
		steps  steps
		status dnssec.Status
		why    string
		asked  []string
	}{
		{"secure", steps{vouchedFor}, dnssec.Secure, "", []string{plain}},
		{"insecure", steps{yes}, dnssec.Insecure, "does not vouch", []string{plain}},
		{"bogus, and says so", steps{servfail(6, "bad\x1b[2J signature"), yes}, dnssec.Bogus, "; 6 DNSSEC Bogus (bad[2J signature)", []string{plain, cd}},
		{"bogus, DNSKEY missing beside the network", steps{func(m *dns.Msg) { servfail(22, "")(m); servfail(9, "")(m) }, yes}, dnssec.Bogus, "9 DNSKEY Missing", []string{plain, cd}},
		{"bogus without a reason", steps{fails, yes, fails}, dnssec.Bogus, "refuses it", []string{plain, cd, plain}},
		{"bogus as BIND says it", steps{servfail(22, ""), yes, servfail(22, "")}, dnssec.Bogus, "No Reachable Authority", []string{plain, cd, plain}},
		{"failed for a moment", steps{fails, yes, vouchedFor}, dnssec.Secure, "", []string{plain, cd, plain}},
		{"then the network is gone", steps{fails, yes, nil}, dnssec.Error, "no route", []string{plain, cd, plain, plain}},
		{"then refused", steps{fails, yes, rcode(dns.RcodeRefused)}, dnssec.Error, "SERVFAIL", []string{plain, cd, plain, plain}},
		{"fails both ways", steps{fails}, dnssec.Error, "SERVFAIL", []string{plain, cd, plain, cd}},
		{"blocked", steps{servfail(15, "")}, dnssec.Error, "15 Blocked", []string{plain, plain}},
		{"refused", steps{rcode(dns.RcodeRefused)}, dnssec.Error, "REFUSED", []string{plain, plain}},
		{"no network", steps{nil}, dnssec.Error, "no route", []string{plain, plain}},
		{"lost once", steps{nil, vouchedFor}, dnssec.Secure, "", []string{plain, plain}},
		{"truncated", steps{func(m *dns.Msg) { m.Truncated = true }, vouchedFor}, dnssec.Secure, "", []string{plain, "tcp 127.0.0.1:53"}},
		{"truncated over TCP", steps{func(m *dns.Msg) { m.Truncated = true }}, dnssec.Error, "over TCP is truncated", []string{plain, "tcp 127.0.0.1:53", plain, "tcp 127.0.0.1:53"}},
		{"another question", steps{func(m *dns.Msg) { m.Question[0].Name = "b.example." }}, dnssec.Error, "does not belong", []string{plain, plain}},
		{"alias loop", steps{answer("a.example. CNAME b.example.", "b.example. CNAME a.example.")}, dnssec.Error, "loop", []string{plain, plain}},
		{"alias to itself", steps{answer("a.example. CNAME a.example.")}, dnssec.Error, "loop", []string{plain, plain}},
		{"long alias chain", steps{answer(aliases(40)...)}, dnssec.Error, "longer than", []string{plain, plain}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scripted{steps: c.steps}
				a, err := trusting(t, s.exchange).Lookup(t.Context(), "a.example", dns.TypeA)
				if (err != nil) != (c.status == dnssec.Error) || a.Status != c.status {
					t.Errorf("got %+v, %v", a, err)
				}
				if !strings.Contains(a.Why, c.why) || (a.Why == "") != (c.why == "") {
					t.Errorf("why %q, want %q", a.Why, c.why)
				}
				if diff := cmp.Diff(c.asked, s.asked); diff != "" {
					t.Errorf("asked (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func aliases(n int) []string {
	out := []string{"a.example. CNAME a0.example."}
	for i := range n {
		out = append(out, fmt.Sprintf("a%d.example. CNAME a%d.example.", i, i+1))
	}
	return out
}

func TestTrustingAliases(t *testing.T) {
	for _, c := range []struct {
		name      string
		answer    []string
		canonical string
		rrs       int
	}{
		{"to an address", []string{"a.example. CNAME b.example.", "b.example. A 192.0.2.1"}, "b.example.", 1},
		{"to nothing", []string{"a.example. CNAME b.example."}, "b.example.", 0},
		{"DNAME alone", []string{"example. DNAME other.example.", "a.other.example. A 192.0.2.1"}, "a.other.example.", 1},
		{"strangers are left out", []string{"a.example. A 192.0.2.1", "b.example. A 192.0.2.2"}, "a.example.", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &scripted{steps: []func(*dns.Msg){answer(c.answer...)}}
			a, err := trusting(t, s.exchange).Lookup(t.Context(), "A.Example", dns.TypeA)
			if err != nil || a.CanonicalName != c.canonical || len(a.RRs) != c.rrs {
				t.Errorf("got %+v, %v", a, err)
			}
		})
	}
}

func TestTrustingNextServer(t *testing.T) {
	s := &scripted{steps: []func(*dns.Msg){rcode(dns.RcodeRefused), vouchedFor}}
	a, err := trusting(t, s.exchange, "127.0.0.2:53").Lookup(t.Context(), "a.example", dns.TypeA)
	if err != nil || a.Status != dnssec.Secure || !cmp.Equal(s.asked, []string{"udp 127.0.0.2:53", "udp 127.0.0.1:53"}) {
		t.Errorf("got %+v, %v after %q", a, err, s.asked)
	}
}

func TestTrustingGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // less than the pause
		defer cancel()
		s := &scripted{steps: []func(*dns.Msg){servfail(-1, ""), yes, servfail(-1, "")}}
		if a, err := trusting(t, s.exchange).Lookup(ctx, "a.example", dns.TypeA); !errors.Is(err, context.DeadlineExceeded) || a.Status != dnssec.Error {
			t.Errorf("got %+v, %v", a, err)
		}
	})
}

func TestTrustingCheck(t *testing.T) {
	soa := answer(". SOA a.root-servers.net. nstld.verisign-grs.com. 1 1800 900 604800 86400")
	for _, c := range []struct {
		name string
		step func(*dns.Msg)
		want string
	}{
		{"validates", func(m *dns.Msg) { soa(m); m.AuthenticatedData = true }, ""},
		{"does not", soa, "does not validate"},
		{"does not answer", nil, "no route"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &scripted{steps: []func(*dns.Msg){c.step}}
			err := trusting(t, s.exchange).Check(t.Context())
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestTrustingRefuses(t *testing.T) {
	if _, err := dnssec.NewTrusting(dnssec.TrustingOptions{}); err == nil {
		t.Error("no servers: no error")
	}
	s := &scripted{steps: []func(*dns.Msg){yes}}
	r := trusting(t, s.exchange)
	for _, name := range []string{"", "a..b", strings.Repeat("a", 64) + ".example"} {
		if a, err := r.Lookup(t.Context(), name, dns.TypeA); err == nil || a.Status != dnssec.Error {
			t.Errorf("%q: got %+v, %v", name, a, err)
		}
	}
	if _, err := r.Lookup(t.Context(), "a.example", dns.TypeANY); err == nil || len(s.asked) > 0 {
		t.Errorf("ANY: %v after %q", err, s.asked)
	}
}
