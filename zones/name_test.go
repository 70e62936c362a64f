package zones_test

import (
	"strings"
	"testing"

	"github.com/tlsink/tlsink/zones"
)

// RFC 4034 §6.1, with its example.
func TestCanonicalOrder(t *testing.T) {
	names := []string{
		".", "example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.",
		`\000.z.example.`, `\000\000.z.example.`, `\001.z.example.`, `\001\000.z.example.`, `\002.z.example.`, "*.z.example.", `\200.z.example.`, "zz.example.",
	}
	for i, a := range names {
		for j, b := range names {
			ka, err := zones.KeyOf(a)
			if err != nil {
				t.Fatal(err)
			}
			kb, err := zones.KeyOf(b)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Compare(ka, kb); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s and %s compare as %d", a, b, got)
			}
		}
	}
	for _, bad := range []string{"relative", "a..b.", strings.Repeat("a", 64) + ".", strings.Repeat("a.", 128)} {
		if _, err := zones.KeyOf(bad); err == nil {
			t.Errorf("%q has a key", bad)
		}
	}
}

// The order agrees with the comparison that the tests use for proofs.
func FuzzCanonicalOrder(f *testing.F) {
	f.Add("a.example.", "A.b.example.")
	f.Add(`\000.a.`, `a\.b.`)
	f.Fuzz(func(t *testing.T, a, b string) {
		ka, errA := zones.KeyOf(a)
		kb, errB := zones.KeyOf(b)
		if errA != nil || errB != nil {
			return
		}
		if got, want := strings.Compare(ka, kb), order(a, b); (got < 0) != (want < 0) || (got > 0) != (want > 0) {
			t.Errorf("%q and %q compare as %d, want %d", a, b, got, want)
		}
	})
}
