package scenario

import "testing"

func TestParseToken(t *testing.T) {
	for _, c := range []struct {
		local, language string
		ok              bool
	}{
		{"en4k7w2q9mxa", "en", true},
		{"de4k7w2q9mxa", "de", true},
		{"DE4K7W2Q9MXA", "de", true},
		{Token("de", "2345678923"), "de", true},
		{"en", "", false},
		{"en+4k7w2q9mx", "", false},
		{"fr4k7w2q9mxa", "", false},
		{"en4k7w2q9mx", "", false},
		{"en4k7w2q9mxab", "", false},
		{"en4k7w2q9mx0", "", false},
		{"en4k7w2q9mx.", "", false},
		{"en4k7w2q9m\xc3\xa4", "", false},
		{"", "", false},
	} {
		language, ok := ParseToken(c.local)
		if ok != c.ok || ok && language != c.language {
			t.Errorf("ParseToken(%q) = %q, %v; want %q, %v", c.local, language, ok, c.language, c.ok)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("en4k7w2q9mxa")
	f.Add("İn4k7w2q9mxa")
	f.Fuzz(func(t *testing.T, local string) {
		language, ok := ParseToken(local)
		if ok && (len(local) == 0 || language != "en" && language != "de") {
			t.Errorf("ParseToken(%q) = %q", local, language)
		}
	})
}
