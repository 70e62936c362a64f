package tlspolicy

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// TLSA certificate usages, selectors and matching types (RFC 6698 §7).
const (
	usageTA = 2 // DANE-TA: trust anchor assertion
	usageEE = 3 // DANE-EE: the server's own certificate or key

	selectorCert = 0
	selectorSPKI = 1

	matchFull   = 0
	matchSHA256 = 1
	matchSHA512 = 2
)

// maxTLSA bounds the records of a host that are looked at.
const maxTLSA = 64

// Requirement is what the TLSA records of a host demand of a sender.
type Requirement string

// The values of Requirement.
const (
	NoDANE       Requirement = "none"         // no records: DANE does not apply
	EncryptOnly  Requirement = "encrypt"      // records, none usable: TLS is mandatory, not authenticated
	Authenticate Requirement = "authenticate" // usable records: a certificate must match one of them
)

// Require says what a secure TLSA RRset demands, and returns the records that
// are usable for SMTP.
func Require(records []*dns.TLSA) (Requirement, []*dns.TLSA) {
	if len(records) == 0 {
		return NoDANE, nil
	}
	usable := Usable(records)
	if len(usable) == 0 {
		// RFC 7672 §2.2: at least one TLSA record, all unusable: mandatory TLS
		// without authentication.
		return EncryptOnly, nil
	}
	return Authenticate, usable
}

// Usable returns the records that an SMTP client can use: usage DANE-TA or
// DANE-EE, known selector and matching type, well-formed data, and no stronger
// digest beside it.
func Usable(records []*dns.TLSA) []*dns.TLSA {
	var out []*dns.TLSA
	for i, err := range Unusable(records) {
		if err == nil {
			out = append(out, records[i])
		}
	}
	return out
}

// Unusable says of each record why an SMTP client can't use it; nil if it can.
func Unusable(records []*dns.TLSA) []error {
	out := make([]error, len(records))
	strong := map[group]bool{}
	for i, r := range records {
		if i >= maxTLSA {
			out[i] = fmt.Errorf("it is not looked at: only %d records of a host are", maxTLSA)
			continue
		}
		if out[i] = wellFormed(r); out[i] == nil && r.MatchingType == matchSHA512 {
			strong[group{r.Usage, r.Selector}] = true
		}
	}
	for i, r := range records {
		// RFC 7671 §9, digest agility: SHA2-256 does not count where the same
		// usage and selector also has SHA2-512.
		if out[i] == nil && r.MatchingType == matchSHA256 && strong[group{r.Usage, r.Selector}] {
			out[i] = errors.New("a record with a stronger digest, SHA2-512, is beside it (RFC 7671 §9)")
		}
	}
	return out
}

// group is what records have in common that digest agility compares.
type group struct{ usage, selector uint8 }

// wellFormed says why a record, by itself, can't be used for SMTP.
func wellFormed(r *dns.TLSA) error {
	switch {
	case r == nil:
		return errors.New("there is no record")
	case r.Usage < usageTA:
		// RFC 7672 §3.1.3: PKIX-TA(0) and PKIX-EE(1) are unusable for SMTP.
		return fmt.Errorf("certificate usage %d can't be used for SMTP (RFC 7672 §3.1.3)", r.Usage)
	case r.Usage > usageEE:
		return fmt.Errorf("certificate usage %d is unknown", r.Usage)
	case r.Selector > selectorSPKI:
		return fmt.Errorf("selector %d is unknown", r.Selector)
	case r.MatchingType > matchSHA512:
		return fmt.Errorf("matching type %d is unknown", r.MatchingType)
	}
	data, err := hex.DecodeString(r.Certificate)
	if err != nil {
		return fmt.Errorf("its data is malformed: %w", err)
	}
	switch r.MatchingType {
	case matchSHA256:
		return digest(data, "SHA2-256", sha256.Size)
	case matchSHA512:
		return digest(data, "SHA2-512", sha512.Size)
	}
	if r.Selector == selectorCert {
		_, err = x509.ParseCertificate(data)
	} else {
		_, err = x509.ParsePKIXPublicKey(data)
	}
	if err != nil {
		return fmt.Errorf("its data is malformed: %w", err)
	}
	return nil
}

func digest(data []byte, name string, size int) error {
	if len(data) != size {
		return fmt.Errorf("its data has %d bytes, and a %s digest has %d", len(data), name, size)
	}
	return nil
}

// VerifyDANE checks the chain that a server presented, its own certificate
// first, against TLSA records. names are the reference identifiers: the TLSA
// base domain first, then the next-hop domain (RFC 7672 §3.2.2); only DANE-TA
// needs them. The error says why no usable record matches.
func VerifyDANE(records []*dns.TLSA, names []string, chain []*x509.Certificate, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("the server presented no certificate")
	}
	usable := Usable(records)
	if len(usable) == 0 {
		return errors.New("no usable TLSA record")
	}
	var errs []error
	for _, r := range usable {
		if r.Usage == usageEE {
			// RFC 7672 §3.1.1: names and expiration are not checked.
			if matches(r, chain[0]) {
				return nil
			}
			continue
		}
		if err := verifyTA(r, names, chain, now); err != nil {
			errs = append(errs, err)
			continue
		}
		return nil
	}
	return fmt.Errorf("the certificate matches none of %d usable TLSA records: %w", len(usable), errors.Join(append(errs, errNoMatch)...))
}

var errNoMatch = errors.New("no certificate of the chain has the published data")

// verifyTA checks a chain up to a trust anchor that the record names (RFC 7672
// §3.1.2): path, validity period and name.
func verifyTA(r *dns.TLSA, names []string, chain []*x509.Certificate, now time.Time) error {
	roots, found := x509.NewCertPool(), false
	// A trust anchor is what the server's certificate was issued by, so it is
	// never that certificate, not even a self-signed one (RFC 7671 §5.2); OpenSSL
	// does not look for it there either.
	for _, c := range chain[1:] {
		if matches(r, c) && !c.Equal(chain[0]) {
			roots.AddCert(c)
			found = true
		}
	}
	if r.Selector == selectorCert && r.MatchingType == matchFull {
		// The record holds the whole trust anchor; the server may leave it out.
		if data, err := hex.DecodeString(r.Certificate); err == nil {
			if c, err := x509.ParseCertificate(data); err == nil && !c.Equal(chain[0]) {
				roots.AddCert(c)
				found = true
			}
		}
	}
	switch {
	case !found && matches(r, chain[0]):
		return errOwnAnchor
	case !found:
		return errNoMatch
	}
	if err := verifyChain(chain, roots, now); err != nil {
		return err
	}
	return verifyName(names, withCommonName(chain[0]))
}

var errOwnAnchor = errors.New("the record has usage 2 and the server's own certificate, which needs usage 3")

// withCommonName returns a certificate whose CN is its name if it has no other:
// unlike RFC 8461, RFC 7672 §3.2.3 lets senders fall back to it.
func withCommonName(c *x509.Certificate) *x509.Certificate {
	if len(c.DNSNames) > 0 || c.Subject.CommonName == "" {
		return c
	}
	named := *c
	named.DNSNames = []string{c.Subject.CommonName}
	return &named
}

// VerifyPKIX checks a chain against trusted roots, the validity periods, and
// that the certificate is for one of the names.
func VerifyPKIX(names []string, chain []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("the server presented no certificate")
	}
	if err := verifyChain(chain, roots, now); err != nil {
		return err
	}
	return verifyName(names, chain[0])
}

func verifyChain(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now}); err != nil {
		return fmt.Errorf("certificate chain: %w", err)
	}
	return nil
}

func verifyName(names []string, leaf *x509.Certificate) error {
	err := errors.New("certificate name: no name to compare with")
	for _, name := range names {
		if err = leaf.VerifyHostname(strings.TrimSuffix(name, ".")); err == nil {
			return nil
		}
	}
	return err
}

// matches compares a certificate with the data of a record (RFC 6698 §2.1).
func matches(r *dns.TLSA, c *x509.Certificate) bool {
	want, err := hex.DecodeString(r.Certificate)
	if err != nil {
		return false
	}
	data := c.Raw
	if r.Selector == selectorSPKI {
		data = c.RawSubjectPublicKeyInfo
	}
	switch r.MatchingType {
	case matchSHA256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case matchSHA512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return bytes.Equal(data, want)
}
