package tlspolicy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/tlspolicy"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate; without issuer a self-signed CA.
func issue(t testing.TB, issuer *authority, until time.Time, names ...string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: strings.Join(names, "+") + " test"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: until, DNSNames: names,
	}
	if len(names) == 0 {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func tlsa(usage, selector, matching uint8, c *x509.Certificate) *dns.TLSA {
	data := c.Raw
	if selector == 1 {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return &dns.TLSA{Usage: usage, Selector: selector, MatchingType: matching, Certificate: hex.EncodeToString(data)}
}

// special makes a self-signed certificate for mx.example, and one that root
// signed with that name only as CN.
func special(t testing.TB, root *authority, until time.Time) (selfSigned, onlyCN *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) *x509.Certificate {
		template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(2), now.Add(-time.Hour), until
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	own := &x509.Certificate{Subject: pkix.Name{CommonName: "mx.example"}, DNSNames: []string{"mx.example"}, IsCA: true, BasicConstraintsValid: true}
	return sign(own, own, key), sign(&x509.Certificate{Subject: pkix.Name{CommonName: "mx.example"}}, root.cert, root.key)
}

func TestVerifyDANE(t *testing.T) {
	later, past := now.Add(24*time.Hour), now.Add(-time.Hour)
	root := issue(t, nil, later)
	sub := issue(t, root, later)
	leaf := issue(t, sub, later, "mx.example")
	other := issue(t, nil, later, "mx.example")
	expired := issue(t, sub, past, "mx.example")
	wild := issue(t, sub, later, "*.example")
	chain := []*x509.Certificate{leaf.cert, sub.cert, root.cert}
	selfSigned, onlyCN := special(t, root, later)
	for _, c := range []struct {
		name    string
		records []*dns.TLSA
		names   []string
		chain   []*x509.Certificate
		want    string // empty: matches
	}{
		{"3 1 1", []*dns.TLSA{tlsa(3, 1, 1, leaf.cert)}, nil, chain, ""},
		{"3 0 1", []*dns.TLSA{tlsa(3, 0, 1, leaf.cert)}, nil, chain, ""},
		{"3 1 2", []*dns.TLSA{tlsa(3, 1, 2, leaf.cert)}, nil, chain, ""},
		{"3 1 0", []*dns.TLSA{tlsa(3, 1, 0, leaf.cert)}, nil, chain, ""},
		{"3 0 0", []*dns.TLSA{tlsa(3, 0, 0, leaf.cert)}, nil, chain, ""},
		{"3 1 1 with another name", []*dns.TLSA{tlsa(3, 1, 1, leaf.cert)}, []string{"mx.elsewhere"}, chain, ""},
		{"3 1 1, expired", []*dns.TLSA{tlsa(3, 1, 1, expired.cert)}, []string{"mx.example"}, []*x509.Certificate{expired.cert}, ""},
		{"3 1 1 of another key", []*dns.TLSA{tlsa(3, 1, 1, other.cert)}, []string{"mx.example"}, chain, "none of 1"},
		{"3 1 1 of the CA", []*dns.TLSA{tlsa(3, 1, 1, sub.cert)}, []string{"mx.example"}, chain, "none of 1"},
		{"rollover: one of two", []*dns.TLSA{tlsa(3, 1, 1, other.cert), tlsa(3, 1, 1, leaf.cert)}, nil, chain, ""},
		{"2 0 1 root", []*dns.TLSA{tlsa(2, 0, 1, root.cert)}, []string{"mx.example"}, chain, ""},
		{"2 1 1 intermediate", []*dns.TLSA{tlsa(2, 1, 1, sub.cert)}, []string{"mx.example."}, chain, ""},
		{"2 1 1, next-hop domain", []*dns.TLSA{tlsa(2, 1, 1, root.cert)}, []string{"mx.elsewhere", "mx.example"}, chain, ""},
		{"2 1 1, wildcard", []*dns.TLSA{tlsa(2, 1, 1, sub.cert)}, []string{"mx.example"}, []*x509.Certificate{wild.cert, sub.cert}, ""},
		{"2 1 1, wrong name", []*dns.TLSA{tlsa(2, 1, 1, root.cert)}, []string{"mx.elsewhere"}, chain, "mx.elsewhere"},
		{"2 1 1, no name", []*dns.TLSA{tlsa(2, 1, 1, root.cert)}, nil, chain, "no name"},
		{"2 1 1, expired", []*dns.TLSA{tlsa(2, 1, 1, sub.cert)}, []string{"mx.example"}, []*x509.Certificate{expired.cert, sub.cert}, "expired"},
		{"2 1 1, not in the chain", []*dns.TLSA{tlsa(2, 1, 1, root.cert)}, []string{"mx.example"}, chain[:2], "none of 1"},
		{"2 0 0, not in the chain", []*dns.TLSA{tlsa(2, 0, 0, root.cert)}, []string{"mx.example"}, chain[:2], ""},
		{"2 1 1, added but did not sign", []*dns.TLSA{tlsa(2, 1, 1, other.cert)}, []string{"mx.example"}, append(chain[:1:1], other.cert), "unknown authority"},
		{"2 1 1 of a self-signed certificate", []*dns.TLSA{tlsa(2, 1, 1, selfSigned)}, []string{"mx.example"}, []*x509.Certificate{selfSigned}, "needs usage 3"},
		{"2 1 1 of a self-signed certificate, sent twice", []*dns.TLSA{tlsa(2, 1, 1, selfSigned)}, []string{"mx.example"}, []*x509.Certificate{selfSigned, selfSigned}, "needs usage 3"},
		{"2 0 0 of a self-signed certificate", []*dns.TLSA{tlsa(2, 0, 0, selfSigned)}, []string{"mx.example"}, []*x509.Certificate{selfSigned}, "needs usage 3"},
		{"2 1 1 of the leaf, signed by a CA", []*dns.TLSA{tlsa(2, 1, 1, leaf.cert)}, []string{"mx.example"}, chain, "needs usage 3"},
		{"2 1 1, the name only as CN", []*dns.TLSA{tlsa(2, 1, 1, root.cert)}, []string{"mx.example"}, []*x509.Certificate{onlyCN, root.cert}, ""},
		{"2 1 1, another name only as CN", []*dns.TLSA{tlsa(2, 1, 1, root.cert)}, []string{"mx.elsewhere"}, []*x509.Certificate{onlyCN, root.cert}, "mx.elsewhere"},
		{"2 1 1, the name as CN beside others", []*dns.TLSA{tlsa(2, 1, 1, sub.cert)}, []string{"mx.example test"}, chain, "mx.example"},
		{"no certificate", []*dns.TLSA{tlsa(3, 1, 1, leaf.cert)}, nil, nil, "no certificate"},
		{"PKIX usages only", []*dns.TLSA{tlsa(1, 1, 1, leaf.cert), tlsa(0, 1, 1, root.cert)}, []string{"mx.example"}, chain, "no usable"},
		{"the stronger digest counts", []*dns.TLSA{tlsa(3, 1, 1, leaf.cert), tlsa(3, 1, 2, other.cert)}, nil, chain, "none of 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := tlspolicy.VerifyDANE(c.records, c.names, c.chain, now)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestRequire(t *testing.T) {
	cert := issue(t, nil, now.Add(time.Hour)).cert
	with := func(change func(*dns.TLSA)) *dns.TLSA {
		r := tlsa(3, 1, 1, cert)
		change(r)
		return r
	}
	good := tlsa(3, 1, 1, cert)
	for _, c := range []struct {
		name    string
		records []*dns.TLSA
		want    tlspolicy.Requirement
		usable  int
	}{
		{"none", nil, tlspolicy.NoDANE, 0},
		{"3 1 1", []*dns.TLSA{good}, tlspolicy.Authenticate, 1},
		{"2 0 2", []*dns.TLSA{tlsa(2, 0, 2, cert)}, tlspolicy.Authenticate, 1},
		{"PKIX-TA", []*dns.TLSA{tlsa(0, 0, 1, cert)}, tlspolicy.EncryptOnly, 0},
		{"PKIX-EE", []*dns.TLSA{tlsa(1, 1, 1, cert)}, tlspolicy.EncryptOnly, 0},
		{"unknown usage", []*dns.TLSA{with(func(r *dns.TLSA) { r.Usage = 4 })}, tlspolicy.EncryptOnly, 0},
		{"unknown selector", []*dns.TLSA{with(func(r *dns.TLSA) { r.Selector = 2 })}, tlspolicy.EncryptOnly, 0},
		{"unknown matching type", []*dns.TLSA{with(func(r *dns.TLSA) { r.MatchingType = 3 })}, tlspolicy.EncryptOnly, 0},
		{"short digest", []*dns.TLSA{with(func(r *dns.TLSA) { r.Certificate = r.Certificate[:62] })}, tlspolicy.EncryptOnly, 0},
		{"not hex", []*dns.TLSA{with(func(r *dns.TLSA) { r.Certificate = "xyz" })}, tlspolicy.EncryptOnly, 0},
		{"3 0 0, no certificate", []*dns.TLSA{with(func(r *dns.TLSA) { r.Selector, r.MatchingType = 0, 0 })}, tlspolicy.EncryptOnly, 0},
		{"3 1 0, no key", []*dns.TLSA{with(func(r *dns.TLSA) { r.MatchingType = 0 })}, tlspolicy.EncryptOnly, 0},
		{"nil", []*dns.TLSA{nil}, tlspolicy.EncryptOnly, 0},
		{"one of two", []*dns.TLSA{tlsa(1, 1, 1, cert), good}, tlspolicy.Authenticate, 1},
		{"digest agility", []*dns.TLSA{good, tlsa(3, 1, 2, cert), tlsa(3, 0, 1, cert), tlsa(3, 1, 0, cert)}, tlspolicy.Authenticate, 3},
	} {
		got, usable := tlspolicy.Require(c.records)
		if got != c.want || len(usable) != c.usable {
			t.Errorf("%s: %s with %d usable, want %s with %d", c.name, got, len(usable), c.want, c.usable)
		}
	}
}

// Each record that is not used has its own reason.
func TestUnusable(t *testing.T) {
	c := issue(t, nil, now.Add(time.Hour)).cert
	broken := tlsa(3, 1, 0, c)
	broken.Certificate = broken.Certificate[2:]
	short := tlsa(3, 1, 1, c)
	short.Certificate = short.Certificate[2:]
	odd := tlsa(3, 0, 1, c)
	odd.Certificate = "xyz"
	records := []*dns.TLSA{
		tlsa(0, 0, 1, c), tlsa(1, 1, 1, c), tlsa(4, 0, 1, c), tlsa(3, 2, 1, c), tlsa(3, 1, 3, c), broken, short, odd, nil,
		tlsa(2, 1, 1, c), tlsa(3, 1, 1, c), tlsa(3, 1, 2, c), tlsa(3, 0, 0, c),
	}
	want := []string{
		"usage 0 can't be used", "usage 1 can't be used", "usage 4 is unknown", "selector 2", "matching type 3", "malformed", "31 bytes", "malformed", "no record",
		"", "stronger digest", "", "",
	}
	for i, err := range tlspolicy.Unusable(records) {
		if (err == nil) != (want[i] == "") || err != nil && !strings.Contains(err.Error(), want[i]) {
			t.Errorf("record %d: %v, want %q", i, err, want[i])
		}
	}
	for range 64 - len(records) {
		records = append(records, tlsa(3, 0, 0, c))
	}
	records = append(records, tlsa(3, 0, 0, c))
	if all := tlspolicy.Unusable(records); all[63] != nil || all[64] == nil {
		t.Errorf("the 64th: %v, the 65th: %v", all[63], all[64])
	}
}
