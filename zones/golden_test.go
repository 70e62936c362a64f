package zones_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// TestContent compares the records of a zone of two slots with a file.
// Run the test with -update to write it.
func TestContent(t *testing.T) {
	z := newZone(t, options())
	recs, err := z.GetRecords(t.Context(), zoneName)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range recs {
		rr := r.RR()
		b.WriteString(rr.Name + " " + rr.TTL.String() + " " + rr.Type + " " + rr.Data + "\n")
	}
	path := filepath.Join("testdata", "content.golden")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}
