package deliver_test

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
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

func TestUnadvertisedStartTLS(t *testing.T) {
	w := newWorld(t)
	w.hosts("mx06")
	w.server.startTLS = false
	p := named(t, "dane")
	p.UnadvertisedStartTLS = true
	if r := w.sender(t, p).Attempt(t.Context(), mail("et.sink.example")); !r.Delivered || !r.Tries[0].TLS {
		t.Errorf("accepted: %+v", r)
	}
	w.server.seen()
	w.server.replies = map[string]string{"STARTTLS": "454 4.7.0 not now"}
	r := w.sender(t, p).Attempt(t.Context(), mail("et.sink.example"))
	if r.Tries[0].Outcome != deliver.MissingTLS || r.Tries[0].Code != 454 || w.server.seen()[0].End != "quit" {
		t.Errorf("refused: %+v", r)
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
