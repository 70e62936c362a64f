package web_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/web"
)

// running is a served fixture on loopback.
type running struct {
	*fixture
	http, https string
}

func serve(t *testing.T, change func(*web.Options)) *running {
	t.Helper()
	f := newFixture(t, change)
	listen := func() net.Listener {
		var config net.ListenConfig
		l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	plain, secure := listen(), listen()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.server.Serve(ctx, []net.Listener{plain}, []net.Listener{secure}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return &running{f, plain.Addr().String(), secure.Addr().String()}
}

// client returns a client that reaches the server under every name, trusts
// its certificates and follows no redirect (RFC 8461 §3.3).
func (s *running) client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: s.ca.pool()},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			to := s.https
			if strings.HasSuffix(addr, ":80") {
				to = s.http
			}
			var d net.Dialer
			return d.DialContext(ctx, network, to)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// An answer is a response that was read.
type answer struct {
	*http.Response
	body string
}

func fetch(t *testing.T, c *http.Client, url, userAgent string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", userAgent)
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return answer{res, string(body)}
}

func closed(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestPolicyOverTLS(t *testing.T) {
	s := serve(t, nil)
	c := s.client(t)
	for host, want := range map[string]string{
		"mta-sts.et.sink.example":  "version: STSv1\r\nmode: enforce\r\nmx: mx04.et.sink.example\r\nmx: mx05.et.sink.example\r\nmx: mx06.et.sink.example\r\nmax_age: 86400\r\n",
		"mta-sts.et3.sink.example": "version: STSv1\r\nmode: enforce\r\nmx: mx04.et3.sink.example\r\nmx: mx05.et3.sink.example\r\nmx: mx06.et3.sink.example\r\nmax_age: 86400\r\n",
	} {
		t.Run(host, func(t *testing.T) {
			res := fetch(t, c, "https://"+host+"/.well-known/mta-sts.txt", "sender/1")
			if res.StatusCode != http.StatusOK || res.body != want {
				t.Errorf("status %d, policy %q, want %q", res.StatusCode, res.body, want)
			}
			if got := res.Header.Values("Content-Type"); !cmp.Equal(got, []string{"text/plain"}) {
				t.Errorf("Content-Type %q", got)
			}
			got := <-s.fetches
			if diff := cmp.Diff(evidence.PolicyFetch{Time: start, Client: "127.0.0.1", Host: host, UserAgent: "sender/1", Status: 200}, got); diff != "" {
				t.Errorf("recorded (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("plain HTTP", func(t *testing.T) {
		res := fetch(t, c, "http://mta-sts.et.sink.example/.well-known/mta-sts.txt", "sender/1")
		if res.StatusCode != http.StatusNotFound || res.Header.Get("Location") != "" {
			t.Errorf("status %d, location %q; want 404 and none", res.StatusCode, res.Header.Get("Location"))
		}
	})
	t.Run("pages", func(t *testing.T) {
		res := fetch(t, c, "https://sink.example/", "browser")
		if res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
			t.Errorf("status %d over %s", res.StatusCode, res.Proto)
		}
	})
	t.Run("another host over the same connection", func(t *testing.T) {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://sink.example/.well-known/mta-sts.txt", http.NoBody)
		r.Host = "mta-sts.et.sink.example"
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer closed(t, res.Body)
		if res.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("status %d, want 421", res.StatusCode)
		}
	})
}

func TestHandshake(t *testing.T) {
	s := serve(t, nil)
	for _, c := range []struct {
		name, sni string
		max       uint16
		want      string // name in the certificate; empty: refused
	}{
		{"pages", "sink.example", 0, "sink.example"},
		{"service host", "mx.sink.example", 0, "mx.sink.example"},
		{"policy", "mta-sts.et2.sink.example", 0, "mta-sts.et2.sink.example"},
		{"in capitals", "MTA-STS.et.Sink.Example", 0, "mta-sts.et.sink.example"},
		{"no SNI", "", 0, "sink.example"},
		{"slot that is not there", "mta-sts.et4.sink.example", 0, ""},
		{"mail host", "mx04.et.sink.example", 0, ""},
		{"foreign name", "example.org", 0, ""},
		{"TLS 1.2", "sink.example", tls.VersionTLS12, "sink.example"},
		{"TLS 1.1", "sink.example", tls.VersionTLS11, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The name is verified below, as some cases send none.
			config := &tls.Config{ServerName: c.sni, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: c.max}
			d := tls.Dialer{Config: config}
			conn, err := d.DialContext(t.Context(), "tcp", s.https)
			if c.want == "" {
				if err == nil {
					closed(t, conn)
					t.Error("the handshake was completed")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer closed(t, conn)
			if err := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].VerifyHostname(c.want); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPolicyHost(t *testing.T) {
	const path = "/.well-known/mta-sts.txt"
	for _, c := range []struct {
		name, method, url string
		status            int
		recorded          bool
	}{
		{"policy", "GET", "https://mta-sts.et.sink.example" + path, 200, true},
		{"with port", "GET", "https://mta-sts.et.sink.example:443" + path, 200, true},
		{"head", "HEAD", "https://mta-sts.et.sink.example" + path, 200, true},
		{"post", "POST", "https://mta-sts.et.sink.example" + path, 405, true},
		{"front page", "GET", "https://mta-sts.et.sink.example/", 404, false},
		{"other file", "GET", "https://mta-sts.et.sink.example/.well-known/security.txt", 404, false},
		{"slash behind", "GET", "https://mta-sts.et.sink.example" + path + "/", 404, false},
		{"double slash", "GET", "https://mta-sts.et.sink.example/" + path, 404, false},
		{"result page", "GET", "https://mta-sts.et.sink.example/t/" + capability, 404, false},
		{"health", "GET", "https://mta-sts.et.sink.example/healthz", 404, false},
		{"plain HTTP", "GET", "http://mta-sts.et.sink.example" + path, 404, false},
		{"no such slot", "GET", "https://mta-sts.et4.sink.example" + path, 404, false},
		{"of ut", "GET", "https://mta-sts.ut.sink.example" + path, 404, false},
		{"on the pages host", "GET", "https://sink.example" + path, 404, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, nil)
			w := f.do(c.method, c.url)
			if w.Code != c.status || w.Header().Get("Location") != "" {
				t.Errorf("status %d, location %q; want %d and none", w.Code, w.Header().Get("Location"), c.status)
			}
			if got := len(f.fetches) == 1; got != c.recorded {
				t.Fatalf("recorded: %v, want %v", got, c.recorded)
			}
			if c.recorded {
				if got := <-f.fetches; got.Status != c.status || got.Client != "192.0.2.1" {
					t.Errorf("recorded %+v", got)
				}
			}
		})
	}
}

func TestUserAgentIsBounded(t *testing.T) {
	f := newFixture(t, nil)
	f.do("GET", "https://mta-sts.et.sink.example/.well-known/mta-sts.txt", "User-Agent", "a\x1b[31m\u202e\xff"+strings.Repeat("é", 500))
	got := (<-f.fetches).UserAgent
	if len(got) > 200 || !strings.HasPrefix(got, "a?[31m??é") {
		t.Errorf("%d octets: %q", len(got), got)
	}
}

// A client that knows RSA only gets the certificate it can use.
func TestCertificateOfTheClientsKind(t *testing.T) {
	s := serve(t, nil)
	for suite, want := range map[uint16]x509.PublicKeyAlgorithm{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: x509.ECDSA,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:   x509.RSA,
	} {
		d := tls.Dialer{Config: &tls.Config{ServerName: zone, RootCAs: s.ca.pool(), MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}}}
		conn, err := d.DialContext(t.Context(), "tcp", s.https)
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].PublicKeyAlgorithm; got != want {
			t.Errorf("suite %s: %s, want %s", tls.CipherSuiteName(suite), got, want)
		}
		closed(t, conn)
	}
}

// A client that does not read the answer did not fetch the policy.
func TestPolicyNotDelivered(t *testing.T) {
	f := newFixture(t, nil)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://mta-sts.et.sink.example/.well-known/mta-sts.txt", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.TLS = &tls.ConnectionState{}
	f.server.Handler().ServeHTTP(brokenWriter{http.Header{}}, r)
	if got := <-f.fetches; got.Status != 0 {
		t.Errorf("recorded status %d, want 0", got.Status)
	}
}

type brokenWriter struct{ header http.Header }

func (w brokenWriter) Header() http.Header       { return w.header }
func (w brokenWriter) WriteHeader(int)           {}
func (w brokenWriter) Write([]byte) (int, error) { return 0, net.ErrClosed }
