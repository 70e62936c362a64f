package certs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tlsink/tlsink/scenario"
)

func TestReload(t *testing.T) {
	clk, dir := newClock(), t.TempDir()
	id := scenario.Certificate{Owner: scenario.OwnerMX06, Kind: scenario.CA}
	other := scenario.Certificate{Owner: scenario.OwnerMX05, Kind: scenario.CA}
	s := open(t, fast(dir, newCA(t, filepath.Join(dir, "ca"), clk), clk))
	file := func(host string) string { return filepath.Join(dir, "certificates", "0-"+host+"-ca-ecdsa.pem") }
	first, err := os.ReadFile(file("mx06"))
	if err != nil {
		t.Fatal(err)
	}
	leaf := get(t, s, id)[0].Leaf
	clk.Add(65 * 24 * time.Hour)
	if err := s.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	renewed := get(t, s, other)[0].Leaf
	write := func(host string, b []byte) {
		t.Helper()
		if err := os.WriteFile(file(host), b, 0o600); err != nil { //nolint:gosec // of this test
			t.Fatal(err)
		}
	}
	write("mx06", first)
	for name, bad := range map[string][]byte{"garbage": []byte("?"), "of another key": first} {
		write("mx05", bad)
		if err := s.Reload(); err == nil || !strings.Contains(err.Error(), "0-mx05-ca-ecdsa.pem") {
			t.Errorf("%s: error %v, want one that names the file", name, err)
		}
		if !get(t, s, id)[0].Leaf.Equal(leaf) {
			t.Errorf("%s: the file that was put there is not used", name)
		}
		if !get(t, s, other)[0].Leaf.Equal(renewed) {
			t.Errorf("%s: the certificate in use was given up", name)
		}
	}
	if err := os.Remove(file("mx05")); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err != nil || !get(t, s, other)[0].Leaf.Equal(renewed) {
		t.Errorf("without the file: %v", err)
	}
	clk.Add(30 * 24 * time.Hour)
	if err := s.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	write("mx06", first) // expired by now
	renewed = get(t, s, id)[0].Leaf
	if err := s.Reload(); err == nil || !strings.Contains(err.Error(), "0-mx06-ca-ecdsa.pem") || !get(t, s, id)[0].Leaf.Equal(renewed) {
		t.Errorf("an expired certificate: %v", err)
	}
}
