package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/md5" // what the format has; it detects damage, not malice
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
	"text/template"
	"time"
)

// file is one file of a tar archive; a name that ends in a slash is a folder.
type file struct {
	name    string // absolute
	mode    int64
	content []byte
}

//go:embed control postinst prerm postrm
var control embed.FS

// pack makes a package of some files (deb(5)).
func pack(b build, files []file) ([]byte, error) {
	files = withFolders(files)
	description, err := describe(b, files)
	if err != nil {
		return nil, err
	}
	meta := []file{
		{name: "/control", mode: 0o644, content: description},
		{name: "/md5sums", mode: 0o644, content: checksums(files)},
	}
	for _, name := range []string{"postinst", "postrm", "prerm"} {
		script, err := control.ReadFile(name)
		if err != nil {
			return nil, err
		}
		meta = append(meta, file{name: "/" + name, mode: 0o755, content: script})
	}
	var out bytes.Buffer
	out.WriteString("!<arch>\n")
	addMember(&out, "debian-binary", b.time, []byte("2.0\n"))
	for _, archive := range []struct {
		name  string
		files []file
	}{{"control.tar.gz", withFolders(meta)}, {"data.tar.gz", files}} {
		content, err := tarball(archive.files, b.time)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", archive.name, err)
		}
		addMember(&out, archive.name, b.time, content)
	}
	return out.Bytes(), nil
}

// describe fills in the control file (deb-control(5)).
func describe(b build, files []file) ([]byte, error) {
	var size int // of what is installed, in KiB, each file rounded up
	for _, f := range files {
		size += max(1, (len(f.content)+1023)/1024)
	}
	t, err := template.ParseFS(control, "control")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, struct {
		Version, Architecture string
		InstalledSize         int
	}{b.version, b.architecture, size})
	return out.Bytes(), err
}

// checksums are those that `dpkg --verify` compares.
func checksums(files []file) []byte {
	var out bytes.Buffer
	for _, f := range files {
		if !strings.HasSuffix(f.name, "/") {
			fmt.Fprintf(&out, "%x  %s\n", md5.Sum(f.content), strings.TrimPrefix(f.name, "/"))
		}
	}
	return out.Bytes()
}

// withFolders adds the folders that files are in, and sorts: a folder comes
// before what is in it.
func withFolders(files []file) []file {
	out := slices.Clone(files)
	have := make(map[string]bool)
	for _, f := range files {
		have[f.name] = true
	}
	for _, f := range files {
		for dir := path.Dir(strings.TrimSuffix(f.name, "/")); ; dir = path.Dir(dir) {
			name := strings.TrimSuffix(dir, "/") + "/"
			if !have[name] {
				have[name] = true
				out = append(out, file{name: name, mode: 0o755})
			}
			if dir == "/" {
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b file) int { return cmp.Compare(a.name, b.name) })
	return out
}

func tarball(files []file, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(zip)
	for _, f := range files {
		h := &tar.Header{
			Name: "." + f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: at,
			Uname: "root", Gname: "root", Typeflag: tar.TypeReg, Format: tar.FormatGNU,
		}
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// addMember adds a member to an ar archive: a header in ASCII, padded with
// spaces, and the content, padded to an even length.
func addMember(out *bytes.Buffer, name string, at time.Time, content []byte) {
	fmt.Fprintf(out, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", name, at.Unix(), 0, 0, 0o100644, len(content))
	out.Write(content)
	if len(content)%2 == 1 {
		out.WriteByte('\n')
	}
}
