package arc_test

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/arc"
	"github.com/tlsink/tlsink/evidence"
)

// zone is a fake resolver. Names without records do not exist, and those with
// an empty list cannot be looked up.
type zone struct {
	txt   map[string][]string
	asked map[string]int
}

func (z *zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	z.asked[name]++
	records, ok := z.txt[name]
	switch {
	case !ok:
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	case len(records) == 0:
		return nil, errors.New("SERVFAIL")
	}
	return records, nil
}

func now() time.Time { return time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC) }

// validate runs a message through a chain.
func validate(t testing.TB, z *zone, message string) evidence.ARCChain {
	t.Helper()
	header, body, found := strings.Cut(message, "\r\n\r\n")
	if !found {
		header, body, _ = strings.Cut(message, "\n\n")
	}
	c := arc.Read([]byte(header))
	// Parts of any size must do.
	if _, err := io.Copy(c, iotest.HalfReader(strings.NewReader(body))); err != nil {
		t.Fatal(err)
	}
	return c.Validate(t.Context(), z, now())
}

// TestVectors: messages that others sealed; see testdata/README.md.
func TestVectors(t *testing.T) {
	z := &zone{txt: map[string][]string{}, asked: map[string]int{}}
	keys, err := os.ReadFile("testdata/keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(keys)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		z.txt[name] = []string{text}
	}
	files, err := filepath.Glob("testdata/*/*.eml")
	if err != nil || len(files) < 28 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimPrefix(file, "testdata/"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, _, _ := strings.Cut(filepath.Base(file), "-")
			want = strings.TrimSuffix(want, ".eml")
			for _, message := range []string{string(b), strings.ReplaceAll(string(b), "\n", "\r\n")} {
				got := validate(t, z, message)
				if string(got.Result) != want {
					t.Errorf("got %+v, want %s", got, want)
				}
				if (got.Reason != "") != (want == "fail") {
					t.Errorf("reason %q", got.Reason)
				}
			}
		})
	}
}

const message = "From: a@author.example\r\nTo : \tb@list.example\r\nSubject: a\r\n  folded\tsubject \r\n\r\n two  words \r\n\r\n.\r\n\r\n"

// chain seals message n times, each time by another sealer.
func chain(t testing.TB, n int) (string, *zone) {
	t.Helper()
	z := &zone{txt: map[string][]string{}, asked: map[string]int{}}
	out := message
	for i := 1; i <= n; i++ {
		s := sealer{domain: fmt.Sprintf("hop%d.example", i), selector: "s", key: ed25519Key(byte(i))}
		z.txt[s.name()] = []string{s.record(t)}
		out = s.seal(t, out, i)
	}
	return out, z
}

func TestCanonicalizations(t *testing.T) {
	key := rsaKey(t, 2048)
	for _, c := range []string{"simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed", "simple", "relaxed"} {
		for _, algorithm := range []string{"rsa", "ed25519"} {
			t.Run(c+" "+algorithm, func(t *testing.T) {
				s := sealer{domain: "hop.example", selector: "s", key: ed25519Key(1), c: c}
				if algorithm == "rsa" {
					s.key = key
				}
				if !strings.Contains(c, "/") {
					s.c = c + "/simple"
				}
				z := &zone{txt: map[string][]string{s.name(): {s.record(t)}}, asked: map[string]int{}}
				for _, body := range []string{"", "\r\n", "\r\n\r\n", "text", "text\r\n", "text \t\r\n\r\n \r\n\r\n", " \r\n\r\n\r\n x  y\t\tz\r\nend", "lone\rCR\r\r\n"} {
					head, _, _ := strings.Cut(message, "\r\n\r\n")
					sealed := s.seal(t, head+"\r\n\r\n"+body, 1)
					want := evidence.ARCChain{Result: evidence.AuthPass, Sets: 1, Sealer: "hop.example"}
					if d := cmp.Diff(want, validate(t, z, sealed)); d != "" {
						t.Errorf("body %q (-want +got):\n%s", body, d)
					}
					if got := validate(t, z, sealed+"x"); got.Result != evidence.AuthFail || !strings.Contains(got.Reason, "body was changed") {
						t.Errorf("body %q and more: %+v", body, got)
					}
					if got := validate(t, z, strings.Replace(sealed, "folded", "bolded", 1)); got.Result != evidence.AuthFail {
						t.Errorf("body %q, another subject: %+v", body, got)
					}
					spaced := strings.Replace(sealed, "Subject: a", "Subject:  a", 1)
					if got := validate(t, z, spaced); (got.Result == evidence.AuthPass) != strings.HasPrefix(c, "relaxed") {
						t.Errorf("body %q, one more blank: %+v", body, got)
					}
				}
			})
		}
	}
}

func TestStructure(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(sealed string, z *zone) string
		want evidence.AuthResult
		why  string
	}{
		{"as it is", func(s string, _ *zone) string { return s }, "pass", ""},
		{"other fields between", func(s string, _ *zone) string { return "X-Spam: no\r\n" + s }, "pass", ""},
		{"upper case", func(s string, _ *zone) string { return strings.ReplaceAll(s, "ARC-Seal:", "ARC-SEAL:") }, "pass", ""},
		{"folded otherwise", func(s string, _ *zone) string { return strings.ReplaceAll(s, "; cv=", ";\r\n\tcv=") }, "pass", ""},
		{"no ARC-Seal", func(s string, _ *zone) string { return strings.Replace(s, "ARC-Seal: i=2", "X: i=2", 1) }, "fail", "ARC-Seal: none with i=2"},
		{"no ARC-Message-Signature", func(s string, _ *zone) string { return strings.Replace(s, "ARC-Message-Signature: i=1", "X: i=1", 1) }, "fail", "ARC-Message-Signature: none with i=1"},
		{"gap", func(s string, _ *zone) string { return strings.ReplaceAll(s, " i=2;", " i=3;") }, "fail", "none with i=2"},
		{"instance 51", func(s string, _ *zone) string { return strings.ReplaceAll(s, " i=2;", " i=51;") }, "fail", `instance "51"; want 1 to 50`},
		{"instance -1", func(s string, _ *zone) string { return strings.ReplaceAll(s, " i=2;", " i=-1;") }, "fail", "instance"},
		{"instance of words", func(s string, _ *zone) string { return strings.ReplaceAll(s, " i=2;", " i=two;") }, "fail", "instance"},
		{"endless instance", func(s string, _ *zone) string { return strings.ReplaceAll(s, " i=2;", " i=0000000002;") }, "fail", "instance"},
		{"no instance", func(s string, _ *zone) string { return strings.Replace(s, "ARC-Seal: i=2;", "ARC-Seal:", 1) }, "fail", `instance ""`},
		{"instance twice", func(s string, _ *zone) string { return strings.Replace(s, " i=2;", " i=2; i=2;", 1) }, "fail", "i= occurs twice"},
		{"results without instance", func(s string, _ *zone) string { return "ARC-Authentication-Results: x\r\n" + s }, "fail", "no instance"},
		{"no tags", func(s string, _ *zone) string { return "ARC-Seal: hello\r\n" + s }, "fail", "not a list of tags"},
		{"first set says pass", func(s string, _ *zone) string { return strings.Replace(s, "cv=none", "cv=pass", 1) }, "fail", "ARC-Seal 1: cv=pass; want none"},
		{"second set says none", func(s string, _ *zone) string { return strings.Replace(s, "cv=pass", "cv=none", 1) }, "fail", "ARC-Seal 2: cv=none; want pass"},
		{"sealed as failed", func(s string, _ *zone) string { return strings.Replace(s, "cv=pass", "cv=fail", 1) }, "fail", "its sealer found the chain broken"},
		{"seal with h=", func(s string, _ *zone) string { return strings.Replace(s, "cv=pass;", "cv=pass; h=from;", 1) }, "fail", "h= is not allowed"},
		{"seal without d=", func(s string, _ *zone) string {
			return strings.Replace(s, "cv=pass; d=hop2.example;", "cv=pass;", 1)
		}, "fail", "d= is missing"},
		{"AMS without bh=", func(s string, _ *zone) string { return strings.Replace(s, " bh=", " xh=", 1) }, "fail", "bh= is missing"},
		{"AMS of nobody", func(s string, _ *zone) string { return strings.Replace(s, " h=from:", " h=", 1) }, "fail", "does not cover From"},
		{"AMS over seals", func(s string, _ *zone) string { return strings.Replace(s, " h=from:", " h=ARC-Seal:from:", 1) }, "fail", "covers ARC-Seal"},
		{"AMS of an unknown form", func(s string, _ *zone) string { return strings.Replace(s, "c=relaxed/", "c=loose/", 1) }, "fail", `unknown canonicalization "loose"`},
		{"oldest AMS is not checked", func(s string, _ *zone) string { return s }, "pass", ""},
		{"two semicolons", func(s string, _ *zone) string { return strings.Replace(s, "cv=pass;", "cv=pass;;", 1) }, "fail", "not a list of tags"},
		{"case of tags", func(s string, _ *zone) string { return strings.Replace(s, "cv=pass; d=", "cv=pass; D=", 1) }, "fail", "d= is missing"},
		{"odd tag", func(s string, _ *zone) string { return strings.Replace(s, "cv=pass;", "cv=pass; _=1;", 1) }, "fail", "not a list of tags"},
		{"SHA-1", func(s string, _ *zone) string { return strings.Replace(s, "a=ed25519-sha256; c=", "a=rsa-sha1; c=", 1) }, "fail", `unknown algorithm "rsa-sha1"`},
		{"another algorithm than the key's", func(s string, _ *zone) string {
			return strings.Replace(s, "a=ed25519-sha256; c=", "a=rsa-sha256; c=", 1)
		}, "fail", "algorithm"},
		{"signature is no base64", func(s string, _ *zone) string { return strings.Replace(s, " b=", " b=!", 1) }, "fail", "b= is not base64"},
		{"signature changed", func(s string, _ *zone) string {
			return strings.Replace(s, "ARC-Seal: i=1; ", "ARC-Seal: i=1; t=1; ", 1)
		}, "fail", "ARC-Seal 2: signature does not match"},
		{"key could not be looked up", func(s string, z *zone) string { z.txt["s._domainkey.hop1.example"] = nil; return s }, "temperror", "ARC-Seal 1: key could not be looked up"},
		{"newest key could not be looked up, and another failure", func(s string, z *zone) string {
			z.txt["s._domainkey.hop2.example"] = nil
			return strings.Replace(s, "ARC-Seal: i=1; ", "ARC-Seal: i=1; t=1; ", 1)
		}, "fail", "ARC-Seal 1"},
		{"no key", func(s string, z *zone) string { delete(z.txt, "s._domainkey.hop1.example"); return s }, "fail", "no key at s._domainkey.hop1.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sealed, z := chain(t, 2)
			got := validate(t, z, c.edit(sealed, z))
			if got.Result != c.want || !strings.Contains(got.Reason, c.why) {
				t.Errorf("got %+v, want %s: %s", got, c.want, c.why)
			}
		})
	}
}

func TestKeyRecords(t *testing.T) {
	s := sealer{domain: "hop.example", selector: "s", key: ed25519Key(1)}
	sealed, good := s.seal(t, message, 1), s.record(t)
	p := good[strings.Index(good, "p="):]
	for record, want := range map[string]string{
		good:                                     "",
		"k=ed25519;" + p + ";":                   "",
		"v=DKIM1;; k=ed25519;" + p + ";;":        "",
		"v=DKIM1; h=sha1:sha256; " + good[9:]:    "",
		"v=DKIM1; s=*; t=y; n=note; " + good[9:]: "",
		"v=DKIM2; " + good[9:]:                   "unknown version",
		"v=DKIM1; h=sha1; " + good[9:]:           "not for SHA-256",
		"v=DKIM1; s=tlsrpt; " + good[9:]:         "not for mail",
		"v=DKIM1; k=ed25519; p=":                 "revoked",
		"v=DKIM1; k=ed25519":                     "p= is missing",
		"v=DKIM1; k=ed25519; p=!":                "p= is not base64",
		"v=DKIM1; k=ed25519; p=AAAA":             "3 octets are no Ed25519 key",
		"v=DKIM1; k=rsa; p=AAAA":                 "not an RSA key",
		"v=DKIM1; k=dsa; " + p:                   "unknown kind of key",
		"v=DKIM1; " + p + "; " + p:               "p= occurs twice",
		"hello":                                  "not a list of tags",
		strings.Repeat(" ", 5000) + good:         "not exactly one key record",
	} {
		z := &zone{txt: map[string][]string{s.name(): {record}}, asked: map[string]int{}}
		got := validate(t, z, sealed)
		if (got.Result == evidence.AuthPass) != (want == "") || !strings.Contains(got.Reason, want) {
			t.Errorf("%.60q: got %+v, want %q", record, got, want)
		}
	}
	two := &zone{txt: map[string][]string{s.name(): {good, good}}, asked: map[string]int{}}
	if got := validate(t, two, sealed); got.Result != evidence.AuthFail {
		t.Errorf("two records: %+v", got)
	}
}

// RFC 8301 §3.2 has the least; the most is ours. The signature itself is not
// looked at: only keys of the sizes between get that far.
func TestSizesOfRSAKeys(t *testing.T) {
	for bits, want := range map[int]string{1023: "RSA with 1023 bits; want 1024 to 8192", 1024: "signature does not match", 8192: "signature does not match", 8193: "RSA with 8193 bits"} {
		der := x509.MarshalPKCS1PublicKey(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), bits-1, 1), E: 65537})
		s := sealer{domain: "hop.example", selector: "s", key: ed25519Key(1)}
		z := &zone{txt: map[string][]string{s.name(): {"p=" + base64.StdEncoding.EncodeToString(der)}}, asked: map[string]int{}}
		sealed := strings.ReplaceAll(s.seal(t, message, 1), "ed25519-sha256", "rsa-sha256")
		if got := validate(t, z, sealed); got.Result != evidence.AuthFail || !strings.Contains(got.Reason, want) {
			t.Errorf("%d bits: %+v, want %q", bits, got, want)
		}
	}
}

func TestTagsOfTheMessageSignature(t *testing.T) {
	for more, want := range map[string]evidence.AuthResult{
		"":                           evidence.AuthPass,
		" v=1;":                      evidence.AuthPass, // RFC 8617 §4.1.2: ignored
		" t=1795000000;":             evidence.AuthPass,
		" x=1999999999;":             evidence.AuthPass,
		" x=1795000000;":             evidence.AuthFail, // 18 November 2026
		" x=soon;":                   evidence.AuthFail,
		" q=dns/txt;":                evidence.AuthPass,
		" q=http:dns/txt;":           evidence.AuthPass,
		" q=http;":                   evidence.AuthFail,
		" zz9_a=what ever;":          evidence.AuthPass,
		" l=4;":                      evidence.AuthFail,
		fmt.Sprintf(" l=%d;", 1<<20): evidence.AuthPass, // l= is ignored
	} {
		s := sealer{domain: "hop.example", selector: "s", key: ed25519Key(1), more: map[string]string{"ams": more}}
		z := &zone{txt: map[string][]string{s.name(): {s.record(t)}}, asked: map[string]int{}}
		sealed := s.seal(t, message, 1)
		if strings.Contains(more, "l=4") {
			sealed += "added behind what l= covers"
		}
		if got := validate(t, z, sealed); got.Result != want {
			t.Errorf("%q: %+v, want %s", more, got, want)
		}
	}
}

// A field that is covered more often than it occurs: nobody can add one.
func TestFieldsAreCountedFromBelow(t *testing.T) {
	s := sealer{domain: "hop.example", selector: "s", key: ed25519Key(1), h: "from:to:subject:reply-to"}
	z := &zone{txt: map[string][]string{s.name(): {s.record(t)}}, asked: map[string]int{}}
	sealed := s.seal(t, message, 1)
	if got := validate(t, z, sealed); got.Result != evidence.AuthPass {
		t.Fatalf("%+v", got)
	}
	if got := validate(t, z, "Subject: added on top\r\n"+sealed); got.Result != evidence.AuthPass {
		t.Errorf("another subject on top, that is not covered: %+v", got)
	}
	if got := validate(t, z, "Reply-To: x@y.example\r\n"+sealed); got.Result != evidence.AuthFail {
		t.Errorf("a field that must not be there: %+v", got)
	}
}

func TestLongestChain(t *testing.T) {
	sealed, z := chain(t, arc.MaxSets)
	want := evidence.ARCChain{Result: evidence.AuthPass, Sets: 50, Sealer: "hop50.example"}
	if d := cmp.Diff(want, validate(t, z, sealed)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for name, n := range z.asked {
		if n != 1 {
			t.Errorf("%s was looked up %d times", name, n)
		}
	}
	more, z := chain(t, arc.MaxSets+1)
	if got := validate(t, z, more); got.Result != evidence.AuthFail || len(z.asked) != 0 {
		t.Errorf("51 sets: %+v after %d lookups", got, len(z.asked))
	}
}

// Once there is no time left nothing more is asked.
func TestNoTimeLeft(t *testing.T) {
	sealed, z := chain(t, 3)
	header, body, _ := strings.Cut(sealed, "\r\n\r\n")
	c := arc.Read([]byte(header))
	_, _ = io.WriteString(c, body)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := c.Validate(ctx, z, now())
	if got.Result != evidence.AuthTempError || len(z.asked) != 0 {
		t.Errorf("%+v after %d lookups", got, len(z.asked))
	}
}

func TestNamesOfKeys(t *testing.T) {
	for _, domain := range []string{"a b.example", "..example", strings.Repeat("long.", 60) + "example", "x\x01.example"} {
		s := sealer{domain: domain, selector: "s", key: ed25519Key(1)}
		z := &zone{asked: map[string]int{}}
		if got := validate(t, z, s.seal(t, message, 1)); got.Result != evidence.AuthFail || (len(z.asked) != 0 && domain != "a b.example") {
			t.Errorf("d=%.20q: %+v, asked %v", domain, got, maps.Keys(z.asked))
		}
	}
}

func TestSeals(t *testing.T) {
	sealed, _ := chain(t, 2)
	header, _, _ := strings.Cut(sealed, "\r\n\r\n")
	want := []arc.Seal{
		{Instance: 1, Domain: "hop1.example", Signer: "hop1.example", Status: "none", Results: "hop1.example; spf=pass"},
		{Instance: 2, Domain: "hop2.example", Signer: "hop2.example", Status: "pass", Results: "hop2.example; spf=pass"},
	}
	if d := cmp.Diff(want, arc.Read([]byte(header)).Seals()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
