package acme_test

import (
	"encoding/pem"
	"testing"
	"time"

	"github.com/tlsink/tlsink/certs/acme"
)

func FuzzChain(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := acme.ParseChain(b); err == nil && (n < 1 || n > 10) {
			t.Errorf("chain of %d", n)
		}
	})
}

func FuzzHeader(f *testing.F) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Add("120", `<https://ca.example/tos>;rel="terms-of-service"`)
	f.Add("Sun, 01 Mar 2026 13:00:00 GMT", `<a>;rel="up", <b>;rel="terms-of-service"`)
	f.Add("-1", "<")
	f.Add("9223372036854775807", ">,;<>")
	f.Fuzz(func(t *testing.T, after, link string) {
		if d := acme.RetryAfter(after, now); d < 0 {
			t.Errorf("%q is %v", after, d)
		}
		if got := acme.TermsLink(link); len(got) > len(link) {
			t.Errorf("%q is %q", link, got)
		}
	})
}

func TestHeader(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for field, want := range map[string]time.Duration{
		"": 0, "soon": 0, "-1": 0, "0": 0, "120": 2 * time.Minute, "9223372036854775807": 8 * 24 * time.Hour,
		"Sun, 01 Mar 2026 13:00:00 GMT": time.Hour, "Sun, 01 Mar 2026 11:00:00 GMT": 0,
	} {
		if got := acme.RetryAfter(field, now); got != want {
			t.Errorf("Retry-After %q: %v, want %v", field, got, want)
		}
	}
	for _, c := range [][2]string{
		{`<https://ca.example/tos>;rel="terms-of-service"`, "https://ca.example/tos"},
		{`<a>;rel="up", <b>; rel="terms-of-service"`, "b"},
		{`<a>;rel="up"`, ""},
		{`terms-of-service`, ""},
	} {
		if got := acme.TermsLink(c[0]); got != c[1] {
			t.Errorf("link %s: %q, want %q", c[0], got, c[1])
		}
	}
}
