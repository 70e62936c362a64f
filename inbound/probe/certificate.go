package probe

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"strings"
	"time"

	"github.com/tlsink/tlsink/inbound/check"
)

// reference is what a certificate is judged by.
type reference struct {
	host   string
	others []string // that the host is known by, too
	roots  *x509.CertPool
	now    time.Time
}

// judge says what can be said of a chain that is not empty.
func judge(chain []*x509.Certificate, ref reference) *Certificate {
	leaf := chain[0]
	out := &Certificate{
		Subject:   nameOf(leaf.Subject),
		Issuer:    nameOf(leaf.Issuer),
		NotBefore: leaf.NotBefore,
		NotAfter:  leaf.NotAfter,
		Key:       keyName(leaf),
		Signature: clean(leaf.SignatureAlgorithm.String()),
		Name:      nameFits(leaf, ref),
	}
	for _, name := range leaf.DNSNames[:min(len(leaf.DNSNames), maxNames)] {
		out.Names = append(out.Names, clean(name))
	}
	if out.Subject == "" && len(out.Names) > 0 {
		out.Subject = out.Names[0]
	}
	trusted, err := findChain(chain, ref)
	if err != nil {
		path := sentPath(chain)
		out.Trusted = check.Fail(untrusted(path, ref, err))
		out.Dates = datesFit(path, ref.now)
		return out
	}
	out.Trusted = check.Pass()
	for _, cert := range trusted[:max(1, len(trusted)-1)] {
		if weak := weakKey(cert); weak != "" {
			out.Trusted = check.Fail("its key, or one above it, is too weak: " + weak)
		}
	}
	out.Root = nameOf(trusted[len(trusted)-1].Subject)
	out.Dates = datesFit(trusted, ref.now)
	return out
}

// findChain finds a way to a trusted root: one that is valid now if there is
// one, else any.
func findChain(chain []*x509.Certificate, ref reference) ([]*x509.Certificate, error) {
	found, err := verify(chain, ref.roots, ref.now, x509.ExtKeyUsageServerAuth)
	if err == nil {
		return found[0], nil
	}
	leaf := chain[0]
	ageless, originals := withoutDates(chain)
	for _, moment := range []time.Time{ref.now, leaf.NotBefore, leaf.NotAfter} { // roots have dates, too
		found, e := verify(ageless, ref.roots, moment, x509.ExtKeyUsageServerAuth)
		if e != nil {
			err = e
			continue
		}
		for i, cert := range found[0] {
			if original, ok := originals[string(cert.Raw)]; ok {
				found[0][i] = original
			}
		}
		return found[0], nil
	}
	return nil, err
}

func verify(
	chain []*x509.Certificate, roots *x509.CertPool, now time.Time, usage x509.ExtKeyUsage,
) ([][]*x509.Certificate, error) {
	above := x509.NewCertPool()
	for _, cert := range chain[1:] {
		above.AddCert(cert)
	}
	return chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: above, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
}

// withoutDates returns copies that are always valid, and the originals by their
// encoding.
func withoutDates(chain []*x509.Certificate) (copies []*x509.Certificate, originals map[string]*x509.Certificate) {
	originals = map[string]*x509.Certificate{}
	for _, cert := range chain {
		ageless := *cert
		ageless.NotBefore, ageless.NotAfter = time.Unix(0, 0), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
		copies = append(copies, &ageless)
		originals[string(cert.Raw)] = cert
	}
	return copies, originals
}

// sentPath follows the issuers among what the server sent, as far as it goes.
func sentPath(chain []*x509.Certificate) []*x509.Certificate {
	path := chain[:1:1]
	for !selfIssued(path[len(path)-1]) && len(path) < len(chain) {
		next := issuerOf(path[len(path)-1], chain)
		if next == nil {
			break
		}
		path = append(path, next)
	}
	return path
}

func issuerOf(cert *x509.Certificate, among []*x509.Certificate) *x509.Certificate {
	for _, c := range among[1:] {
		if string(c.RawSubject) == string(cert.RawIssuer) {
			return c
		}
	}
	return nil
}

func selfIssued(cert *x509.Certificate) bool {
	return string(cert.RawIssuer) == string(cert.RawSubject)
}

// untrusted says why there is no way to a trusted root.
func untrusted(path []*x509.Certificate, ref reference, err error) string {
	leaf, top := path[0], path[len(path)-1]
	for _, cert := range path {
		if weak := weakSignature(cert); weak != "" && !selfIssued(cert) {
			return "it is signed with " + weak + ", which is not secure any more"
		}
	}
	switch {
	case selfIssued(leaf):
		return "it is self-signed"
	case madeForOther(path, ref):
		return "it is not made for servers (no server authentication in its extended key usage)"
	}
	if cause, ok := err.(x509.CertificateInvalidError); ok { //nolint:errorlint // Verify returns it itself
		return clean(strings.TrimPrefix(cause.Error(), "x509: "))
	}
	for i, cert := range path[:len(path)-1] {
		if cert.CheckSignatureFrom(path[i+1]) != nil {
			return fmt.Sprintf("the chain is broken: %s did not sign it, or is no CA", quoted(path[i+1].Subject))
		}
	}
	issuer := quoted(top.Issuer)
	switch {
	case selfIssued(top):
		return "it is signed by an unknown CA: " + issuer
	case len(top.IssuingCertificateURL) > 0:
		// Only certificates of CAs with intermediates say where to get them.
		return "the chain is incomplete: the server leaves out the certificate of " + issuer
	}
	return "its issuer " + issuer + " is an unknown CA, or the server leaves out its certificate"
}

// madeForOther reports whether only the usage stands in the way.
func madeForOther(path []*x509.Certificate, ref reference) bool {
	ageless, _ := withoutDates(path)
	for _, moment := range []time.Time{ref.now, path[0].NotBefore, path[0].NotAfter} {
		if _, err := verify(ageless, ref.roots, moment, x509.ExtKeyUsageAny); err == nil {
			return true
		}
	}
	return false
}

// datesFit looks at all of path, the server's own certificate first.
func datesFit(path []*x509.Certificate, now time.Time) check.Result {
	for i, cert := range path {
		which := "it"
		if i > 0 {
			which = "the certificate of " + quoted(cert.Subject) + " above it"
		}
		switch {
		case now.Before(cert.NotBefore):
			return check.Fail(which + " is not valid before " + cert.NotBefore.UTC().Format(time.DateOnly))
		case now.After(cert.NotAfter):
			return check.Fail(which + " has expired on " + cert.NotAfter.UTC().Format(time.DateOnly))
		}
	}
	return check.Pass()
}

// nameFits compares with the host alone: RFC 8461 §4.1 asks for the MX host.
func nameFits(leaf *x509.Certificate, ref reference) check.Result {
	if ref.host == "" {
		return check.Skip("there is no host name to compare with")
	}
	if leaf.VerifyHostname(ref.host) == nil {
		return check.Pass()
	}
	for _, other := range ref.others {
		if other = strings.TrimSuffix(other, "."); other != "" && leaf.VerifyHostname(other) == nil {
			return check.Fail(fmt.Sprintf("it is for %s, not for the host %s", clean(other), ref.host))
		}
	}
	// RFC 6125 §6.4.4, RFC 9525 §2: the CN is no name of a server any more.
	if strings.EqualFold(leaf.Subject.CommonName, ref.host) {
		return check.Fail("it has the name " + ref.host + " only as CN, which senders ignore")
	}
	names := leaf.DNSNames
	if len(names) == 0 {
		return check.Fail("it has no DNS name")
	}
	const shown = 3
	list := strings.Join(cleaned(names[:min(len(names), shown)]), ", ")
	if more := len(names) - shown; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return check.Fail("it is for " + list + ", not for " + ref.host)
}

func cleaned(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = clean(n)
	}
	return out
}

// nameOf is a name for people: CN, or else O.
func nameOf(n pkix.Name) string {
	switch {
	case n.CommonName != "":
		return clean(n.CommonName)
	case len(n.Organization) > 0:
		return clean(n.Organization[0])
	}
	return clean(n.String())
}

func quoted(n pkix.Name) string {
	if name := nameOf(n); name != "" {
		return "“" + name + "”"
	}
	return "a CA without a name"
}

// keyName describes the public key.
func keyName(cert *x509.Certificate) string {
	switch k := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return clean(cert.PublicKeyAlgorithm.String())
}

// weakKey names a key that CAs must not certify any more (CA/Browser Forum
// Baseline Requirements §6.1.5).
func weakKey(cert *x509.Certificate) string {
	if k, ok := cert.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
		return keyName(cert)
	}
	return ""
}

func weakSignature(cert *x509.Certificate) string {
	switch cert.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return cert.SignatureAlgorithm.String()
	}
	return ""
}
