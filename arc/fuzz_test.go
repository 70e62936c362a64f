package arc_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/tlsink/tlsink/arc"
	"github.com/tlsink/tlsink/evidence"
)

// Whatever comes in: what is returned is bounded, printable and can be stored,
// and nobody passes whose keys nobody has.
func FuzzChain(f *testing.F) {
	sealed, _ := chain(f, 2)
	header, body, _ := strings.Cut(sealed, "\r\n\r\n")
	f.Add([]byte(header), []byte(body))
	f.Add([]byte("ARC-Seal:i=1;b=;b\r\n ARC\r\narc-seal : i = 1 ;\nFrom:x"), []byte("\r\r\n \n"))
	files, err := filepath.Glob("testdata/*/*.eml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		header, body, _ := strings.Cut(string(b), "\n\n")
		f.Add([]byte(header), []byte(body))
	}
	f.Fuzz(func(t *testing.T, header, body []byte) {
		z := &zone{asked: map[string]int{}}
		c := arc.Read(header)
		if n, err := c.Write(body); n != len(body) || err != nil {
			t.Fatalf("wrote %d of %d octets: %v", n, len(body), err)
		}
		got := c.Validate(t.Context(), z, now())
		switch {
		case got.Result != evidence.AuthNone && got.Result != evidence.AuthFail,
			(got.Reason == "") != (got.Result == evidence.AuthNone),
			got.Sets < 0, got.Sets > arc.MaxSets, len(got.Reason) > 200, len(got.Sealer) > 253, len(z.asked) > 2:
			t.Errorf("%+v after %v", got, z.asked)
		}
		texts := []string{got.Reason, got.Sealer}
		for _, s := range c.Seals() {
			texts = append(texts, s.Domain, s.Signer, s.Status, s.Results)
		}
		for _, s := range texts {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) || len(s) > 1000 {
				t.Errorf("returned %q", s)
			}
		}
		if _, err := json.Marshal(got); err != nil {
			t.Error(err)
		}
	})
}
