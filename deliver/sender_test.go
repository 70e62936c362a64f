package deliver_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/deliver"
	"github.com/tlsink/tlsink/dnssec"
)

// world is a sink, its zone, and what a sender needs to reach it.
type world struct {
	pki    *pki
	dns    *resolver
	server *server
	opts   deliver.Options
	certs  map[string]*tls.Certificate // by label: mx03 … ut, and self-signed and CA defaults
}

func newWorld(t testing.TB) *world {
	p := newPKI(t)
	w := newWorldWith(t, p)
	w.opts.HTTPClient = policyHost(t, p, stsText)
	return w
}

// newWorldWith makes a world without a policy host, and so without sockets.
func newWorldWith(t testing.TB, p *pki) *world {
	w := &world{pki: p, dns: newResolver(), certs: map[string]*tls.Certificate{
		"mx03": p.selfSigned(t, "mx03.et.sink.example"), "mx04": p.selfSigned(t, "mx04.et.sink.example"),
		"mx05": p.issue(t, "mx05.et.sink.example"), "mx06": p.issue(t, "mx06.et.sink.example"),
		"ut": p.issue(t, "ut.sink.example"), "ut self": p.selfSigned(t, "ut.sink.example"),
		"self": p.selfSigned(t, "default.invalid"),
		"ca":   p.issue(t, "mx03.et.sink.example", "mx04.et.sink.example", "mx05.et.sink.example", "mx06.et.sink.example", "ut.sink.example"),
	}}
	w.server = &server{startTLS: true, certs: map[string]*tls.Certificate{"": w.certs["self"]}, replies: map[string]string{}}
	other := p.selfSigned(t, "nobody.invalid")
	for i, h := range []string{"mx03", "mx04", "mx05", "mx06"} {
		name := h + ".et.sink.example"
		w.server.certs[name] = w.certs[h]
		w.dns.set(name+" A", dnssec.Secure, ip(fmt.Sprintf("192.0.2.%d", i+3)))
		record := tlsa(other)
		if h == "mx04" || h == "mx06" {
			record = tlsa(w.certs[h])
		}
		w.dns.set("_25._tcp."+name+" TLSA", dnssec.Secure, record)
	}
	w.server.certs["ut.sink.example"] = w.certs["ut"]
	w.dns.set("ut.sink.example A", dnssec.Secure, ip("192.0.2.7"))
	w.dns.set("ut.sink.example MX", dnssec.Secure, mx(10, "ut.sink.example"))
	w.dns.set("_mta-sts.et.sink.example TXT", dnssec.Secure, txt("v=STSv1; ", "id=1;"))
	w.hosts("mx03", "mx04", "mx05", "mx06")
	w.opts = deliver.Options{
		Resolver: w.dns, Roots: p.roots, Dial: w.server.dial,
		LocalName: "mta.sender.example", Rand: rand.New(rand.NewPCG(1, 2)),
	}
	return w
}

// hosts makes these the MX of et, in this order.
func (w *world) hosts(labels ...string) {
	var rrs []dns.RR
	for i, l := range labels {
		rrs = append(rrs, mx(uint16(10*i), l+".et.sink.example"))
	}
	w.dns.set("et.sink.example MX", dnssec.Secure, rrs...)
}

func (w *world) sender(t testing.TB, p deliver.Policy) *deliver.Sender {
	t.Helper()
	s, err := deliver.New(p, w.opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Wait)
	return s
}

func mail(domain string) deliver.Envelope {
	return deliver.Envelope{From: "j@sender.example", To: []string{"en@" + domain}, Message: []byte("Subject: x\n\n.dot\n")}
}

func named(t testing.TB, name string) deliver.Policy {
	t.Helper()
	p, ok := deliver.Named(name)
	if !ok {
		t.Fatalf("no policy %q", name)
	}
	return p
}

// The table of DESIGN §3, for a sender that meets one face at a time.
// p: mail in plaintext, t: mail over TLS, m: TLS is missing, r: refused, s: not contacted.
func TestEveryPolicyAtEveryFace(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		face, host string
		startTLS   bool
		fallback   string // default certificate
		sni        deliver.SNIRule
		want       string // none may encrypt verify mta-sts dane dane-only dane+mta-sts
	}{
		{"1, et", "mx06", false, "self", deliver.SNIAlways, "p p m m m m m m"},
		{"3", "mx03", true, "self", deliver.SNIAlways, "p t t r s r r s"},
		{"4", "mx04", true, "self", deliver.SNIAlways, "p t t r r t t r"},
		{"5", "mx05", true, "self", deliver.SNIAlways, "p t t t t r r r"},
		{"6", "mx06", true, "self", deliver.SNIAlways, "p t t t t t t t"},
		{"2 self-signed or 3", "mx03", true, "self", deliver.SNIAuthenticating, "p t t r s r r s"},
		{"2 self-signed or 4", "mx04", true, "self", deliver.SNIAuthenticating, "p t t r r t t r"},
		{"2 self-signed or 5", "mx05", true, "self", deliver.SNIAuthenticating, "p t t r t r r r"},
		{"2 CA or 5", "mx05", true, "ca", deliver.SNIAuthenticating, "p t t t t r r r"},
		{"2 CA or 4", "mx04", true, "ca", deliver.SNIAuthenticating, "p t t t r t t r"},
		{"2 self-signed", "mx06", true, "self", deliver.SNINever, "p t t r r r r r"},
		{"2 CA", "mx06", true, "ca", deliver.SNINever, "p t t t t r r r"},
		{"7 plaintext", "ut", false, "self", deliver.SNIAlways, "p p m m p p s p"},
		{"7 CA", "ut", true, "self", deliver.SNIAlways, "p t t t t t s t"},
		{"7 self-signed", "ut self", true, "self", deliver.SNIAlways, "p t t r t t s t"},
		{"7 CA, no SNI", "ut", true, "ca", deliver.SNIAuthenticating, "p t t t t t s t"},
		{"7 self-signed, no SNI", "ut", true, "self", deliver.SNIAuthenticating, "p t t r t t s t"},
	} {
		w.server.startTLS = c.startTLS
		w.server.certs[""] = w.certs[c.fallback]
		domain := "et.sink.example"
		if label, _, _ := strings.Cut(c.host, " "); label == "ut" {
			domain = "ut.sink.example"
			w.server.certs["ut.sink.example"] = w.certs[c.host]
		} else {
			w.hosts(c.host)
		}
		for i, name := range deliver.Names() {
			want := strings.Fields(c.want)[i]
			t.Run(c.face+"/"+name, func(t *testing.T) {
				p := named(t, name)
				p.SNI = c.sni
				r := w.sender(t, p).Attempt(t.Context(), mail(domain))
				got := letter(r.Tries[len(r.Tries)-1])
				if got != want || r.Delivered != (want == "p" || want == "t") || !r.Delivered && !r.Temporary {
					t.Errorf("got %s, want %s: %+v", got, want, r)
				}
				checkVisits(t, w.server.seen(), want, c.sni)
			})
		}
	}
}

func letter(t deliver.Try) string {
	switch t.Outcome {
	case deliver.Delivered:
		if t.TLS {
			return "t"
		}
		return "p"
	case deliver.MissingTLS:
		return "m"
	case deliver.Refused:
		return "r"
	case deliver.Skipped:
		return "s"
	}
	return string(t.Outcome)
}

// checkVisits compares what the server saw with the outcome.
func checkVisits(t *testing.T, seen []visit, want string, sni deliver.SNIRule) {
	t.Helper()
	if want == "s" {
		if len(seen) > 0 {
			t.Errorf("contacted: %+v", seen)
		}
		return
	}
	if len(seen) != 1 {
		t.Fatalf("seen %+v, want one connection", seen)
	}
	v := seen[0]
	if v.TLS != (want == "t" || want == "r") || (v.Data != "") != (want == "p" || want == "t") || v.End != "quit" {
		t.Errorf("seen %+v, want %s", v, want)
	}
	if v.TLS && (v.SNI != "") != (sni == deliver.SNIAlways) && sni != deliver.SNIAuthenticating {
		t.Errorf("SNI %q", v.SNI)
	}
	if v.Helo[0] != "mta.sender.example" {
		t.Errorf("EHLO %q", v.Helo)
	}
}

func TestSNIOnlyWhereItAuthenticates(t *testing.T) {
	w := newWorld(t)
	w.hosts("mx06")
	for _, c := range []struct{ policy, domain, want string }{
		{"may", "et.sink.example", ""},
		{"verify", "et.sink.example", ""},
		{"dane", "et.sink.example", "mx06.et.sink.example"},
		{"mta-sts", "et.sink.example", "mx06.et.sink.example"},
		{"dane", "ut.sink.example", ""},
		{"mta-sts", "ut.sink.example", ""},
	} {
		r := w.sender(t, named(t, c.policy)).Attempt(t.Context(), mail(c.domain))
		seen := w.server.seen()
		if len(seen) != 1 || seen[0].SNI != c.want || r.Tries[0].SNI != c.want || !seen[0].TLS {
			t.Errorf("%s at %s: %+v, want SNI %q", c.policy, c.domain, seen, c.want)
		}
	}
}

func TestBothRules(t *testing.T) {
	w := newWorld(t)
	base := named(t, "dane+mta-sts")
	for _, c := range []struct {
		name  string
		both  deliver.BothRule
		late  bool
		wants map[string]string
	}{
		{"DANE wins", deliver.DANEWins, false, map[string]string{"mx03": "r", "mx04": "t", "mx05": "r", "mx06": "t"}},
		{"STS wins", deliver.STSWins, false, map[string]string{"mx03": "s", "mx04": "r", "mx05": "t", "mx06": "t"}},
		{"STS wins, late filter", deliver.STSWins, true, map[string]string{"mx03": "r", "mx04": "r", "mx05": "t", "mx06": "t"}},
		{"both must hold", deliver.BothMustHold, false, map[string]string{"mx03": "s", "mx04": "r", "mx05": "r", "mx06": "t"}},
		{"either suffices", deliver.EitherSuffices, false, map[string]string{"mx03": "r", "mx04": "t", "mx05": "t", "mx06": "t"}},
	} {
		for host, want := range c.wants {
			p := base
			p.Both = c.both
			if c.late {
				p.Filter = deliver.FilterLate
			}
			w.hosts(host)
			r := w.sender(t, p).Attempt(t.Context(), mail("et.sink.example"))
			if got := letter(r.Tries[0]); got != want {
				t.Errorf("%s at %s: %s, want %s: %+v", c.name, host, got, want, r)
			}
		}
	}
	w.server.seen()
}

func TestRefusalStyles(t *testing.T) {
	w := newWorld(t)
	w.hosts("mx05")
	for style, want := range map[deliver.RefusalStyle]string{
		deliver.RefuseByQuit: "quit", deliver.RefuseByAlert: "alert", deliver.RefuseByClose: "close",
	} {
		p := named(t, "dane")
		p.Refusal = style
		r := w.sender(t, p).Attempt(t.Context(), mail("et.sink.example"))
		seen := w.server.seen()
		if len(seen) != 1 || seen[0].End != want || seen[0].Mail != "" || r.Tries[0].Outcome != deliver.Refused {
			t.Errorf("style %d: %+v, %+v, want %s", style, seen, r, want)
		}
		if style != deliver.RefuseByAlert && len(seen[0].Helo) != 1 {
			t.Errorf("style %d: EHLO inside TLS before leaving", style)
		}
	}
}

func TestFallbacks(t *testing.T) {
	w := newWorld(t)
	w.hosts("mx04")
	for _, c := range []struct {
		name     string
		policy   deliver.Policy
		breakTLS bool
		inject   bool
		replies  map[string]string
		want     []deliver.Outcome
		tls      bool
	}{
		{"plaintext after a refused certificate", deliver.Policy{CA: deliver.CAPlaintextAfterFailure, Refusal: deliver.RefuseByAlert}, false, false, nil, []deliver.Outcome{deliver.Refused, deliver.Delivered}, false},
		{"unverified after a refused certificate", deliver.Policy{CA: deliver.CAUnverifiedAfterFailure, Refusal: deliver.RefuseByAlert}, false, false, nil, []deliver.Outcome{deliver.Refused, deliver.Delivered}, true},
		{"plaintext after a failed handshake", deliver.Policy{PlaintextAfterHandshakeFailure: true}, true, false, nil, []deliver.Outcome{deliver.FailedTLS, deliver.Delivered}, false},
		{"no plaintext after a failed handshake", deliver.Policy{}, true, false, nil, []deliver.Outcome{deliver.FailedTLS}, false},
		{"TLS required", deliver.Policy{TLS: deliver.TLSRequired, PlaintextAfterHandshakeFailure: true}, true, false, nil, []deliver.Outcome{deliver.FailedTLS}, false},
		{"DANE in force", deliver.Policy{DANE: deliver.DANEEnforce, PlaintextAfterHandshakeFailure: true}, true, false, nil, []deliver.Outcome{deliver.FailedTLS}, false},
		{"injected plaintext", deliver.Policy{}, false, true, nil, []deliver.Outcome{deliver.FailedTLS}, false},
		{"STARTTLS refused, goes on", deliver.Policy{}, false, false, map[string]string{"STARTTLS": "454 no"}, []deliver.Outcome{deliver.Delivered}, false},
		{"STARTTLS refused, required", deliver.Policy{TLS: deliver.TLSRequired}, false, false, map[string]string{"STARTTLS": "454 no"}, []deliver.Outcome{deliver.MissingTLS}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.server.breakTLS, w.server.inject, w.server.replies = c.breakTLS, c.inject, c.replies
			r := w.sender(t, c.policy).Attempt(t.Context(), mail("et.sink.example"))
			w.server.seen()
			if d := cmp.Diff(c.want, outcomes(r)); d != "" || r.Tries[len(r.Tries)-1].TLS != c.tls {
				t.Errorf("(-want +got):\n%s%+v", d, r)
			}
		})
	}
}

func outcomes(r deliver.Result) []deliver.Outcome {
	var out []deliver.Outcome
	for _, t := range r.Tries {
		out = append(out, t.Outcome)
	}
	return out
}

func TestMissingTLSIsRetriedOrBounced(t *testing.T) {
	w := newWorld(t)
	w.server.startTLS = false
	p := named(t, "encrypt")
	r := w.sender(t, p).Attempt(t.Context(), mail("et.sink.example"))
	if !r.Temporary || len(r.Tries) != 4 || !strings.HasPrefix(r.Text, "4.7.4 ") {
		t.Errorf("retry: %+v", r)
	}
	p.OnMissingTLS = deliver.BounceMissingTLS
	r = w.sender(t, p).Attempt(t.Context(), mail("et.sink.example"))
	if r.Temporary || r.Delivered || r.Code != 550 || len(r.Tries) != 4 {
		t.Errorf("bounce: %+v", r)
	}
	for _, v := range w.server.seen() {
		if v.End != "quit" || len(v.Helo) != 1 || v.Mail != "" {
			t.Errorf("seen %+v", v)
		}
	}
}

func TestLazySTSIsUnprotectedUntilTheFirstFetchHasEnded(t *testing.T) {
	w := newWorld(t)
	w.hosts("mx04")
	p := named(t, "mta-sts")
	p.STS = deliver.STSLazy
	s := w.sender(t, p)
	if r := s.Attempt(t.Context(), mail("et.sink.example")); !r.Delivered {
		t.Errorf("first attempt: %+v", r)
	}
	s.Wait()
	if r := s.Attempt(t.Context(), mail("et.sink.example")); letter(r.Tries[0]) != "r" {
		t.Errorf("second attempt: %+v", r)
	}
	// Another sender has its own memory.
	if r := w.sender(t, p).Attempt(t.Context(), mail("et.sink.example")); !r.Delivered {
		t.Errorf("another sender: %+v", r)
	}
	w.server.seen()
}

func TestModesOtherThanEnforceChangeNothing(t *testing.T) {
	w := newWorld(t)
	w.hosts("mx04")
	w.opts.HTTPClient = policyHost(t, w.pki, strings.Replace(stsText, "enforce", "testing", 1))
	if r := w.sender(t, named(t, "mta-sts")).Attempt(t.Context(), mail("et.sink.example")); !r.Delivered {
		t.Errorf("got %+v", r)
	}
	w.server.seen()
}

func TestHowManyHostsAreTried(t *testing.T) {
	w := newWorld(t)
	w.server.replies = map[string]string{"DATA": "451 4.7.1 retry"}
	for _, c := range []struct {
		name   string
		change func(*deliver.Policy)
		want   string
	}{
		{"all", func(p *deliver.Policy) { p.MaxMX = 0 }, "mx03 mx04 mx05 mx06"},
		{"two", func(p *deliver.Policy) { p.MaxMX = 2 }, "mx03 mx04"},
		{"one", func(p *deliver.Policy) { p.MaxMX = 1 }, "mx03"},
		{"failures of TLS do not count", func(p *deliver.Policy) { p.MaxMX, p.DANE, p.SNI = 2, deliver.DANEEnforce, deliver.SNIAlways }, "mx03 mx04 mx05 mx06"},
	} {
		p := deliver.Policy{}
		c.change(&p)
		r := w.sender(t, p).Attempt(t.Context(), mail("et.sink.example"))
		var got []string
		for _, x := range r.Tries {
			label, _, _ := strings.Cut(x.MX, ".")
			got = append(got, label)
		}
		if strings.Join(got, " ") != c.want || !r.Temporary || r.Code != 451 || r.Text != "4.7.1 retry" {
			t.Errorf("%s: %v, want %s: %+v", c.name, got, c.want, r)
		}
	}
	for _, h := range []string{"mx03", "mx04", "mx05", "mx06"} {
		w.dns.set(h+".et.sink.example A", dnssec.Secure, ip("192.0.2.25"))
	}
	r := w.sender(t, deliver.Policy{CollapseSameAddress: true}).Attempt(t.Context(), mail("et.sink.example"))
	if len(r.Tries) != 1 {
		t.Errorf("one address: %+v", r)
	}
	w.server.seen()
}

func TestShuffleOnlyEqualPreferences(t *testing.T) {
	w := newWorld(t)
	w.server.replies = map[string]string{"DATA": "451 retry"}
	w.dns.set("et.sink.example MX", dnssec.Secure, mx(20, "mx06.et.sink.example"), mx(10, "mx03.et.sink.example"), mx(10, "mx04.et.sink.example"), mx(10, "mx05.et.sink.example"))
	s := w.sender(t, deliver.Policy{ShuffleEqual: true})
	first := map[string]bool{}
	for range 20 {
		r := s.Attempt(t.Context(), mail("et.sink.example"))
		first[r.Tries[0].MX] = true
		if r.Tries[3].MX != "mx06.et.sink.example" {
			t.Fatalf("the least preferred is not last: %+v", r)
		}
	}
	if len(first) != 3 {
		t.Errorf("first hosts: %v", first)
	}
	w.server.seen()
}

func TestDNS(t *testing.T) {
	certMX := "mx06.et.sink.example"
	for _, c := range []struct {
		name, policy string
		change       func(*world)
		want         []deliver.Outcome
		temporary    bool
		text         string
	}{
		{"insecure MX: no DANE", "dane", func(w *world) { w.hostsWith("mx05", dnssec.Insecure) }, []deliver.Outcome{deliver.Delivered}, false, ""},
		{"insecure MX: dane-only does not come", "dane-only", func(w *world) { w.hostsWith("mx06", dnssec.Insecure) }, []deliver.Outcome{deliver.Skipped}, true, "DANE is required"},
		{"insecure address: no DANE", "dane", func(w *world) {
			w.hosts("mx05")
			w.dns.set("mx05.et.sink.example A", dnssec.Insecure, ip("192.0.2.5"))
		}, []deliver.Outcome{deliver.Delivered}, false, ""},
		{"insecure TLSA: no DANE", "dane", func(w *world) {
			w.hosts("mx05")
			w.dns.set("_25._tcp.mx05.et.sink.example TLSA", dnssec.Insecure, tlsa(w.certs["self"]))
		}, []deliver.Outcome{deliver.Delivered}, false, ""},
		{"bogus TLSA: next host", "dane", func(w *world) {
			w.hosts("mx04", "mx06")
			w.dns.set("_25._tcp.mx04.et.sink.example TLSA", dnssec.Bogus)
		}, []deliver.Outcome{deliver.Skipped, deliver.Delivered}, false, ""},
		{"TLSA not to be had: not contacted", "dane", func(w *world) {
			w.hosts("mx04")
			w.dns.set("_25._tcp.mx04.et.sink.example TLSA", dnssec.Error)
		}, []deliver.Outcome{deliver.Skipped}, true, "TLSA"},
		{"only DANE senders mind", "may", func(w *world) {
			w.hosts("mx04")
			w.dns.set("_25._tcp.mx04.et.sink.example TLSA", dnssec.Error)
		}, []deliver.Outcome{deliver.Delivered}, false, ""},
		{"all TLSA unusable: unauthenticated TLS", "dane", func(w *world) {
			w.hosts("mx05")
			w.dns.set("_25._tcp.mx05.et.sink.example TLSA", dnssec.Secure, &dns.TLSA{Usage: 1, Selector: 1, MatchingType: 1, Certificate: strings.Repeat("00", 32)})
		}, []deliver.Outcome{deliver.Delivered}, false, ""},
		{"all TLSA unusable, no STARTTLS", "dane", func(w *world) {
			w.hosts("mx05")
			w.server.startTLS = false
			w.dns.set("_25._tcp.mx05.et.sink.example TLSA", dnssec.Secure, &dns.TLSA{Usage: 1})
		}, []deliver.Outcome{deliver.MissingTLS}, true, "4.7.4"},
		{"alias: TLSA of the expanded name", "dane", func(w *world) {
			w.dns.set("et.sink.example MX", dnssec.Secure, mx(10, "alias.sink.example"))
			w.dns.answers["alias.sink.example A"] = dnssec.Answer{Status: dnssec.Secure, CanonicalName: certMX + ".", RRs: []dns.RR{ip("192.0.2.6")}}
			w.dns.answers["alias.sink.example AAAA"] = dnssec.Answer{Status: dnssec.Secure, CanonicalName: certMX + "."}
			w.server.certs["alias.sink.example"] = w.certs["self"]
		}, []deliver.Outcome{deliver.Delivered}, false, ""},
		{"alias to an insecure zone: TLSA of the alias", "dane", func(w *world) {
			w.dns.set("et.sink.example MX", dnssec.Secure, mx(10, "alias.sink.example"))
			w.dns.answers["alias.sink.example A"] = dnssec.Answer{Status: dnssec.Insecure, CanonicalName: "x.elsewhere.", RRs: []dns.RR{ip("192.0.2.6")}}
			w.dns.answers["alias.sink.example AAAA"] = dnssec.Answer{Status: dnssec.Insecure, CanonicalName: "x.elsewhere."}
			w.dns.set("_25._tcp.alias.sink.example TLSA", dnssec.Secure, tlsa(w.certs["self"]))
			w.server.certs["alias.sink.example"] = w.certs["mx05"]
		}, []deliver.Outcome{deliver.Refused}, true, "4.7.5"},
		{"implicit MX", "may", func(w *world) {
			w.dns.set("et.sink.example MX", dnssec.Secure)
			w.dns.set("et.sink.example A", dnssec.Secure, ip("192.0.2.9"))
		}, []deliver.Outcome{deliver.Delivered}, false, ""},
		{"null MX", "may", func(w *world) {
			w.dns.set("et.sink.example MX", dnssec.Secure, &dns.MX{Mx: "."})
		}, nil, false, "5.1.10"},
		{"no such domain", "may", func(w *world) {
			w.dns.answers["et.sink.example MX"] = dnssec.Answer{Status: dnssec.Secure, Rcode: dns.RcodeNameError}
		}, nil, false, "5.1.2"},
		{"MX bogus", "may", func(w *world) { w.dns.set("et.sink.example MX", dnssec.Bogus) }, nil, true, "4.4.3"},
		{"MX not to be had", "may", func(w *world) { w.dns.set("et.sink.example MX", dnssec.Error) }, nil, true, "4.4.3"},
		{"host without address", "may", func(w *world) { w.hosts("mx99", "mx06") }, []deliver.Outcome{deliver.Skipped, deliver.Delivered}, false, ""},
		{"addresses bogus", "may", func(w *world) {
			w.hosts("mx06")
			w.dns.set("mx06.et.sink.example AAAA", dnssec.Bogus)
		}, []deliver.Outcome{deliver.Skipped}, true, "bogus"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.change(w)
			r := w.sender(t, named(t, c.policy)).Attempt(t.Context(), mail("et.sink.example"))
			w.server.seen()
			if d := cmp.Diff(c.want, outcomes(r)); d != "" || r.Temporary != c.temporary || !strings.Contains(r.Text, c.text) {
				t.Errorf("(-want +got):\n%s%+v", d, r)
			}
		})
	}
}

func (w *world) hostsWith(label string, status dnssec.Status) {
	w.dns.set("et.sink.example MX", status, mx(10, label+".et.sink.example"))
}

func TestReplies(t *testing.T) {
	for _, c := range []struct {
		name      string
		replies   map[string]string
		tries     int
		outcome   deliver.Outcome
		temporary bool
		text      string
	}{
		{"taken", nil, 1, deliver.Delivered, false, "2.0.0 taken"},
		{"451 to DATA", map[string]string{"DATA": "451 4.7.1 again"}, 2, deliver.Rejected, true, "4.7.1 again"},
		{"550 to DATA", map[string]string{"DATA": "550 5.7.1 never"}, 1, deliver.Rejected, false, "5.7.1 never"},
		{"550 to RCPT", map[string]string{"RCPT": "550 who"}, 1, deliver.Rejected, false, "who"},
		{"450 to MAIL", map[string]string{"MAIL": "450 later"}, 2, deliver.Rejected, true, "later"},
		{"554 for a greeting", map[string]string{"GREETING": "554 go away"}, 2, deliver.Rejected, true, "554 go away"},
		{"421 for a greeting", map[string]string{"GREETING": "421 busy"}, 2, deliver.Rejected, true, "421 busy"},
		{"nonsense", map[string]string{"GREETING": "hello"}, 2, deliver.Broken, true, "4.4.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.hosts("mx05", "mx06")
			w.server.replies = c.replies
			r := w.sender(t, named(t, "may")).Attempt(t.Context(), mail("et.sink.example"))
			w.server.seen()
			if len(r.Tries) != c.tries || r.Tries[0].Outcome != c.outcome || r.Temporary != c.temporary || !strings.Contains(r.Text, c.text) {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestMessageAndRecipients(t *testing.T) {
	w := newWorld(t)
	w.hosts("mx06")
	w.server.replies = map[string]string{"RCPT TO:<no@et.sink.example>": "550 5.1.1 unknown"}
	env := mail("et.sink.example")
	env.From, env.To = "", []string{"no@et.sink.example", "en@ET.sink.example"}
	r := w.sender(t, named(t, "dane")).Attempt(t.Context(), env)
	v := w.server.seen()[0]
	if v.Mail != "FROM:<> SIZE=17" || v.Data != "Subject: x\r\n\r\n..dot\r\n.\r\n" || len(v.Helo) != 2 || v.Helo[1] != "mta.sender.example" {
		t.Errorf("seen %+v", v)
	}
	want := []deliver.RecipientReply{{To: "no@et.sink.example", Reply: "550 5.1.1 unknown"}}
	if d := cmp.Diff(want, r.Refused); d != "" || !r.Delivered {
		t.Errorf("%+v\n%s", r, d)
	}
	x := r.Tries[0]
	if x.MX != "mx06.et.sink.example" || x.Address != "192.0.2.6:25" || !x.TLS || x.Version != tls.VersionTLS13 || x.Cipher == 0 || x.Verified != deliver.VerifiedDANE || x.Reply != "250 2.0.0 taken" {
		t.Errorf("try %+v", x)
	}
}

func TestEnvelopeIsChecked(t *testing.T) {
	w := newWorld(t)
	for _, to := range [][]string{nil, {""}, {"en"}, {"@et.sink.example"}, {"en@"}, {"a@x.example", "b@y.example"}, {"a>\r\nDATA@x.example"}, {"ä@x.example"}} {
		r := w.sender(t, deliver.Policy{}).Attempt(t.Context(), deliver.Envelope{To: to})
		if r.Delivered || r.Temporary || r.Code != 550 {
			t.Errorf("%q: %+v", to, r)
		}
	}
}

func TestRequireTLS(t *testing.T) {
	w := newWorld(t)
	w.hosts("mx05")
	env := mail("et.sink.example")
	env.RequireTLS = true
	p := named(t, "may")
	if r := w.sender(t, p).Attempt(t.Context(), env); r.Tries[0].Outcome != deliver.Refused {
		t.Errorf("unverified: %+v", r)
	}
	p.SNI = deliver.SNIAlways
	if r := w.sender(t, p).Attempt(t.Context(), env); r.Temporary || r.Delivered || !strings.Contains(r.Text, "5.7.30") {
		t.Errorf("not supported: %+v", r)
	}
	w.server.seen()
	w.server.requireTLS = true
	r := w.sender(t, p).Attempt(t.Context(), env)
	if v := w.server.seen()[0]; !r.Delivered || !strings.Contains(v.Mail, "REQUIRETLS") {
		t.Errorf("supported: %+v, %+v", r, v)
	}
	env.RequireTLS, env.TLSOptional = false, true
	w.hosts("mx03")
	if r := w.sender(t, named(t, "dane+mta-sts")).Attempt(t.Context(), env); !r.Delivered || !r.Tries[0].TLS {
		t.Errorf("TLS-Required: No: %+v", r)
	}
	w.server.seen()
}

func TestAddressFamilies(t *testing.T) {
	w := newWorld(t)
	w.hosts("mx06")
	w.dns.set("mx06.et.sink.example AAAA", dnssec.Secure, ip("2001:db8::6"))
	dial := w.opts.Dial
	w.opts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "[2001") {
			return nil, errors.New("no route to host")
		}
		return dial(ctx, network, address)
	}
	r := w.sender(t, named(t, "may")).Attempt(t.Context(), mail("et.sink.example"))
	if !slices.Equal(outcomes(r), []deliver.Outcome{deliver.Unreachable, deliver.Delivered}) || r.Tries[0].Address != "[2001:db8::6]:25" {
		t.Errorf("got %+v", r)
	}
	w.opts.LocalAddr = netip.MustParseAddr("192.0.2.200")
	if r := w.sender(t, named(t, "may")).Attempt(t.Context(), mail("et.sink.example")); len(r.Tries) != 1 || !r.Delivered {
		t.Errorf("from an IPv4 address: %+v", r)
	}
	w.server.seen()
}

func TestCancelledAttemptIsTemporary(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	w.opts.Dial = func(context.Context, string, string) (net.Conn, error) {
		cancel(errors.New("shutting down"))
		client, server := net.Pipe() // never says a word
		t.Cleanup(func() { _ = server.Close() })
		return client, nil
	}
	r := w.sender(t, named(t, "may")).Attempt(ctx, mail("et.sink.example"))
	if !r.Temporary || len(r.Tries) != 1 || !strings.Contains(r.Text, "shutting down") {
		t.Errorf("got %+v", r)
	}
}

func TestNewRefuses(t *testing.T) {
	full := deliver.Options{Resolver: newResolver(), LocalName: "mta.example"}
	for want, o := range map[string]deliver.Options{
		"resolver": {LocalName: "x"}, "local name": {Resolver: newResolver()}, "HTTP client": full,
	} {
		if _, err := deliver.New(deliver.Policy{STS: deliver.STSEnforce}, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, ok := deliver.Named("paranoid"); ok {
		t.Error("a policy of that name")
	}
}
