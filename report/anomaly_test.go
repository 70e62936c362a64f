package report

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/evidence"
)

// Each anomaly that the sink can note has words.
func TestEveryAnomalyHasWords(t *testing.T) {
	noted := regexp.MustCompile(`(?i)(?:anomaly\(|^\s*return )"([A-Za-z][^"]+ [^"]+)"`)
	dir := os.DirFS("../sink/internal/wire")
	files, err := fs.Glob(dir, "*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		b, err := fs.ReadFile(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			for _, m := range noted.FindAllStringSubmatch(line, -1) {
				found++
				if anomalyText(m[1], German) == m[1] {
					t.Errorf("%s: the anomaly %q has no words", name, m[1])
				}
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d anomalies were found: the test looks for the wrong thing", found)
	}
	if got, want := anomalyText("recipient en@et.sink.example disagrees with SNI ut.sink.example", German), "Empfänger en@et.sink.example passt nicht zu SNI ut.sink.example"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if anomalyText(evidence.AnomalyPipelined, German) == evidence.AnomalyPipelined {
		t.Errorf("the anomaly %q has no words", evidence.AnomalyPipelined)
	}
	if got := anomalyText("of the future", German); got != "of the future" {
		t.Errorf("an unknown anomaly became %q", got)
	}
}
