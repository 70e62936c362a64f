package history_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
)

// Whatever part of the file is spoiled or lost, Open says so or goes on without
// it: it never ends the process.
func TestOpenDamaged(t *testing.T) {
	p := path(t)
	s := open(t, history.Options{Path: p})
	for i := range 200 {
		commit(t, s, history.Batch{Connections: []evidence.Connection{connection(fmt.Sprintf("c%03d", i), at(i))}})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	good := must[[]byte](t)(os.ReadFile(p))
	page := os.Getpagesize()
	refused := 0
	try := func(name string, b []byte) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "history.db")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := history.Open(history.Options{Path: file})
		if err == nil {
			if err := s.Close(); err != nil {
				t.Errorf("%s: close: %v", name, err)
			}
			return
		}
		refused++
		if !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "amaged") || !strings.Contains(err.Error(), "restore a backup") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for at := 0; at < len(good); at += page {
		for pattern, change := range map[string]func(i int, old byte) byte{
			"flipped": func(_ int, old byte) byte { return old ^ 0x55 }, "zero": func(int, byte) byte { return 0 }, "another page": func(i int, _ byte) byte { return good[2*page+i] },
		} {
			b := append([]byte(nil), good...)
			for i := range page {
				b[at+i] = change(i, b[at+i])
			}
			try(fmt.Sprintf("page %d %s", at/page, pattern), b)
		}
		try(fmt.Sprintf("cut off at page %d", at/page), good[:at])
	}
	try("a few octets", []byte("bolt"))
	if refused < 10 {
		t.Errorf("only %d of these files were refused", refused)
	}
}
