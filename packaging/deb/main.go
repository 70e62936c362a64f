package main

import (
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "deb:", err)
		os.Exit(1)
	}
}

// run packs what the arguments say and prints the path of the package.
func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("deb", flag.ContinueOnError)
	flags.SetOutput(stderr)
	binary := flags.String("binary", "bin/tlsink", "static binary of tlsink, from make build")
	version := flags.String("version", "", "version of the package (default: that of the binary)")
	root := flags.String("root", ".", "folder of the sources, for the unit, the manual and the licence")
	out := flags.String("o", "dist", "folder to write the package to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b, err := readBuild(*binary, *version)
	if err != nil {
		return err
	}
	files, err := contents(*root, *binary)
	if err != nil {
		return err
	}
	deb, err := pack(b, files)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return fmt.Errorf("-o %q: %w", *out, err)
	}
	path := filepath.Join(*out, fmt.Sprintf("tlsink_%s_%s.deb", b.version, b.architecture))
	if err := os.WriteFile(path, deb, 0o644); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, path)
	return err
}

// build is what a binary says about itself, in Debian's words.
type build struct {
	version, architecture string
	time                  time.Time // of the commit, else 1970
}

// readBuild reads the build information of a binary. A given version goes first.
func readBuild(binary, version string) (build, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return build{}, fmt.Errorf("-binary %q: %w; make build makes one", binary, err)
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["CGO_ENABLED"] != "0" || settings["GOOS"] != "linux" {
		return build{}, fmt.Errorf("-binary %q is not a static one for Linux (built with CGO_ENABLED=%s GOOS=%s): make build makes one", binary, settings["CGO_ENABLED"], settings["GOOS"])
	}
	b := build{time: time.Unix(0, 0)}
	if version == "" {
		version = info.Main.Version
	}
	if b.version, err = debianVersion(version); err != nil {
		return build{}, err
	}
	if b.architecture, err = debianArchitecture(settings["GOARCH"], settings["GOARM"]); err != nil {
		return build{}, err
	}
	if at, ok := settings["vcs.time"]; ok {
		if b.time, err = time.Parse(time.RFC3339, at); err != nil {
			return build{}, fmt.Errorf("-binary %q: time of its commit: %w", binary, err)
		}
	}
	return b, nil
}

// debianVersion makes a Go module version one of Debian's (deb-version(7)).
// Pre-releases, and with them pseudo-versions, sort before the release there:
// 1.2.3~rc.1 is older than 1.2.3.
func debianVersion(v string) (string, error) {
	out := strings.ReplaceAll(strings.TrimPrefix(v, "v"), "-", "~")
	if !regexp.MustCompile(`^[0-9][A-Za-z0-9.+~]*$`).MatchString(out) {
		return "", fmt.Errorf("version %q: want one such as 1.2.3; the binary has none if it was built without its git history: give -version", v)
	}
	return out, nil
}

func debianArchitecture(goarch, goarm string) (string, error) {
	switch goarch {
	case "amd64", "arm64", "riscv64", "s390x", "loong64":
		return goarch, nil
	case "386":
		return "i386", nil
	case "ppc64le":
		return "ppc64el", nil
	case "arm":
		if strings.HasPrefix(goarm, "7") {
			return "armhf", nil
		}
		return "", errors.New("the binary is for ARM before version 7: build it with GOARM=7")
	}
	return "", fmt.Errorf("no architecture of Debian is GOARCH=%s", goarch)
}

// contents are the files that the package installs.
func contents(root, binary string) ([]file, error) {
	const doc = "/usr/share/doc/tlsink/"
	files := []file{{name: "/etc/tlsink/", mode: 0o755}}
	for _, f := range []struct {
		from, to string
		mode     int64
	}{
		{binary, "/usr/bin/tlsink", 0o755},
		{filepath.Join(root, "packaging/systemd/tlsink.service"), "/usr/lib/systemd/system/tlsink.service", 0o644},
		{filepath.Join(root, "config/tlsink.example.toml"), doc + "tlsink.example.toml", 0o644},
		{filepath.Join(root, "docs/deploy.md"), doc + "deploy.md", 0o644},
		{filepath.Join(root, "docs/doctor.md"), doc + "doctor.md", 0o644},
		{filepath.Join(root, "docs/verdicts.md"), doc + "verdicts.md", 0o644},
		{filepath.Join(root, "docs/downgrade-modes.md"), doc + "downgrade-modes.md", 0o644},
		{filepath.Join(root, "docs/operations.md"), doc + "operations.md", 0o644},
		{filepath.Join(root, "docs/metrics.md"), doc + "metrics.md", 0o644},
		{filepath.Join(root, "docs/statistics.md"), doc + "statistics.md", 0o644},
		{filepath.Join(root, "packaging/monitoring/README.md"), doc + "monitoring/README.md", 0o644},
		{filepath.Join(root, "packaging/monitoring/alerts.yml"), doc + "monitoring/alerts.yml", 0o644},
		{filepath.Join(root, "packaging/monitoring/alerts_test.yml"), doc + "monitoring/alerts_test.yml", 0o644},
		{filepath.Join(root, "packaging/monitoring/dashboard.json"), doc + "monitoring/dashboard.json", 0o644},
		{filepath.Join(root, "LICENSE"), doc + "copyright", 0o644},
	} {
		b, err := os.ReadFile(f.from)
		if err != nil {
			return nil, fmt.Errorf("file for %s: %w", f.to, err)
		}
		files = append(files, file{name: f.to, mode: f.mode, content: b})
	}
	return files, nil
}
