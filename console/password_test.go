package console_test

import (
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/console"
)

func logTo(b *strings.Builder) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// The hash is that of the reference implementation:
// printf %s "apple ladder quiet storm" | argon2 saltsaltsaltsalt -id -t 2 -k 64 -p 1 -l 32 -e
func TestHashPassword(t *testing.T) {
	t.Parallel()
	h, err := console.HashPassword(password, strings.NewReader("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(h, "$argon2id$v=19$m=65536,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$") {
		t.Errorf("hash %s", h)
	}
	if !console.Matches(h, password) || console.Matches(h, password+"x") || console.Matches(h, "") {
		t.Error("it is not that of the password, or of others, too")
	}
	if _, err := console.HashPassword(password, strings.NewReader("short")); err == nil {
		t.Error("a salt from a source that ended")
	}
}

func TestParsePHC(t *testing.T) {
	t.Parallel()
	const salt, hash = "c2FsdCBvZiBhIHRlc3QuLg", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"usual":            {"$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$" + hash, true},
		"cheap":            {"$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + hash, true},
		"other kind":       {"$argon2i$v=19$m=65536,t=3,p=4$" + salt + "$" + hash, false},
		"bcrypt":           {"$2y$10$abcdefghijklmnopqrstuuJ8bKZ4v7m0Qj0Q0Q0Q0Q0Q0Q0Q0Q0Q0", false},
		"old version":      {"$argon2id$v=16$m=65536,t=3,p=4$" + salt + "$" + hash, false},
		"no version":       {"$argon2id$m=65536,t=3,p=4$" + salt + "$" + hash, false},
		"much memory":      {"$argon2id$v=19$m=4194304,t=3,p=4$" + salt + "$" + hash, false},
		"no memory":        {"$argon2id$v=19$m=0,t=3,p=4$" + salt + "$" + hash, false},
		"less than p asks": {"$argon2id$v=19$m=16,t=3,p=4$" + salt + "$" + hash, false},
		"much time":        {"$argon2id$v=19$m=65536,t=999,p=4$" + salt + "$" + hash, false},
		"no time":          {"$argon2id$v=19$m=65536,t=0,p=4$" + salt + "$" + hash, false},
		"no threads":       {"$argon2id$v=19$m=65536,t=3,p=0$" + salt + "$" + hash, false},
		"many threads":     {"$argon2id$v=19$m=65536,t=3,p=200$" + salt + "$" + hash, false},
		"short salt":       {"$argon2id$v=19$m=65536,t=3,p=4$c2E$" + hash, false},
		"short hash":       {"$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$c2E", false},
		"padding":          {"$argon2id$v=19$m=65536,t=3,p=4$" + salt + "==$" + hash, false},
		"bits left over":   {"$argon2id$v=19$m=65536,t=3,p=4$" + salt[:len(salt)-1] + "h$" + hash, false},
		"two lines":        {"$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$" + hash + "\nx", false},
		"nothing":          {"", false},
	} {
		again, err := console.ParsePHC(c.text)
		if (err == nil) != c.ok || c.ok && again != c.text {
			t.Errorf("%s: %q, %v; want ok %t", name, again, err, c.ok)
		}
		if err != nil && strings.Contains(err.Error(), hash) {
			t.Errorf("%s: the hash is in the error %v", name, err)
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=3,p=4$c2FsdCBvZiBhIHRlc3QuLg$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA")
	f.Fuzz(func(t *testing.T, s string) {
		again, err := console.ParsePHC(s)
		if err == nil && again != s && !strings.Contains(s, "=0") { // leading zeros of numbers go
			t.Errorf("%q became %q", s, again)
		}
	})
}

func TestCheckNewPassword(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"apple ladder quiet storm":    true,
		"xK9#mQ2$vL7p":                true,
		"köstliche Birnen im März":    true,
		"parola lunga e strana":       true,
		"Tr0ub4dor&3xyzzy":            true,
		"":                            false,
		"short":                       false,
		"eleven char":                 false,
		"aaaaaaaaaaaaaa":              false,
		"abababababababab":            false,
		"123456789012":                false,
		"abcdefghijklmn":              false,
		"qwertyuiopasdfghjkl":         false,
		"password1234":                false,
		"P4ssw0rd!2026":               false,
		"Passwort123456":              false,
		"tlsink-console":              false,
		"sink.example":                false,
		"sinkexample1":                false,
		"correcthorsebatterystaple":   false,
		"administrator":               false,
		"letmeinletmein":              false,
		"changeme changeme":           false,
		"with a\nline break in it":    false,
		"with a\ttabulator in it":     false,
		"not \xff utf-8 but long":     false,
		strings.Repeat("long x", 300): false,
	} {
		err := console.CheckNewPassword(text, zone)
		if (err == nil) != ok {
			t.Errorf("%q: %v, want ok %t", text, err, ok)
		}
		if err != nil && len(text) > 5 && strings.Contains(err.Error(), text) {
			t.Errorf("%q is in its error", text)
		}
	}
}

// Wrong passwords that come one after the other take the memory of one hash, not
// of as many as the collector leaves behind. Not parallel: others allocate, too.
func TestHashesDoNotPileUp(t *testing.T) {
	const costly = "$argon2id$v=19$m=32768,t=1,p=1$c2FsdCBvZiBhIHRlc3QuLg$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
	d := newDesk(t)
	d.setPassword(t, costly)
	var stats runtime.MemStats
	for i := range 3 {
		if w := d.browser().login("wrong"); w.Code != http.StatusForbidden {
			t.Fatalf("status %d", w.Code)
		}
		runtime.ReadMemStats(&stats)
		if stats.HeapAlloc > 24<<20 {
			t.Errorf("%d MiB are still taken after login %d", stats.HeapAlloc>>20, i+1)
		}
	}
}
