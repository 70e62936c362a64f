package mailer_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/tlsink/tlsink/mailer"
)

func TestDKIM(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dkim.pem")
	d, err := mailer.OpenDKIM("sink.example", "tlsink", path)
	if err != nil {
		t.Fatal(err)
	}
	record, err := d.TXT()
	if err != nil {
		t.Fatal(err)
	}
	lookup := &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		if name != d.Name() {
			t.Errorf("asked for %q, published at %q", name, d.Name())
		}
		return []string{record}, nil
	}}
	signed, err := d.Sign(compose(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	verify := func(message string) error {
		v, err := dkim.VerifyWithOptions(strings.NewReader(message), lookup)
		if err != nil || len(v) != 1 {
			t.Fatalf("%d signatures, %v", len(v), err)
		}
		return v[0].Err
	}
	if err := verify(string(signed)); err != nil {
		t.Errorf("own signature: %v", err)
	}
	for name, change := range map[string][2]string{
		"body":          {"Your provider", "Your neighbour"},
		"subject":       {"Subject: ", "Subject: not "},
		"second From":   {"To: ", "From: evil@x.example\r\nTo: "},
		"From on top":   {"From: ", "From: evil@x.example\r\nFrom: "},
		"automatic":     {"auto-replied", "no"},
		"second header": {"Subject: ", "Subject: x\r\nSubject: "},
	} {
		if err := verify(strings.Replace(string(signed), change[0], change[1], 1)); err == nil {
			t.Errorf("%s changed, and the signature holds", name)
		}
	}

	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: mode %v, %v", info.Mode(), err)
	}
	again, err := mailer.OpenDKIM("sink.example", "tlsink", path)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := again.TXT(); err != nil || other != record {
		t.Errorf("the key did not survive: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".dkim-*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestOpenDKIMErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct{ domain, path, want string }{
		"no domain":       {"", filepath.Join(dir, "new"), "domain"},
		"readable":        {"sink.example", write("readable", "x", 0o644), "others can read it"},
		"garbage":         {"sink.example", write("garbage", "x", 0o600), "PEM"},
		"no directory":    {"sink.example", filepath.Join(dir, "missing", "key"), "no such file"},
		"not a key":       {"sink.example", write("cert", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600), "asn1"},
		"too small a key": {"sink.example", write("ed25519", ed25519Key(), 0o600), "RSA key of at least 2048 bits"},
	} {
		_, err := mailer.OpenDKIM(c.domain, "tlsink", c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); !os.IsNotExist(err) {
		t.Error("a key was made for no domain")
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "garbage")); err != nil || !bytes.Equal(raw, []byte("x")) {
		t.Error("a file that is no key was overwritten")
	}
}
