//go:build linux

package packaging_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dpkg installs the package, the binary runs from there, and what dpkg removes
// is gone. The root is one of its own: nothing of this system changes.
func TestDebianPackage(t *testing.T) {
	need(t, true, "dpkg", "dpkg-deb")
	out := t.TempDir()
	pack := func(version string) string {
		lines := command(t, "go", "run", "./deb", "-root", "..", "-binary", os.Getenv(binaryVar), "-version", version, "-o", out)
		return strings.TrimSpace(lines)
	}
	old, deb := pack("v1.2.3-rc.1"), pack("v1.2.3")
	if want := "1.2.3~rc.1\n"; command(t, "dpkg-deb", "--field", old, "Version") != want {
		t.Errorf("version of %s is not %q", old, want)
	}

	root := t.TempDir()
	dpkg := func(args ...string) string {
		// Images of Debian leave documentation out.
		options := []string{"--root=" + root, "--force-script-chrootless", "--path-include=*", "--log=" + filepath.Join(out, "log")}
		return command(t, "dpkg", append(options, args...)...)
	}
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if said := dpkg("--install", old); !strings.Contains(said, "Write /etc/tlsink/tlsink.toml") {
		t.Errorf("a first installation does not say what comes next:\n%s", said)
	}
	config := filepath.Join(root, "etc/tlsink/tlsink.toml")
	if err := os.WriteFile(config, []byte("# mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if said := dpkg("--install", deb); strings.Contains(said, "not configured") {
		t.Errorf("an upgrade says:\n%s", said)
	}
	if problems := dpkg("--verify", "tlsink"); problems != "" {
		t.Errorf("dpkg --verify:\n%s", problems)
	}
	if printed := command(t, filepath.Join(root, "usr/bin/tlsink"), "version"); !strings.HasPrefix(printed, "tlsink ") {
		t.Errorf("the installed binary prints %q", printed)
	}
	state := filepath.Join(root, "var/lib/tlsink")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}

	dpkg("--remove", "tlsink")
	if said := dpkg("--purge", "tlsink"); !strings.Contains(said, "keys and evidence are left") {
		t.Errorf("purging does not say that the keys are left:\n%s", said)
	}
	for path, left := range map[string]bool{
		filepath.Join(root, "usr/bin/tlsink"):                        false,
		filepath.Join(root, "usr/lib/systemd/system/tlsink.service"): false,
		config: true,
		state:  true,
	} {
		if _, err := os.Stat(path); (err == nil) != left {
			t.Errorf("after purging, %s: %v; want it left: %v", path, err, left)
		}
	}
}
