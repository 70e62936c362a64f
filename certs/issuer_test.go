package certs_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/certs"
)

func TestLocalCAIsKept(t *testing.T) {
	clk, dir := newClock(), t.TempDir()
	ca := newCA(t, dir, clk)
	onDisk, err := os.ReadFile(ca.RootFile())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(onDisk, ca.RootPEM()) || !bytes.Equal(onDisk, newCA(t, dir, clk).RootPEM()) {
		t.Error("the root on disk, in memory and after reopening differ")
	}
}

// People are asked to trust this root: it must be useless for other names.
func TestLocalCAIsConstrainedToTheZone(t *testing.T) {
	clk := newClock()
	ca := newCA(t, "", clk)
	key, err := certs.GenerateKey(certs.ECDSA, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"mx05.et.sink.example": true, "mail.other.example": false} {
		chain, err := ca.Issue(t.Context(), []string{name}, key)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(chain[0])
		if err != nil {
			t.Fatal(err)
		}
		_, err = leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: name, CurrentTime: clk.Now()})
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	block, _ := pem.Decode(ca.RootPEM())
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil || root.PublicKeyAlgorithm != x509.RSA {
		t.Errorf("root of %v: clients without ECDSA cannot verify it (%v)", root.PublicKeyAlgorithm, err)
	}
}

func TestLocalCAErrors(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(t *testing.T, dir string, o *certs.LocalCAOptions)
	}{
		{"no zone", "zone is empty", func(_ *testing.T, _ string, o *certs.LocalCAOptions) { o.Zone = "" }},
		{"other zone", `not for zone "other.example"`, func(_ *testing.T, _ string, o *certs.LocalCAOptions) { o.Zone = "other.example" }},
		{"expired root", "root expired on 2036-", func(_ *testing.T, _ string, o *certs.LocalCAOptions) {
			later := o.Now().AddDate(11, 0, 0)
			o.Now = func() time.Time { return later }
		}},
		{"lost key", "has only one of", func(t *testing.T, dir string, _ *certs.LocalCAOptions) {
			if err := os.Remove(filepath.Join(dir, "root-key.pem")); err != nil {
				t.Fatal(err)
			}
		}},
		{"root is junk", "root.pem", func(t *testing.T, dir string, _ *certs.LocalCAOptions) {
			write(t, filepath.Join(dir, "root.pem"), "hello")
		}},
		{"small keys", "want at least 2048", func(t *testing.T, _ string, o *certs.LocalCAOptions) {
			o.Dir, o.RSABits = t.TempDir(), 512
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			clk, dir := newClock(), t.TempDir()
			newCA(t, dir, clk)
			o := certs.LocalCAOptions{Dir: dir, Zone: zone, Now: clk.Now}
			c.change(t, dir, &o)
			if _, err := certs.OpenLocalCA(o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// Files come from disk: whatever they hold, opening gives an error or a CA.
func FuzzOpenLocalCA(f *testing.F) {
	ca, err := certs.OpenLocalCA(certs.LocalCAOptions{Dir: f.TempDir(), Zone: zone})
	if err != nil {
		f.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(filepath.Dir(ca.RootFile()), "root-key.pem"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(key, ca.RootPEM())
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"), []byte{})
	f.Fuzz(func(t *testing.T, key, root []byte) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "root-key.pem"), string(key))
		write(t, filepath.Join(dir, "root.pem"), string(root))
		if ca, err := certs.OpenLocalCA(certs.LocalCAOptions{Dir: dir, Zone: zone}); (ca == nil) == (err == nil) {
			t.Errorf("neither or both: %v, %v", ca, err)
		}
	})
}
