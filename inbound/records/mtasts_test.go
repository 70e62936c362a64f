package records

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlsink/tlsink/dnssec"
	"github.com/tlsink/tlsink/inbound/check"
	"github.com/tlsink/tlsink/internal/memnet"
)

const (
	stsRecord = "_mta-sts.example.org TXT v=STSv1; id=20260601"
	stsHost   = "mta-sts.example.org A 192.0.2.1"
	stsPolicy = "version: STSv1\r\nmode: enforce\r\nmx: mx.example.org\r\nmx: *.example.net\r\nmax_age: 2419200\r\n"
)

func TestMTASTS(t *testing.T) {
	good := MTASTS{
		Published: check.Pass(), Policy: check.Pass(), HTTPS: check.Pass(), DNSSEC: dnssec.Insecure,
		ID: "20260601", Mode: "enforce", MaxAge: 28 * 24 * time.Hour, MX: []string{"mx.example.org", "*.example.net"},
	}
	with := func(change func(*MTASTS)) MTASTS { m := good; change(&m); return m }
	for name, tc := range map[string]struct {
		dns    []string
		policy string
		want   MTASTS
	}{
		"good":                  {[]string{stsRecord, stsHost}, stsPolicy, good},
		"secure":                {[]string{"_mta-sts.example.org SECURE TXT v=STSv1; id=20260601", stsHost}, stsPolicy, with(func(m *MTASTS) { m.DNSSEC = dnssec.Secure })},
		"the end of a line: LF": {[]string{stsRecord, stsHost}, strings.ReplaceAll(stsPolicy, "\r", ""), good},
		"testing": {[]string{stsRecord, stsHost}, strings.Replace(stsPolicy, "enforce", "testing", 1), with(func(m *MTASTS) {
			m.Mode, m.Problems = "testing", []string{"the mode is testing: senders only report, and deliver without protection"}
		})},
		"none": {[]string{stsRecord, stsHost}, "version: STSv1\nmode: none\nmax_age: 60\n", with(func(m *MTASTS) {
			m.Mode, m.MX, m.MaxAge, m.Problems = "none", nil, time.Minute, []string{"the mode is none: the domain says that it has no policy"}
		})},
		"short": {[]string{stsRecord, stsHost}, strings.Replace(stsPolicy, "2419200", "86399", 1), with(func(m *MTASTS) {
			m.MaxAge, m.Problems = 86399*time.Second, []string{"max_age is 86399 seconds: with less than a day senders forget the policy too soon; weeks are usual"}
		})},
		"long": {[]string{stsRecord, stsHost}, strings.Replace(stsPolicy, "2419200", "31557601", 1), with(func(m *MTASTS) {
			m.MaxAge, m.Problems = 31557600*time.Second, []string{"max_age is 31557601 seconds, more than the 31557600 of a year that are allowed"}
		})},
		"as long as may be": {[]string{stsRecord, stsHost}, strings.Replace(stsPolicy, "2419200", "31557600", 1), with(func(m *MTASTS) { m.MaxAge = 31557600 * time.Second })},
		"wrong pattern": {[]string{stsRecord, stsHost}, strings.Replace(stsPolicy, "*.example.net", "*.*.example.net", 1), with(func(m *MTASTS) {
			m.Policy = no(`https://mta-sts.example.org: MTA-STS policy: line 4: mx "*.*.example.net": want a host name or *.<domain>`)
			m.Mode, m.MaxAge, m.MX, m.Problems = "", 0, nil, []string{m.Policy.Why}
		})},
		"no record": {[]string{stsHost}, stsPolicy, with(func(m *MTASTS) {
			m.Published, m.DNSSEC, m.ID = no("_mta-sts.example.org: no MTA-STS record: 0 TXT records begin with v=STSv1;, want 1"), dnssec.Secure, ""
			m.Problems = []string{"there is a policy, but no usable record at _mta-sts.example.org, so senders do not look for it"}
		})},
		"no record, and something else at the host": {[]string{stsHost}, "hello", MTASTS{
			Published: no("_mta-sts.example.org: no MTA-STS record: 0 TXT records begin with v=STSv1;, want 1"), DNSSEC: dnssec.Secure,
		}},
		"nothing": {nil, "", MTASTS{
			Published: no("_mta-sts.example.org: no MTA-STS record: 0 TXT records begin with v=STSv1;, want 1"), DNSSEC: dnssec.Secure,
		}},
		"two records": {[]string{stsRecord, stsRecord, stsHost}, stsPolicy, with(func(m *MTASTS) {
			m.Published, m.ID = no("_mta-sts.example.org: no MTA-STS record: 2 TXT records begin with v=STSv1;, want 1"), ""
			m.Problems = []string{"there is a policy, but no usable record at _mta-sts.example.org, so senders do not look for it"}
		})},
		"no id": {[]string{"_mta-sts.example.org TXT v=STSv1; i=1", stsHost}, stsPolicy, with(func(m *MTASTS) {
			m.Published, m.ID = no("_mta-sts.example.org: MTA-STS record: no id"), ""
			m.Problems = []string{"_mta-sts.example.org: MTA-STS record: no id", "there is a policy, but no usable record at _mta-sts.example.org, so senders do not look for it"}
		})},
		"nearly a record": {[]string{"_mta-sts.example.org TXT v=STSv1, id=1"}, "", MTASTS{
			Published: no("_mta-sts.example.org: no MTA-STS record: 0 TXT records begin with v=STSv1;, want 1"), DNSSEC: dnssec.Insecure,
			Problems: []string{`a TXT record of _mta-sts.example.org does not begin with "v=STSv1;", so it is ignored: "v=STSv1, id=1"`},
		}},
		"record could not be looked up": {[]string{"_mta-sts.example.org ERROR TXT", stsHost}, stsPolicy, with(func(m *MTASTS) {
			m.Published, m.DNSSEC, m.ID = untested("the TXT records of _mta-sts.example.org could not be looked up: i/o timeout"), dnssec.Error, ""
		})},
		"bogus record": {[]string{"_mta-sts.example.org BOGUS TXT"}, "", MTASTS{
			Published: no("DNSSEC: the answer for the TXT records of _mta-sts.example.org is bogus, so validating resolvers refuse it: because"), DNSSEC: dnssec.Bogus,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got := newPolicyHost(t, serve(tc.policy), nil).reader(newWorld(t, tc.dns...)).MTASTS(t.Context(), "example.org")
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Addresses are those of our resolver, and only allowed ones are connected to.
func TestMTASTSAddresses(t *testing.T) {
	const host = "mta-sts.example.org"
	for name, tc := range map[string]struct {
		dns    []string
		want   check.Result // of the policy
		dialed []string
	}{
		"both families": {[]string{host + " AAAA 2001:db8::1", host + " A 192.0.2.1"}, check.Pass(), []string{"192.0.2.1:443"}},
		"the next one":  {[]string{host + " A 192.0.2.99", host + " AAAA 2001:db8::1"}, check.Pass(), []string{"192.0.2.99:443", "[2001:db8::1]:443"}},
		"none":          {nil, no("mta-sts.example.org, the host of the policy, has no address"), nil},
		"private": {
			[]string{host + " A 127.0.0.1", host + " A 10.0.0.1", host + " AAAA ::1", host + " AAAA ::ffff:127.0.0.1", host + " AAAA fe80::1"},
			no("mta-sts.example.org, the host of the policy, has no public address"), nil,
		},
		"some private": {[]string{host + " A 127.0.0.1", host + " A 192.0.2.1"}, check.Pass(), []string{"192.0.2.1:443"}},
		"refused":      {[]string{host + " A 192.0.2.99"}, untested("https://mta-sts.example.org: could not connect: dial tcp: connection refused"), []string{"192.0.2.99:443"}},
		"few of many": {
			[]string{host + " A 192.0.2.99", host + " A 192.0.2.99", host + " A 192.0.2.1"},
			untested("https://mta-sts.example.org: could not connect: dial tcp: connection refused"),
			[]string{"192.0.2.99:443", "192.0.2.99:443"},
		},
		"no answer": {[]string{host + " ERROR A"}, untested("the A records of mta-sts.example.org could not be looked up: i/o timeout"), nil},
		"bogus": {
			[]string{host + " BOGUS A"},
			no("DNSSEC: the answer for the A records of mta-sts.example.org is bogus, so validating resolvers refuse it: because"), nil,
		},
		"one family bogus": {[]string{host + " A 192.0.2.1", host + " BOGUS AAAA"}, check.Pass(), []string{"192.0.2.1:443"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPolicyHost(t, serve(stsPolicy), nil)
			got := p.reader(newWorld(t, append(tc.dns, stsRecord)...)).MTASTS(t.Context(), "example.org")
			if diff := cmp.Diff(tc.want, got.Policy); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.dialed, p.dialed); diff != "" {
				t.Error(diff)
			}
			if got.HTTPS.Failed() {
				t.Errorf("https: %v", got.HTTPS)
			}
		})
	}
}

// Without Allowed nobody is connected to.
func TestNothingAllowedByDefault(t *testing.T) {
	p := newPolicyHost(t, serve(stsPolicy), nil)
	r := p.reader(newWorld(t, stsRecord, stsHost))
	opts := r.opts
	opts.Allowed = nil
	got := New(opts).MTASTS(t.Context(), "example.org")
	if got.Policy != no("mta-sts.example.org, the host of the policy, has no public address") || len(p.dialed) > 0 {
		t.Errorf("policy %v, dialed %q", got.Policy, p.dialed)
	}
}

func TestMTASTSCertificates(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(ca, *tls.Config)
		https  string
	}{
		"wildcard": {func(c ca, conf *tls.Config) {
			conf.Certificates = []tls.Certificate{c.issue(t, day().AddDate(0, 1, 0), "*.example.org")}
		}, ""},
		"expired": {func(c ca, conf *tls.Config) {
			conf.Certificates = []tls.Certificate{c.issue(t, day().Add(-time.Second), "mta-sts.example.org")}
		}, "the certificate is expired or not yet valid"},
		"another name": {func(c ca, conf *tls.Config) {
			conf.Certificates = []tls.Certificate{c.issue(t, day().AddDate(0, 1, 0), "example.org", "www.example.org")}
		}, "the certificate is not for mta-sts.example.org but for example.org, www.example.org"},
		"no name": {func(c ca, conf *tls.Config) {
			conf.Certificates = []tls.Certificate{c.issue(t, day().AddDate(0, 1, 0))}
		}, "the certificate is not for mta-sts.example.org but for no name"},
		"not for servers": {func(c ca, conf *tls.Config) {
			conf.Certificates = []tls.Certificate{c.issue(t, day().AddDate(0, 1, 0), "client", "mta-sts.example.org")}
		}, "the certificate is not valid: x509: certificate specifies an incompatible key usage"},
		"another CA": {func(_ ca, conf *tls.Config) {
			conf.Certificates = []tls.Certificate{newCA(t).issue(t, day().AddDate(0, 1, 0), "mta-sts.example.org")}
		}, "the certificate is not from a CA that is trusted"},
		"old TLS": {func(_ ca, conf *tls.Config) { conf.MinVersion, conf.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, "remote error: tls: protocol version not supported"},
		"client too": {func(_ ca, conf *tls.Config) {
			conf.ClientAuth = tls.RequireAnyClientCert
			conf.MaxVersion = tls.VersionTLS12
		}, "remote error: tls: handshake failure"},
	} {
		t.Run(name, func(t *testing.T) {
			got := newPolicyHost(t, serve(stsPolicy), tc.change).reader(newWorld(t, stsRecord, stsHost)).MTASTS(t.Context(), "example.org")
			if tc.https == "" {
				if !got.HTTPS.OK() || !got.Policy.OK() {
					t.Errorf("https %v, policy %v", got.HTTPS, got.Policy)
				}
				return
			}
			if want := no("https://mta-sts.example.org: " + tc.https); got.HTTPS != want {
				t.Errorf("got  %v\nwant %v", got.HTTPS, want)
			}
			if !got.Policy.Failed() || !strings.HasPrefix(got.Policy.Why, got.HTTPS.Why) {
				t.Errorf("policy: %v", got.Policy)
			}
		})
	}
}

// What a policy host may not send is refused, and says why.
func TestMTASTSAnswers(t *testing.T) {
	header := func(name, value string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set(name, value)
			serve(stsPolicy)(w, r)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, answer)
				_ = conn.Close()
			}
		}
	}
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		want    check.Result
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://mta-sts.example.org/other", http.StatusMovedPermanently)
		}, no("not a policy: a redirect (HTTP status 301), which senders do not follow")},
		"not found": {http.NotFound, no("not a policy: HTTP status 404, want 200")},
		"busy":      {status(http.StatusServiceUnavailable), untested("no policy for now: HTTP status 503")},
		"too often": {status(http.StatusTooManyRequests), untested("no policy for now: HTTP status 429")},
		"empty":     {status(http.StatusNoContent), no("not a policy: HTTP status 204, want 200")},
		"media type": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, stsPolicy)
		}, no(`media type "text/html", want text/plain`)},
		"charset":    {header("Server", "x"), check.Pass()},
		"compressed": {header("Content-Encoding", "GZIP"), no(`not a policy: it is compressed ("gzip") without being asked for`)},
		"identity":   {header("Content-Encoding", "identity"), check.Pass()},
		"bomb": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write(zipped(t, strings.Repeat("a", 1<<20)))
		}, no(`MTA-STS policy: line 1: "\x1f\x8b`)},
		"huge":         {serve(stsPolicy + strings.Repeat("x: y\n", 2<<20)), no("MTA-STS policy: more than 65536 bytes")},
		"huge header":  {header("X", strings.Repeat("x", 1<<17)), no("net/http: server response headers exceeded 16384 bytes; aborted")},
		"not HTTP":     {raw("220 mail.example.org ESMTP\r\n"), no(`malformed HTTP status code "mail.example.org"`)},
		"hang up":      {raw(""), untested("EOF")},
		"cut off":      {raw("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 200\r\n\r\nversion: STSv1\r\n"), untested("read: unexpected EOF")},
		"control":      {serve("version: STSv1\nmode: \x1b[2Jenforce\n"), no(`MTA-STS policy: line 2: mode "\x1b[2Jenforce": want enforce, testing or none`)},
		"many answers": {raw(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000)), no("net/http: server response headers exceeded 16384 bytes; aborted")},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPolicyHost(t, tc.handler, nil)
			got := p.reader(newWorld(t, stsRecord, stsHost)).MTASTS(t.Context(), "example.org")
			if !got.HTTPS.OK() {
				t.Errorf("https: %v", got.HTTPS)
			}
			if got.Policy.Outcome != tc.want.Outcome || !tc.want.OK() && !strings.HasPrefix(got.Policy.Why, "https://mta-sts.example.org: "+tc.want.Why) {
				t.Errorf("got  %v\nwant %v", got.Policy, tc.want)
			}
			if len(p.dialed) != 1 {
				t.Errorf("%d connections", len(p.dialed))
			}
		})
	}
}

// The request tells who asks, and asks for no compression.
func TestMTASTSRequest(t *testing.T) {
	type request struct{ Method, Host, Path, Agent, Encoding, SNI string }
	asked := make(chan request, 1)
	p := newPolicyHost(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- request{r.Method, r.Host, r.URL.Path, r.UserAgent(), r.Header.Get("Accept-Encoding"), r.TLS.ServerName}
		serve(stsPolicy)(w, r)
	}, nil)
	r := p.reader(newWorld(t, stsRecord, stsHost))
	r.opts.UserAgent = "tlsink (https://sink.example)"
	if got := r.MTASTS(t.Context(), "example.org"); !got.Policy.OK() {
		t.Fatal(got.Policy)
	}
	want := request{"GET", "mta-sts.example.org", "/.well-known/mta-sts.txt", "tlsink (https://sink.example)", "identity", "mta-sts.example.org"}
	if diff := cmp.Diff(want, <-asked); diff != "" {
		t.Error(diff)
	}
}

// The banner of another protocol is no TLS.
func TestMTASTSNoTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		if conn, err := l.Accept(); err == nil {
			_, _ = io.WriteString(conn, "220 mail.example.org ESMTP\r\n")
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}()
	got := (&policyHost{addr: l.Addr().String()}).reader(newWorld(t, stsRecord, stsHost)).MTASTS(t.Context(), "example.org")
	if want := no("https://mta-sts.example.org: tls: first record does not look like a TLS handshake"); got.HTTPS != want || got.Policy != want {
		t.Errorf("https %v, policy %v", got.HTTPS, got.Policy)
	}
}

// A server that never ends an answer, or a handshake, is left after the timeout.
func TestMTASTSSlow(t *testing.T) {
	c := newCA(t)
	conf := &tls.Config{Certificates: []tls.Certificate{c.issue(t, day().AddDate(0, 1, 0), "mta-sts.example.org")}}
	drip := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			_, _ = io.WriteString(w, "\n")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	})
	silent := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for name, tc := range map[string]struct {
		serve  func(net.Listener) error
		https  check.Result
		policy string
	}{
		"drop by drop": {func(l net.Listener) error { return serveHTTP(tls.NewListener(l, conf), drip) }, check.Pass(), "read: context deadline exceeded"},
		"no answer":    {func(l net.Listener) error { return serveHTTP(tls.NewListener(l, conf), silent) }, check.Pass(), "context deadline exceeded"},
		"no handshake": {func(l net.Listener) error {
			conn, err := l.Accept()
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, conn)
			return err
		}, untested("https://mta-sts.example.org: context deadline exceeded"), "context deadline exceeded"},
		"not accepted": {func(net.Listener) error { return nil }, untested("https://mta-sts.example.org: context deadline exceeded"), "context deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n memnet.Network
				l, err := n.Listen(netip.MustParseAddrPort("192.0.2.1:443"))
				if err != nil {
					t.Fatal(err)
				}
				done := make(chan struct{})
				go func() { defer close(done); _ = tc.serve(l) }()
				r := New(Options{
					Resolver: newWorld(t, stsRecord, stsHost), Roots: c.pool(), Now: day, Timeout: 20 * time.Second,
					Allowed: func(netip.Addr) bool { return true }, Dial: n.Dialer(netip.MustParseAddr("192.0.2.200")),
				})
				start := time.Now()
				got := r.MTASTS(t.Context(), "example.org")
				if took := time.Since(start); took != 20*time.Second { // in the bubble's time
					t.Errorf("took %s", took)
				}
				if got.HTTPS != tc.https || got.Policy != untested("https://mta-sts.example.org: "+tc.policy) {
					t.Errorf("https %v, policy %v", got.HTTPS, got.Policy)
				}
				_ = l.Close()
				<-done
				synctest.Wait() // for the handler
			})
		})
	}
}

func serveHTTP(l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	return s.Serve(l)
}
