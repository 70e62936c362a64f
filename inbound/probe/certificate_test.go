package probe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/inbound/check"
)

func expired(c *x509.Certificate) { c.NotAfter = now().AddDate(0, 0, -3) }
func notYet(c *x509.Certificate)  { c.NotBefore = now().AddDate(0, 0, 3) }
func withURL(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://ca.example/i.der"} }

func forClient(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }

func named(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = names, "" }
}

func chain(certs ...*x509.Certificate) []*x509.Certificate { return certs }

func TestJudge(t *testing.T) {
	root, sha1Root := newRoot(t), authority{key: rsaKey(t)}
	sha1Root.cert = sha1Root.sign(t, caTemplate("Old Root"), sha1Root.key.Public())
	oldRoot := newRoot(t, func(c *x509.Certificate) { c.NotAfter = now().AddDate(0, 0, -10) })
	stranger, sub := newRoot(t), root.intermediate(t)
	expiredSub := root.intermediate(t, expired)
	constrained := root.intermediate(t, func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"other.example"}, true
	})
	self := authority{key: ecdsaKey(t)}
	noCA := authority{key: ecdsaKey(t)}
	noCA.cert = root.sign(t, template("No CA"), noCA.key.Public())
	roots := root.pool()
	roots.AddCert(oldRoot.cert)
	roots.AddCert(sha1Root.cert)
	weak := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}

	for name, c := range map[string]struct {
		chain []*x509.Certificate
		want  string // trusted, name, dates
		why   string
		root  string
	}{
		"good":           {chain(root.leaf(t)), "yes yes yes", "", "Test Root"},
		"intermediate":   {chain(sub.leaf(t), sub.cert), "yes yes yes", "", "Test Root"},
		"root sent, too": {chain(sub.leaf(t), root.cert, sub.cert), "yes yes yes", "", "Test Root"},
		"no extended key usage": {
			chain(root.leaf(t, func(c *x509.Certificate) { c.ExtKeyUsage = nil })), "yes yes yes", "", "Test Root",
		},
		"wildcard":  {chain(root.leaf(t, named("*.example.org"))), "yes yes yes", "", "Test Root"},
		"any case":  {chain(root.leaf(t, named("MX.Example.ORG"))), "yes yes yes", "", "Test Root"},
		"trash too": {chain(root.leaf(t), self.sign(t, template("x"), self.key.Public()), stranger.cert), "yes yes yes", "", "Test Root"},

		"self-signed":     {chain(self.sign(t, template(host), self.key.Public())), "no yes yes", "it is self-signed", ""},
		"unknown CA":      {chain(stranger.leaf(t), stranger.cert), "no yes yes", "unknown CA: “Test Root”", ""},
		"unknown, alone":  {chain(stranger.intermediate(t).leaf(t)), "no yes yes", "“Test Intermediate” is an unknown CA, or the server leaves out", ""},
		"incomplete":      {chain(sub.leaf(t, withURL)), "no yes yes", "incomplete: the server leaves out the certificate of “Test Intermediate”", ""},
		"wrong key above": {chain(sub.leaf(t), root.intermediate(t).cert), "no yes yes", "the chain is broken", ""},
		"signed by no CA": {chain(noCA.leaf(t), noCA.cert), "no yes yes", "did not sign it, or is no CA", ""},
		"SHA-1": {
			chain(sha1Root.leaf(t, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA })),
			"no yes yes", "signed with SHA1-RSA", "",
		},
		"weak key":         {chain(root.sign(t, template(host), weak)), "no yes yes", "too weak: RSA 1024", "Test Root"},
		"for clients":      {chain(root.leaf(t, forClient)), "no yes yes", "not made for servers", ""},
		"name constraints": {chain(constrained.leaf(t), constrained.cert), "no yes yes", "not authorized", ""},

		"expired": {chain(root.leaf(t, expired)), "yes yes no", "it has expired on 2026-02-26", "Test Root"},
		"not yet": {chain(root.leaf(t, notYet)), "yes yes no", "it is not valid before 2026-03-04", "Test Root"},
		"intermediate expired": {
			chain(expiredSub.leaf(t), expiredSub.cert), "yes yes no", "the certificate of “Test Intermediate” above it has expired", "Test Root",
		},
		"root expired":         {chain(oldRoot.leaf(t)), "yes yes no", "the certificate of “Test Root” above it has expired", "Test Root"},
		"expired, self-signed": {chain(self.sign(t, edited(template(host), []func(*x509.Certificate){expired}), self.key.Public())), "no yes no", "self-signed", ""},
		"expired, for clients": {chain(root.leaf(t, forClient, expired)), "no yes no", "not made for servers", ""},
		"expired, incomplete":  {chain(sub.leaf(t, withURL, expired)), "no yes no", "incomplete", ""},
		"all wrong":            {chain(stranger.leaf(t, expired, named("a.example"))), "no no no", "it is for a.example", ""},

		"wrong name":           {chain(root.leaf(t, named("a.example", "b.example"))), "yes no yes", "it is for a.example, b.example, not for mx.example.org", "Test Root"},
		"many names":           {chain(root.leaf(t, named("a.example", "b.example", "c.example", "d.example", "e.example"))), "yes no yes", "c.example and 2 more, not for", "Test Root"},
		"name of the domain":   {chain(root.leaf(t, named("example.org"))), "yes no yes", "it is for example.org, not for the host mx.example.org", "Test Root"},
		"wildcard of the host": {chain(root.leaf(t, named("*.mx.example.org"))), "yes no yes", "not for", "Test Root"},
		"wildcard too wide":    {chain(root.leaf(t, named("*.org"))), "yes no yes", "not for", "Test Root"},
		"only CN": {
			chain(root.leaf(t, func(c *x509.Certificate) { c.DNSNames = nil })), "yes no yes", "only as CN", "Test Root",
		},
		"no name": {
			chain(root.leaf(t, func(c *x509.Certificate) { c.DNSNames, c.Subject = nil, pkix.Name{} })), "yes no yes", "no DNS name", "Test Root",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := judge(c.chain, reference{host: host, others: []string{"example.org."}, roots: roots, now: now()})
			outcomes := fmt.Sprintf("%s %s %s", got.Trusted.Outcome, got.Name.Outcome, got.Dates.Outcome)
			why := reasons(Result{Certificate: got})
			if outcomes != c.want || !strings.Contains(why, c.why) || got.Root != c.root {
				t.Errorf("%s, want %s; root %q\n%s", outcomes, c.want, got.Root, why)
			}
			if c.why == "" && why != "" {
				t.Errorf("reason %q", why)
			}
		})
	}
}

func TestCertificateFacts(t *testing.T) {
	root := newRoot(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	evil := strings.Repeat("\x1b", 500)
	cert := root.sign(t, edited(template(""), []func(*x509.Certificate){func(c *x509.Certificate) {
		c.Subject = pkix.Name{Organization: []string{"Org" + evil}}
		c.DNSNames = nil
		for i := range 500 {
			c.DNSNames = append(c.DNSNames, fmt.Sprintf("%d.example", i))
		}
	}}), p384.Public())
	got := judge(chain(cert), reference{host: host, roots: root.pool(), now: now()})
	if got.Key != "ECDSA P-384" || got.Signature != "ECDSA-SHA256" || got.Issuer != "Test Root" || len(got.Names) != maxNames {
		t.Errorf("%+v", got)
	}
	if !strings.HasPrefix(got.Subject, "Org???") || len(got.Subject) > maxText+3 {
		t.Errorf("subject %q", got.Subject)
	}
	if !got.NotAfter.Equal(now().AddDate(0, 1, 0)) || !got.NotBefore.Equal(now().AddDate(0, -1, 0)) {
		t.Errorf("%v to %v", got.NotBefore, got.NotAfter)
	}
	if (*Certificate)(nil).Valid().OK() || (*Certificate)(nil).Valid().Failed() {
		t.Error("no certificate is neither good nor bad")
	}
}

// The chain is that which the server sends, over every version of TLS.
func TestChainsOverTLS(t *testing.T) {
	root := newRoot(t)
	sub, key := root.intermediate(t), ecdsaKey(t)
	leaf := sub.sign(t, edited(template(host), []func(*x509.Certificate){withURL}), key.Public())
	for name, c := range map[string]struct {
		sent [][]byte
		max  uint16
		want check.Outcome
	}{
		"complete":         {[][]byte{leaf.Raw, sub.cert.Raw}, tls13, check.Yes},
		"complete, 1.0":    {[][]byte{leaf.Raw, sub.cert.Raw}, tls10, check.Yes},
		"incomplete":       {[][]byte{leaf.Raw}, tls13, check.No},
		"incomplete, 1.2":  {[][]byte{leaf.Raw}, tls12, check.No},
		"one is malformed": {[][]byte{leaf.Raw, []byte("x"), sub.cert.Raw}, tls13, check.Untested},
		"all malformed":    {[][]byte{[]byte("x")}, tls12, check.Untested},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{tls: &tls.Config{
					MinVersion: tls10, MaxVersion: c.max, Time: func() time.Time { return now() },
					Certificates: []tls.Certificate{{Certificate: c.sent, PrivateKey: key}},
				}}
				got := s.probe(t, root.pool())
				if got.Certificate.Valid().Outcome != c.want || !got.StartTLS.OK() {
					t.Errorf("%+v\n%s", got.Certificate, reasons(got))
				}
			})
		})
	}
}
