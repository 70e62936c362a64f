package zones_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/zones"
)

// TestRollStatus compares what the operator reads in each phase with a file.
// Run the test with -update to write it.
func TestRollStatus(t *testing.T) {
	w := newRollWorld(t)
	names := make(map[string]string)
	var b strings.Builder
	look := func(stage string) {
		text := w.zone.Roll().String()
		for _, k := range w.zone.Keys() {
			tag := fmt.Sprint(k.Tag)
			if names[tag] == "" {
				names[tag] = fmt.Sprintf("TAG%d", len(names)+1)
			}
			text = strings.ReplaceAll(text, "key "+tag+":", "key "+names[tag]+":")
			text = strings.ReplaceAll(text, "DS\t"+tag+" ", "DS\t"+names[tag]+" ")
		}
		var lines []string
		for line := range strings.Lines(text) {
			if before, _, ok := strings.Cut(line, " 13 2 "); ok {
				line = before + " 13 2 DIGEST\n"
			}
			lines = append(lines, line)
		}
		fmt.Fprintf(&b, "--- %s\n%s", stage, strings.Join(lines, ""))
	}
	look("no roll")
	w.start("")
	look("published")
	w.until(zones.PhaseHandOver, 0)
	look("hand-over")
	w.parent.set(w.zone.Roll().DS, 0)
	w.parent.set(nil, 1)
	if err := w.zone.Advance(t.Context()); err == nil {
		t.Error("a DS record that is missing is not noticed")
	}
	look("hand-over, DS missing")
	w.cancel()
	look("cancelled")
	w.cancel()
	w.parent.set(w.zone.Roll().DS, 1)
	w.until(zones.PhaseRetire, 0)
	look("retire")
	w.until("", 0)
	w.start(zones.ZSK)
	w.until(zones.PhaseRetire, 0)
	look("ZSK, retire")
	w.until("", 0)
	w.options.Keys.ParentDS = nil
	w.restart()
	w.start(zones.KSK)
	w.until(zones.PhaseHandOver, 0)
	look("KSK, parent not known")
	w.clk.Advance(time.Hour)
	w.advance()
	if w.zone.Roll().Phase != zones.PhaseHandOver {
		t.Error("went on without being told")
	}

	path := filepath.Join("testdata", "roll.golden")
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
		t.Errorf("status (-want +got):\n%s", diff)
	}
}
