package zones_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tlsink/tlsink/zones"
)

// Whatever is in the state file, it is refused, or makes a zone that can be
// saved and loaded again.
func FuzzFileState(f *testing.F) {
	path := filepath.Join(f.TempDir(), "zone.json")
	o := options()
	o.State = zones.FileState{Path: path}
	z := newZone(f, o)
	add := func() {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	add()
	if err := z.StartRoll(f.Context(), zones.ZSK); err != nil {
		f.Fatal(err)
	}
	add()
	f.Add([]byte(`{"version":1,"serial":1,"key":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		own := zones.FileState{Path: filepath.Join(t.TempDir(), "zone.json")}
		if err := os.WriteFile(own.Path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		o := options()
		o.State = own
		z, err := zones.New(o)
		if err != nil {
			return
		}
		if _, err := own.Load(); err != nil {
			t.Errorf("saved what can't be loaded: %v", err)
		}
		if err := z.Advance(t.Context()); err != nil {
			t.Errorf("advance: %v", err)
		}
		verify(t, z, ask(t, z, zoneName, 48, true))
		if s := z.Roll().String(); s == "" {
			t.Error("no status")
		}
	})
}
