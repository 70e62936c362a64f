//go:build linux

package packaging_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	// labVar asks for these tests: 1, or "require" to fail where they can't run.
	labVar = "TLSINK_LAB"
	// binaryVar names the tlsink to test, once it is built.
	binaryVar = "TLSINK_PACKAGING_BINARY"

	// deadline is for all that one test waits for.
	deadline = 4 * time.Minute
)

func TestMain(m *testing.M) {
	if os.Getenv(labVar) == "" || os.Getenv(binaryVar) != "" {
		os.Exit(m.Run())
	}
	status, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(status)
}

// buildAndRun runs the tests with the binary that `make build` makes.
func buildAndRun(m *testing.M) (status int, err error) {
	dir, err := os.MkdirTemp("", "tlsink-packaging-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(context.Background(), "make", "-C", "..", "build", "BIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	if err := os.Setenv(binaryVar, filepath.Join(dir, "tlsink")); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// need skips t where it can't run, or fails it if that is required.
func need(t *testing.T, root bool, programs ...string) {
	t.Helper()
	lab := os.Getenv(labVar)
	if lab == "" {
		t.Skip("set TLSINK_LAB=1 to test the packaging (Debian; what needs namespaces or chroot also root)")
	}
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	var missing []string
	if root && os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	switch {
	case len(missing) == 0:
	case lab == "require":
		t.Fatalf("TLSINK_LAB=require: missing %s", strings.Join(missing, ", "))
	default:
		t.Skipf("missing %s", strings.Join(missing, ", "))
	}
}

// command runs a program to its end and returns what it prints.
func command(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// await waits until got returns nil; if that takes too long, the test fails
// with got's last error.
func await(ctx context.Context, t *testing.T, what string, got func() error) {
	t.Helper()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := got()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s: %v", what, err)
		case <-ticker.C:
		}
	}
}
