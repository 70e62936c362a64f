//go:build linux

package packaging_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const unit = "systemd/tlsink.service"

// systemd reads the unit without a complaint, and finds it well confined.
func TestSystemdUnit(t *testing.T) {
	need(t, false, "systemd-analyze")
	b, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	// It wants the program to be there.
	installed := strings.ReplaceAll(string(b), "/usr/bin/tlsink", os.Getenv(binaryVar))
	if installed == string(b) {
		t.Error("the unit does not run /usr/bin/tlsink")
	}
	path := filepath.Join(t.TempDir(), "tlsink.service")
	if err := os.WriteFile(path, []byte(installed), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := command(t, "systemd-analyze", "verify", "--man=no", path); strings.Contains(out, "tlsink.service") {
		t.Errorf("systemd-analyze verify:\n%s", out)
	}

	// From 0, confined, to 10, free; "OK" is below 5.
	const most = 2.0
	out := command(t, "systemd-analyze", "security", "--offline=true", "--no-pager", unit)
	m := regexp.MustCompile(`exposure level for tlsink.service: ([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("systemd-analyze security:\n%s", out)
	}
	exposure, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("exposure %.1f", exposure)
	if exposure >= most {
		t.Errorf("exposure %.1f, want less than %.1f:\n%s", exposure, most, out)
	}
}
