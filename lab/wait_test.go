//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// deadline is for all that one test waits for.
const deadline = 6 * time.Minute

// await waits until got returns nil; if that takes too long, the test fails
// with got's last error.
func await(ctx context.Context, t testing.TB, what string, got func(context.Context) error) {
	t.Helper()
	if err := until(ctx, what, got); err != nil {
		t.Fatal(err)
	}
}

// until is await for those who do not own the test.
func until(ctx context.Context, what string, got func(context.Context) error) error {
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		err := got(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited too long for %s: %w", what, last)
		case <-ticker.C:
		}
	}
}

// keep makes a log an artifact of t at its end (go test -artifacts), and
// prints the last of it if t failed.
func keep(t testing.TB, path string) {
	t.Helper()
	dir := t.ArtifactDir()
	t.Cleanup(func() {
		b, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(path)), b, 0o644)
		}
		if err != nil {
			t.Logf("log not kept: %v", err)
		}
		if !t.Failed() {
			return
		}
		const most = 1200
		lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
		if n := len(lines); n > most {
			lines = lines[n-most:]
		}
		t.Logf("the end of %s:\n%s", path, strings.Join(lines, "\n"))
	})
}
