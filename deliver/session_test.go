package deliver_test

import (
	"context"
	"crypto/tls"
	"errors"
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
		}, []deliver.Outcome{deliver.Skipped}, true, "4.7.5"},
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
		{"no host has an address", "may", func(w *world) { w.hosts("mx99") }, []deliver.Outcome{deliver.Skipped}, true, "4.4.3"},
		{"no host is listed", "mta-sts", func(w *world) { w.hosts("mx03") }, []deliver.Outcome{deliver.Skipped}, true, "4.7.5"},
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
	if x.MX != "mx06.et.sink.example" || x.Address != "192.0.2.6:25" || !x.DANE || x.STS || !x.TLS || x.Version != tls.VersionTLS13 || x.Cipher == 0 || x.Verified != deliver.VerifiedDANE || x.Reply != "250 2.0.0 taken" {
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
