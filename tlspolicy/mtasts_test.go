package tlspolicy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/tlspolicy"
)

func TestFindRecord(t *testing.T) {
	for _, c := range []struct {
		name string
		txts []string
		id   string
		want string // error
	}{
		{"RFC 8461 §3.1 example", []string{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z", ""},
		{"no last delimiter", []string{"v=STSv1; id=1"}, "1", ""},
		{"no blanks", []string{"v=STSv1;id=1"}, "1", ""},
		{"blanks", []string{"v=STSv1 \t;\t id=1 ; "}, "1", ""},
		{"extension", []string{"v=STSv1; a_b.c-d=x:y; id=1"}, "1", ""},
		{"first id counts", []string{"v=STSv1; id=1; id=2"}, "1", ""},
		{"others discarded", []string{"v=spf1 -all", "v=STSv1; id=1", "v=STSv2; id=3", ""}, "1", ""},
		{"none", nil, "", "no MTA-STS record"},
		{"two", []string{"v=STSv1; id=1", "v=STSv1; id=1"}, "", "no MTA-STS record"},
		{"version not first", []string{"id=1; v=STSv1"}, "", "no MTA-STS record"},
		{"version in lower case", []string{"v=stsv1; id=1"}, "", "no MTA-STS record"},
		{"version alone", []string{"v=STSv1"}, "", "no MTA-STS record"},
		{"no id", []string{"v=STSv1; x=1"}, "", "no id"},
		{"no field", []string{"v=STSv1;"}, "", "no id"},
		{"empty id", []string{"v=STSv1; id="}, "", "not name=value"},
		{"id too long", []string{"v=STSv1; id=" + strings.Repeat("1", 33)}, "", "1 to 32"},
		{"id with a hyphen", []string{"v=STSv1; id=2026-11"}, "", "1 to 32"},
		{"blank in a value", []string{"v=STSv1; id=1 2"}, "", "not name=value"},
		{"bad name", []string{"v=STSv1; -x=1; id=1"}, "", "not name=value"},
		{"empty field", []string{"v=STSv1; ; id=1"}, "", "not name=value"},
		{"endless", []string{"v=STSv1; id=1; x=" + strings.Repeat("1", 5000)}, "", "more than"},
	} {
		r, err := tlspolicy.FindRecord(c.txts)
		if r.ID != c.id || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v, want id %q, error %q", c.name, r, err, c.id, c.want)
		}
	}
	if _, err := tlspolicy.FindRecord(nil); !errors.Is(err, tlspolicy.ErrNoRecord) {
		t.Errorf("error %v is not ErrNoRecord", err)
	}
}

func TestParsePolicy(t *testing.T) {
	example := tlspolicy.Policy{Mode: tlspolicy.ModeEnforce, MX: []string{"mail.example.com", "*.example.net", "backupmx.example.com"}, MaxAge: 604800 * time.Second}
	text := "version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmx: backupmx.example.com\nmax_age: 604800\n"
	one := tlspolicy.Policy{Mode: tlspolicy.ModeTesting, MX: []string{"mx.example"}, MaxAge: time.Second}
	for _, c := range []struct {
		name, text string
		want       tlspolicy.Policy
		err        string
	}{
		{"RFC 8461 §3.2 example", text, example, ""},
		{"CRLF", strings.ReplaceAll(text, "\n", "\r\n"), example, ""},
		{"no last line end", strings.TrimSuffix(text, "\n"), example, ""},
		{"any order, no blanks, trailing blanks", "max_age:1  \nmx:mx.example\t\nmode:testing\nversion:STSv1", one, ""},
		{"unknown field", "version: STSv1\nmode: testing\nfuture: hello: world\nmx: MX.Example.\nmax_age: 1", one, ""},
		{"the first of a repeated field", "version: STSv1\nversion: x\nmode: testing\nmode: enforce\nmx: mx.example\nmax_age: 1\nmax_age: x", one, ""},
		{"none needs no mx", "version: STSv1\nmode: none\nmax_age: 1", tlspolicy.Policy{Mode: tlspolicy.ModeNone, MaxAge: time.Second}, ""},
		{"max_age above the limit", "version: STSv1\nmode: none\nmax_age: 9999999999", tlspolicy.Policy{Mode: tlspolicy.ModeNone, MaxAge: tlspolicy.MaxAge}, ""},
		{"empty", "", tlspolicy.Policy{}, "version is missing"},
		{"no version", "mode: none\nmax_age: 1", tlspolicy.Policy{}, "version is missing"},
		{"other version", "version: STSv2\nmode: none\nmax_age: 1", tlspolicy.Policy{}, "want STSv1"},
		{"no mode", "version: STSv1\nmax_age: 1", tlspolicy.Policy{}, "mode is missing"},
		{"other mode", "version: STSv1\nmode: report\nmax_age: 1", tlspolicy.Policy{}, `mode "report"`},
		{"no max_age", "version: STSv1\nmode: none\n", tlspolicy.Policy{}, "max_age is missing"},
		{"empty max_age", "version: STSv1\nmode: none\nmax_age:", tlspolicy.Policy{}, "max_age"},
		{"negative max_age", "version: STSv1\nmode: none\nmax_age: -1", tlspolicy.Policy{}, "max_age"},
		{"long max_age", "version: STSv1\nmode: none\nmax_age: 00000000001", tlspolicy.Policy{}, "10 digits"},
		{"no mx", "version: STSv1\nmode: enforce\nmax_age: 1", tlspolicy.Policy{}, "at least one mx"},
		{"wildcard inside", "version: STSv1\nmode: enforce\nmx: mx.*.example\nmax_age: 1", tlspolicy.Policy{}, "line 3"},
		{"bare wildcard", "version: STSv1\nmode: enforce\nmx: *\nmax_age: 1", tlspolicy.Policy{}, "line 3"},
		{"address", "version: STSv1\nmode: enforce\nmx: [192.0.2.1]\nmax_age: 1", tlspolicy.Policy{}, "line 3"},
		{"no colon", "version: STSv1\n<html>", tlspolicy.Policy{}, "line 2"},
		{"too long", "version: STSv1\nmode: none\nmax_age: 1\nx: " + strings.Repeat("x", 64<<10), tlspolicy.Policy{}, "more than"},
	} {
		got, err := tlspolicy.ParsePolicy([]byte(c.text))
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.err)
		}
		if d := cmp.Diff(c.want, got); err == nil && d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

func TestPolicyMatches(t *testing.T) {
	p := tlspolicy.Policy{MX: []string{"mail.example.com", "*.Example.net"}}
	for host, want := range map[string]bool{
		"mail.example.com": true, "MAIL.example.com.": true, "a.example.net": true, "A.EXAMPLE.NET": true,
		"example.com": false, "x.mail.example.com": false, "example.net": false, "a.b.example.net": false,
		".example.net": false, "*.example.net": true, "": false, "net": false, "xexample.net": false,
	} {
		if got := p.Matches(host); got != want {
			t.Errorf("Matches(%q) = %v", host, got)
		}
	}
}

func TestPolicyString(t *testing.T) {
	p := tlspolicy.Policy{Mode: tlspolicy.ModeEnforce, MX: []string{"mx04.et.sink.example", "mx05.et.sink.example"}, MaxAge: 24 * time.Hour}
	want := "version: STSv1\r\nmode: enforce\r\nmx: mx04.et.sink.example\r\nmx: mx05.et.sink.example\r\nmax_age: 86400\r\n"
	if got := p.String(); got != want {
		t.Errorf("got %q", got)
	}
}

const policyText = "version: STSv1\r\nmode: enforce\r\nmx: mx.example\r\nmax_age: 86400\r\n"

// policyHost serves h as https://mta-sts.<domain> with a certificate for the
// given name, and returns a client that trusts its CA.
func policyHost(t *testing.T, certName string, h http.HandlerFunc) *http.Client {
	t.Helper()
	ca := issue(t, nil, now.Add(24*time.Hour))
	leaf := issue(t, ca, now.Add(24*time.Hour), certName)
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.cert.Raw}, PrivateKey: leaf.key}}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Time: func() time.Time { return now }},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestFetch(t *testing.T) {
	serve := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Host != "mta-sts.example" || r.URL.Path != "/.well-known/mta-sts.txt" {
				status = http.StatusTeapot
			}
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for _, c := range []struct {
		name, cert string
		handler    http.HandlerFunc
		want       string
	}{
		{"as it should be", "mta-sts.example", serve(200, "text/plain", policyText), ""},
		{"with charset", "mta-sts.example", serve(200, "Text/Plain; charset=utf-8", policyText), ""},
		{"certificate of another name", "www.example", serve(200, "text/plain", policyText), "www.example"},
		{"redirect", "mta-sts.example", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/moved" {
				http.Redirect(w, r, "/moved", http.StatusMovedPermanently)
				return
			}
			serve(200, "text/plain", policyText)(w, r)
		}, "status 301"},
		{"not found", "mta-sts.example", serve(404, "text/plain", policyText), "status 404"},
		{"HTML", "mta-sts.example", serve(200, "text/html", policyText), "media type"},
		{"no media type", "mta-sts.example", serve(200, "", policyText), "media type"},
		{"endless", "mta-sts.example", serve(200, "text/plain", policyText+strings.Repeat("x: y\r\n", 20000)), "more than"},
		{"not a policy", "mta-sts.example", serve(200, "text/plain", "hello"), "line 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := tlspolicy.Fetch(t.Context(), policyHost(t, c.cert, c.handler), "Example.")
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			if err == nil && p.String() != policyText {
				t.Errorf("got %q", p)
			}
		})
	}
}

func TestFetchDoesNotTrustAnUnverifiedCertificate(t *testing.T) {
	client := policyHost(t, "mta-sts.example", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(policyText))
	})
	client.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true
	if _, err := tlspolicy.Fetch(t.Context(), client, "example"); err == nil || !strings.Contains(err.Error(), "not verified") {
		t.Errorf("error %v", err)
	}
	for _, domain := range []string{"", "*.example", "exa mple", "example/..", "user@example", "example:80"} {
		if _, err := tlspolicy.Fetch(t.Context(), client, domain); err == nil || !strings.Contains(err.Error(), "not a domain name") {
			t.Errorf("%q: error %v", domain, err)
		}
	}
}

// The life of a cached policy (RFC 8461 §3.3, §5.1).
func TestCache(t *testing.T) {
	at, fetches, failing := now, 0, false
	text, txts := policyText, []string{"v=STSv1; id=1"}
	var dnsErr error
	client := policyHost(t, "mta-sts.example", func(w http.ResponseWriter, _ *http.Request) {
		fetches++
		if failing {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(text))
	})
	c := tlspolicy.NewCache(tlspolicy.CacheOptions{
		Records: func(context.Context, string) ([]string, error) { return txts, dnsErr },
		Client:  client, Now: func() time.Time { return at },
	})
	check := func(what string, found bool, mode tlspolicy.Mode, total int) {
		t.Helper()
		p, ok, err := c.Refresh(t.Context(), "Example")
		if ok != found || p.Mode != mode || fetches != total {
			t.Errorf("%s: policy %v %q, %d fetches, error %v; want %v %q, %d", what, ok, p.Mode, fetches, err, found, mode, total)
		}
		if cached, ok := c.Cached("example."); ok != found || cached.Mode != mode {
			t.Errorf("%s: cached %v %q", what, ok, cached.Mode)
		}
	}
	failing = true
	check("first fetch fails", false, "", 1)
	at = at.Add(time.Minute)
	failing = false
	check("not again at once", false, "", 1)
	at = at.Add(5 * time.Minute)
	check("fetched", true, tlspolicy.ModeEnforce, 2)
	at = at.Add(time.Hour)
	check("same id", true, tlspolicy.ModeEnforce, 2)
	dnsErr = errors.New("SERVFAIL")
	check("DNS fails", true, tlspolicy.ModeEnforce, 2)
	dnsErr, txts = nil, nil
	check("record withdrawn", true, tlspolicy.ModeEnforce, 2)
	txts, failing = []string{"v=STSv1; id=2"}, true
	check("new id, fetch fails", true, tlspolicy.ModeEnforce, 3)
	failing, text = false, strings.Replace(policyText, "enforce", "testing", 1)
	at = at.Add(6 * time.Minute)
	check("new id, fetched", true, tlspolicy.ModeTesting, 4)
	at = at.Add(13 * time.Hour)
	check("renewed at half-time", true, tlspolicy.ModeTesting, 5)
	failing = true
	at = at.Add(24 * time.Hour)
	check("expired, fetch fails", false, "", 6)
}

func TestCacheIsBounded(t *testing.T) {
	at := now
	client := &http.Client{Transport: failing{}}
	c := tlspolicy.NewCache(tlspolicy.CacheOptions{
		Records: func(context.Context, string) ([]string, error) { return []string{"v=STSv1; id=1"}, nil },
		Client:  client, Now: func() time.Time { return at }, Max: 2,
	})
	for _, d := range []string{"a.example", "b.example", "c.example", "d.example"} {
		at = at.Add(time.Second)
		if _, ok, err := c.Refresh(t.Context(), d); ok || err == nil {
			t.Errorf("%s: %v, %v", d, ok, err)
		}
	}
	// The oldest failure is forgotten and asked again, the newest is not.
	if _, _, err := c.Refresh(t.Context(), "a.example"); err == nil {
		t.Error("a.example still remembered")
	}
	if _, _, err := c.Refresh(t.Context(), "d.example"); err != nil {
		t.Errorf("d.example forgotten: %v", err)
	}
}

type failing struct{}

func (failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }

func FuzzParseRecord(f *testing.F) {
	f.Add("v=STSv1; id=20160831085700Z;")
	f.Add("v=STSv1; a=b; id=1 ; ")
	f.Fuzz(func(t *testing.T, txt string) {
		r, err := tlspolicy.ParseRecord(txt)
		if err != nil {
			return
		}
		again, err := tlspolicy.ParseRecord("v=STSv1; id=" + r.ID + ";")
		if err != nil || again != r {
			t.Errorf("id %q does not survive: %v", r.ID, err)
		}
	})
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(policyText))
	f.Add([]byte("version:STSv1\nmode:none\nmax_age:1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := tlspolicy.ParsePolicy(text)
		if err != nil {
			return
		}
		again, err := tlspolicy.ParsePolicy([]byte(p.String()))
		if err != nil {
			t.Fatalf("own output: %v", err)
		}
		if d := cmp.Diff(p, again); d != "" {
			t.Errorf("changed:\n%s", d)
		}
		p.Matches("mx.example")
	})
}
