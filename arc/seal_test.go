package arc_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// sealer adds ARC sets to messages. It shares no code with the package: headers
// and bodies are canonicalized as a whole, the way RFC 6376 §3.4 describes it.
type sealer struct {
	domain, selector string
	key              crypto.Signer
	c                string            // default relaxed/relaxed
	h                string            // default from:to:subject
	status           string            // default none, then pass
	more             map[string]string // further tags, by field: ams, as
}

func ed25519Key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// record returns the key record of a sealer.
func (s sealer) record(t testing.TB) string {
	t.Helper()
	if public, ok := s.key.Public().(ed25519.PublicKey); ok {
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)
	}
	der, err := x509.MarshalPKIXPublicKey(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
}

func (s sealer) name() string { return s.selector + "._domainkey." + s.domain }

// seal returns a message, with CRLF, with one more set; n is its instance.
func (s sealer) seal(t testing.TB, message string, n int) string {
	t.Helper()
	header, body := cut(message)
	c, h, status := s.c, s.h, s.status
	if c == "" {
		c = "relaxed/relaxed"
	}
	if h == "" {
		h = "from:to:subject"
	}
	if status == "" {
		status = "pass"
		if n == 1 {
			status = "none"
		}
	}
	headerForm, bodyForm, _ := strings.Cut(c, "/")
	sum := sha256.Sum256([]byte(canonicalBody(bodyForm, body)))

	aar := fmt.Sprintf("ARC-Authentication-Results: i=%d; %s; spf=pass\r\n", n, s.domain)
	ams := fmt.Sprintf("ARC-Message-Signature: i=%d; a=%s; c=%s;\r\n d=%s; s=%s;%s h=%s;\r\n bh=%s; b=",
		n, s.algorithm(), c, s.domain, s.selector, s.more["ams"], h, base64.StdEncoding.EncodeToString(sum[:]))
	var signed strings.Builder
	for name := range strings.SplitSeq(h, ":") {
		// Each name once, in these tests.
		for _, f := range header {
			if key, _, _ := strings.Cut(f, ":"); strings.EqualFold(strings.TrimSpace(key), strings.TrimSpace(name)) {
				signed.WriteString(canonicalField(headerForm, f) + "\r\n")
			}
		}
	}
	ams += s.sign(t, signed.String()+canonicalField(headerForm, ams+"\r\n")) + "\r\n"

	as := fmt.Sprintf("ARC-Seal: i=%d; a=%s; cv=%s; d=%s; s=%s;%s b=", n, s.algorithm(), status, s.domain, s.selector, s.more["as"])
	var chain strings.Builder
	for i := 1; i < n; i++ {
		for _, key := range []string{"ARC-Authentication-Results:", "ARC-Message-Signature:", "ARC-Seal:"} {
			for _, f := range header {
				if strings.HasPrefix(f, fmt.Sprintf("%s i=%d;", key, i)) {
					chain.WriteString(canonicalField("relaxed", f) + "\r\n")
				}
			}
		}
	}
	chain.WriteString(canonicalField("relaxed", aar) + "\r\n" + canonicalField("relaxed", ams) + "\r\n")
	as += s.sign(t, chain.String()+canonicalField("relaxed", as+"\r\n")) + "\r\n"
	return as + ams + aar + message
}

func (s sealer) algorithm() string {
	if _, ok := s.key.(ed25519.PrivateKey); ok {
		return "ed25519-sha256"
	}
	return "rsa-sha256"
}

func (s sealer) sign(t testing.TB, data string) string {
	t.Helper()
	digest := sha256.Sum256([]byte(data))
	var options crypto.SignerOpts = crypto.SHA256
	if _, ok := s.key.(ed25519.PrivateKey); ok {
		options = crypto.Hash(0)
	}
	b, err := s.key.Sign(nil, digest[:], options)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// cut splits a message with CRLF into header fields and body.
func cut(message string) (header []string, body string) {
	head, body, _ := strings.Cut(message, "\r\n\r\n")
	for _, line := range strings.SplitAfter(head+"\r\n", "\r\n") {
		switch {
		case line == "":
		case line[0] == ' ' || line[0] == '\t':
			header[len(header)-1] += line
		default:
			header = append(header, line)
		}
	}
	return header, body
}

func canonicalField(form, f string) string {
	f = strings.TrimSuffix(f, "\r\n")
	if form == "simple" {
		return f
	}
	key, value, _ := strings.Cut(strings.ReplaceAll(f, "\r\n", ""), ":")
	return strings.ToLower(strings.TrimRight(key, " \t")) + ":" + squeeze(strings.Trim(value, " \t"))
}

func squeeze(s string) string {
	s = strings.ReplaceAll(s, "\t", " ")
	for strings.Contains(s, "  ") {
		s = strings.ReplaceAll(s, "  ", " ")
	}
	return s
}

func canonicalBody(form, body string) string {
	if form == "relaxed" {
		lines := strings.Split(body, "\r\n")
		for i := range lines {
			lines[i] = strings.TrimRight(squeeze(lines[i]), " ")
		}
		body = strings.Join(lines, "\r\n")
	}
	for strings.HasSuffix(body, "\r\n") {
		body = strings.TrimSuffix(body, "\r\n")
	}
	if body == "" && form == "relaxed" {
		return ""
	}
	return body + "\r\n"
}
