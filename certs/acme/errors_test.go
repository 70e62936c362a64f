package acme_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/certs/acme"
)

// Every error says what is wrong and what to do.
func TestErrorsSayWhatToDo(t *testing.T) {
	invalid := func(kind, detail string) func(*fakeCA) {
		return func(ca *fakeCA) { ca.refusal = &problem{ns + kind, detail, 400, ""} }
	}
	answer := func(endpoint string, f fault) func(*fakeCA) { return func(ca *fakeCA) { ca.always(endpoint, f) } }
	for _, c := range []struct {
		name   string
		damage func(*fakeCA)
		want   []string
	}{
		{"not a directory", answer("directory", fault{status: 404, body: "<h1>nothing here</h1>"}), []string{"404", "no ACME directory", acme.LetsEncrypt}},
		{"long page", answer("directory", fault{status: 404, body: strings.Repeat("nothing here\n", 5000)}), []string{"nothing here", "no ACME directory"}},
		{"long detail", invalid("dns", strings.Repeat("x", 5000)), []string{"xxx", "tlsink doctor"}},
		{"HTML", answer("directory", fault{status: 200, body: "<h1>welcome</h1>"}), []string{"no ACME directory"}},
		{"JSON of something else", answer("directory", fault{status: 200, body: `{"a":1}`}.with("Content-Type", "application/json")), []string{"no ACME directory"}},
		{"moved", answer("directory", fault{status: 301}.with("Location", "https://other.example/dir")), []string{`redirects to "https://other.example/dir"`, "certificates.acme"}},
		{"no name", answer("directory", fault{err: &net.DNSError{Err: "no such host", Name: "ca.example", IsNotFound: true}}), []string{"no such host", "/etc/resolv.conf"}},
		{"firewall", answer("directory", fault{err: errors.New("connect: no route to host")}), []string{"no route to host", "firewall"}},
		{"broken CA", answer("order", refuse(500, "serverInternal", "oops")), []string{"oops", "the CA's fault"}},
		{"new terms", answer("order", fault{
			problem: &problem{ns + "userActionRequired", "terms changed", 403, "https://ca.example/agree"},
		}), []string{"https://ca.example/agree", "agree"}},
		{"new terms, in a header", answer("order", refuse(403, "userActionRequired", "terms changed").
			with("Link", `<https://ca.example/tos>;rel="terms-of-service"`)), []string{"https://ca.example/tos"}},
		{"contact", answer("account", refuse(400, "unsupportedContact", "no")), []string{"certificates.acme.email"}},
		{"rejected name", answer("order", refuse(400, "rejectedIdentifier", "sink.example is reserved")), []string{"sink.example is reserved", "public domain"}},
		{"CAA", invalid("caa", "CAA record for sink.example prevents issuance"), []string{mx05, "prevents issuance", `CAA 0 issue "fake.test"`}},
		{"no delegation", invalid("dns", "DNS problem: NXDOMAIN looking up TXT for _acme-challenge.mx05.et.sink.example"), []string{mx05, "NXDOMAIN", "delegated", "tlsink doctor"}},
		{"servfail", invalid("dns", "DNS problem: SERVFAIL looking up TXT"), []string{"SERVFAIL", "DS record"}},
		{"wrong record", invalid("unauthorized", "No TXT record found"), []string{mx05, "No TXT record found", "name servers"}},
		{"firewall before DNS", invalid("connection", "query timed out"), []string{"timed out", "name servers"}},
		{"unknown type", invalid("somethingNew", "nobody knows"), []string{"somethingNew", "nobody knows"}},
		{"no type at all", func(ca *fakeCA) { ca.refusal = &problem{} }, []string{mx05, "no reason given"}},
		{"control characters", invalid("dns", "a\x1b[31mb\nc"), []string{"a?[31mb c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(o *acme.Options) { o.Email = "x@sink.example" })
				c.damage(b.ca)
				_, err := b.issue(ecdsaKey(t), mx05)
				if err == nil {
					t.Fatal("issued")
				}
				for _, want := range append(c.want, b.ca.host) {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error %q, want %q in it", err, want)
					}
				}
				if strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 1200 {
					t.Errorf("error %q is not fit for a log", err)
				}
			})
		})
	}
}

// The error names every name that failed, and the good ones not.
func TestSeveralNamesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.ca.lookup = func(fqdn string) []string {
			if strings.Contains(fqdn, "mx") {
				return nil
			}
			return b.dns.lookup(fqdn)
		}
		_, err := b.issue(ecdsaKey(t), mx05, mx06, "ut.sink.example")
		if err == nil || !strings.Contains(err.Error(), mx05+":") || !strings.Contains(err.Error(), mx06+":") || strings.Contains(err.Error(), "ut.sink.example:") {
			t.Errorf("error %v", err)
		}
	})
}

func TestOrderGoesBad(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"invalid with reason", `{"status":"invalid","error":{"type":"urn:ietf:params:acme:error:caa","detail":"mx05 forbids"}}`, "mx05 forbids"},
		{"invalid without", `{"status":"invalid"}`, `"invalid"`},
		{"unknown status", `{"status":"confused"}`, "confused"},
		{"ready again", `{"status":"ready"}`, "ready"},
		{"no certificate", `{"status":"valid","certificate":""}`, "no certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.ca.always("finalize", fault{status: 200, body: c.body}.with("Content-Type", "application/json"))
				if _, err := b.issue(ecdsaKey(t), mx05); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
			})
		})
	}
}

// What a hostile CA can do is bounded.
func TestHostileCA(t *testing.T) {
	json := func(body string) fault {
		return fault{status: 200, body: body}.with("Content-Type", "application/json")
	}
	for _, c := range []struct {
		name   string
		damage func(*fakeCA)
		want   string
	}{
		{"huge directory", func(ca *fakeCA) { ca.always("directory", json(strings.Repeat(" ", 1<<20))) }, "octets"},
		{"huge chain", func(ca *fakeCA) { ca.always("certificate", fault{status: 200, body: strings.Repeat("x", 1<<20)}) }, "octets"},
		{"plain HTTP inside", func(ca *fakeCA) {
			ca.always("directory", json(`{"newNonce":"http://x/","newAccount":"http://x/","newOrder":"http://x/"}`))
		}, "not https"},
		{"order of other names", func(ca *fakeCA) {
			f := json(`{"status":"ready","identifiers":[{"type":"dns","value":"www.example.org"}],"finalize":"` + ca.url("/finalize/0") + `"}`)
			f.header["Location"] = ca.url("/order/0")
			ca.always("order", f)
		}, "other names"},
		{"authorization of another name", func(ca *fakeCA) {
			ca.always("authz", json(`{"status":"pending","identifier":{"type":"dns","value":"www.example.org"},"challenges":[]}`))
		}, "was not ordered"},
		{"no dns-01", func(ca *fakeCA) {
			ca.always("authz", json(`{"status":"pending","identifier":{"type":"dns","value":"`+mx05+`"},"challenges":[{"type":"http-01","token":"x"}]}`))
		}, "no dns-01"},
		{"authorization for ever", func(ca *fakeCA) { ca.stuck = true }, "too long"},
		{"in the past", func(ca *fakeCA) {
			ca.stuck = true
			ca.header = map[string]string{"Retry-After": "Sat, 01 Jan 1990 00:00:00 GMT"}
		}, "too long"},
		{"in a thousand years", func(ca *fakeCA) {
			ca.stuck = true
			ca.header = map[string]string{"Retry-After": "31536000000"}
		}, "too long"},
		{"empty chain", func(ca *fakeCA) {
			ca.always("certificate", fault{status: 200}.with("Content-Type", "application/pem-certificate-chain"))
		}, "empty"},
		{"key in the chain", func(ca *fakeCA) {
			ca.always("certificate", fault{status: 200, body: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}.with("Content-Type", "application/pem-certificate-chain"))
		}, "PRIVATE KEY"},
		{"wrong intermediate", func(ca *fakeCA) { ca.above = ca.above[1:] }, "not signed by the next"},
		{"no intermediate", func(ca *fakeCA) { ca.above = nil }, "no intermediate"},
		{"endless chain", func(ca *fakeCA) { ca.above = slices.Repeat(ca.above[1:], 20) }, "not signed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				c.damage(b.ca)
				start := time.Now()
				_, err := b.issue(ecdsaKey(t), mx05)
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				if d := time.Since(start); d > 11*time.Minute {
					t.Errorf("took %v", d)
				}
				if n := b.ca.asked(""); n > 1300 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
}

// TLS failures, with a real server.
func TestServerCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that must fail
	server.StartTLS()
	defer server.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, url, want string
		roots           *x509.CertPool
	}{
		{"unknown authority", server.URL + "/dir", "certificates.acme.server_roots", nil},
		{"another host", fmt.Sprintf("https://localhost:%s/dir", port), "check the host in the directory URL", pool},
		{"no TLS", strings.Replace(plain.URL, "http:", "https:", 1) + "/dir", "check host and port", pool},
		{"not a CA", server.URL + "/dir", "no ACME directory", pool},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, err := acme.New(acme.Options{
				Directory: c.url, TermsAgreed: true, Zone: zone, Roots: c.roots,
				Provider: &provider{txt: make(map[string][]string)}, State: &memory{data: make(map[string][]byte)},
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = i.Issue(t.Context(), []string{mx05}, ecdsaKey(t))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// A clock that is years off shows first at the CA's own certificate.
func TestClockYearsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.ca.always("directory", fault{err: x509.CertificateInvalidError{Cert: b.ca.sub, Reason: x509.Expired, Detail: "current time is before"}})
		_, err := b.issue(ecdsaKey(t), mx05)
		if err == nil || !strings.Contains(err.Error(), "clock of this host says 2000-01-01T") {
			t.Errorf("error %v", err)
		}
	})
}
