package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func testBuild() build {
	return build{version: "1.2.3~rc.1", architecture: "amd64", time: time.Unix(1_700_000_000, 0)}
}

// testFiles has a file of odd length, which ar pads.
func testFiles() []file {
	return []file{
		{name: "/usr/bin/tlsink", mode: 0o755, content: []byte("binary")},
		{name: "/etc/tlsink/", mode: 0o755},
		{name: "/usr/lib/systemd/system/tlsink.service", mode: 0o644, content: []byte("[Unit]\n")},
	}
}

func TestPack(t *testing.T) {
	deb, err := pack(testBuild(), testFiles())
	if err != nil {
		t.Fatal(err)
	}
	members := readArchive(t, deb)
	if diff := cmp.Diff([]string{"debian-binary", "control.tar.gz", "data.tar.gz"}, members.names); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	if got := string(members.content["debian-binary"]); got != "2.0\n" {
		t.Errorf("debian-binary is %q", got)
	}
	data := readTar(t, members.content["data.tar.gz"])
	want := []string{
		"drwxr-xr-x ./",
		"drwxr-xr-x ./etc/",
		"drwxr-xr-x ./etc/tlsink/",
		"drwxr-xr-x ./usr/",
		"drwxr-xr-x ./usr/bin/",
		"-rwxr-xr-x ./usr/bin/tlsink",
		"drwxr-xr-x ./usr/lib/",
		"drwxr-xr-x ./usr/lib/systemd/",
		"drwxr-xr-x ./usr/lib/systemd/system/",
		"-rw-r--r-- ./usr/lib/systemd/system/tlsink.service",
	}
	if diff := cmp.Diff(want, data.list); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	meta := readTar(t, members.content["control.tar.gz"])
	for _, line := range []string{"Version: 1.2.3~rc.1\n", "Architecture: amd64\n", "Installed-Size: 10\n"} {
		if !strings.Contains(meta.content["./control"], line) {
			t.Errorf("control lacks %q:\n%s", line, meta.content["./control"])
		}
	}
	// md5("binary")
	if sums := meta.content["./md5sums"]; !strings.Contains(sums, "9d7183f16acce70658f686ae7f1a4d20  usr/bin/tlsink\n") {
		t.Errorf("md5sums:\n%s", sums)
	}
	for _, script := range []string{"./postinst", "./prerm", "./postrm"} {
		if !strings.HasPrefix(meta.content[script], "#!/bin/sh\n") {
			t.Errorf("%s is no script: %q", script, meta.content[script])
		}
	}
}

func TestPackIsDeterministic(t *testing.T) {
	one, err := pack(testBuild(), testFiles())
	if err != nil {
		t.Fatal(err)
	}
	again := testFiles()
	again[0], again[2] = again[2], again[0]
	two, err := pack(testBuild(), again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, two) {
		t.Error("the same files in another order make another package")
	}
}

func TestDebianVersion(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"v1.2.3", "1.2.3"},
		{"1.2.3", "1.2.3"},
		{"v1.2.3-rc.1", "1.2.3~rc.1"},
		{"v0.0.0-20260102030405-0123456789ab+dirty", "0.0.0~20260102030405~0123456789ab+dirty"},
		{"(devel)", ""},
		{"", ""},
		{"v1.2.3\nDepends: x", ""},
	} {
		got, err := debianVersion(c.in)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("debianVersion(%q) = %q, %v; want %q", c.in, got, err, c.want)
		}
	}
}

func TestDebianArchitecture(t *testing.T) {
	for _, c := range []struct{ goarch, goarm, want string }{
		{"amd64", "", "amd64"},
		{"386", "", "i386"},
		{"arm", "7", "armhf"},
		{"arm", "6", ""},
		{"ppc64le", "", "ppc64el"},
		{"wasm", "", ""},
	} {
		got, err := debianArchitecture(c.goarch, c.goarm)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("debianArchitecture(%q, %q) = %q, %v; want %q", c.goarch, c.goarm, got, err, c.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, binary := range map[string]string{
		"no file":    text + "-not",
		"no program": text,
		// The test is a Go program for this system, which may be a static one.
		"no version": os.Args[0],
	} {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir()
			err := run([]string{"-binary", binary, "-o", out}, io.Discard, io.Discard)
			if err == nil {
				t.Fatal("packed")
			}
			if list, _ := filepath.Glob(out + "/*"); len(list) > 0 {
				t.Errorf("refused (%v), but wrote %q", err, list)
			}
		})
	}
}

// dpkg reads what pack writes.
func TestReadByDpkg(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("dpkg-deb is not installed")
	}
	deb, err := pack(testBuild(), testFiles())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tlsink.deb")
	if err := os.WriteFile(path, deb, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ option, want string }{
		{"--info", " Version: 1.2.3~rc.1\n"},
		{"--contents", "-rwxr-xr-x root/root         6 2023-11-14 22:13 ./usr/bin/tlsink\n"},
	} {
		cmd := exec.CommandContext(t.Context(), "dpkg-deb", c.option, path)
		cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("dpkg-deb %s: %v, want %q in\n%s", c.option, err, c.want, out)
		}
	}
}

type archive struct {
	names   []string
	content map[string][]byte
}

// readArchive reads an ar archive.
func readArchive(t *testing.T, b []byte) archive {
	t.Helper()
	rest, ok := bytes.CutPrefix(b, []byte("!<arch>\n"))
	if !ok {
		t.Fatalf("not an ar archive: %q", b[:min(len(b), 8)])
	}
	out := archive{content: make(map[string][]byte)}
	for len(rest) > 0 {
		const header = 60
		name := strings.TrimSpace(string(rest[:16]))
		size, err := strconv.Atoi(strings.TrimSpace(string(rest[48:58])))
		if err != nil || string(rest[58:header]) != "`\n" {
			t.Fatalf("header %q: %v", rest[:header], err)
		}
		out.names = append(out.names, name)
		out.content[name] = rest[header : header+size]
		rest = rest[header+size+size%2:]
	}
	return out
}

type listing struct {
	list    []string
	content map[string]string
}

func readTar(t *testing.T, b []byte) listing {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out := listing{content: make(map[string]string)}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Uname != "root" {
			t.Errorf("%s belongs to %s (%d)", h.Name, h.Uname, h.Uid)
		}
		out.list = append(out.list, h.FileInfo().Mode().String()+" "+h.Name)
		out.content[h.Name] = string(content)
	}
}
