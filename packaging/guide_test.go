//go:build linux

package packaging_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The configurations in the deploy guide are accepted by the programs that they
// are for: a reader copies them.
func TestGuide(t *testing.T) {
	need(t, false, "nsd-checkconf", "knotc", "named-checkconf")
	b, err := os.ReadFile("../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := make(map[string][]string)
	for _, m := range regexp.MustCompile("(?ms)^```(toml|conf [a-z]+)\n(.*?)^```$").FindAllStringSubmatch(string(b), -1) {
		blocks[m[1]] = append(blocks[m[1]], m[2])
	}
	dir := t.TempDir()
	write := func(text string) string {
		path := filepath.Join(dir, "config")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, block := range blocks["conf nsd"] {
		command(t, "nsd-checkconf", write(fmt.Sprintf("server:\n    zonesdir: %q\n", dir)+block))
	}
	for _, block := range blocks["conf knot"] {
		command(t, "knotc", "-c", write(block), "conf-check")
	}
	for _, block := range blocks["conf bind"] {
		command(t, "named-checkconf", write(block))
	}

	// The second block adds to the first one. The secret is where the unit has it.
	settings := blocks["toml"]
	if len(settings) != 2 || len(blocks["conf nsd"]) != 1 || len(blocks["conf knot"]) != 2 || len(blocks["conf bind"]) != 1 {
		t.Fatalf("the guide has other blocks than expected: %q", blocks)
	}
	secret := filepath.Join(dir, "transfer-key")
	if err := os.WriteFile(secret, []byte("bm90IGEgc2VjcmV0LCBtYWtlIG9uZSBvZiB5b3VyIG93bg==\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	full := strings.NewReplacer("/var/lib/tlsink", dir, "/run/credentials/tlsink.service/transfer-key", secret)
	for _, text := range []string{settings[0], settings[0] + settings[1]} {
		command(t, os.Getenv(binaryVar), "config", "check", "--config", write(full.Replace(text)))
	}
}
