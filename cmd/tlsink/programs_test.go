package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Without root certificates every certificate would seem bad.
func TestCheckWithoutRootsOfTheSystem(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestAsProgram$")
	cmd.Env = append(os.Environ(), asProgram+"=check\x1f--resolver=127.0.0.1:1\x1f--from=check.example.net\x1fgood.example", "SSL_CERT_FILE="+nowhere, "SSL_CERT_DIR="+nowhere)
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 2 || !strings.Contains(string(out), "ca-certificates") {
		t.Errorf("%v\n%s", err, out)
	}
}
