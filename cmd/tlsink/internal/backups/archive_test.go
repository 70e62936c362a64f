package backups

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/history"
)

// saved is a backup in its parts.
type saved struct {
	manifest manifest
	files    []savedFile
}

type savedFile struct {
	tar.Header
	data []byte
}

// newSaved returns a backup that can be restored.
func newSaved(t *testing.T) *saved {
	t.Helper()
	db := filepath.Join(t.TempDir(), historyName)
	s, err := history.Open(history.Options{Path: db})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(db) //nolint:gosec // of this test
	if err != nil {
		t.Fatal(err)
	}
	out := &saved{manifest: manifest{Format: backupFormat, Version: "test", Time: time.Unix(0, 0), Zone: "sink.example", History: history.Version}}
	out.add("dkim.pem", []byte("key"))
	out.add("certs/keys/0-mx04.pem", []byte("another key"))
	out.add(historyName, b)
	return out
}

func (s *saved) add(name string, data []byte) {
	sum := sha256.Sum256(data)
	s.manifest.Files = append(s.manifest.Files, manifestFile{Name: name, Size: int64(len(data)), Mode: 0o600, SHA256: hex.EncodeToString(sum[:])})
	s.files = append(s.files, savedFile{tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), Typeflag: tar.TypeReg}, data})
}

func (s *saved) rename(i int, name string) {
	s.manifest.Files[i].Name, s.files[i].Name = name, name
}

func (s *saved) archive(t *testing.T) []byte {
	t.Helper()
	head, err := json.Marshal(s.manifest)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range append([]savedFile{{tar.Header{Name: manifestName, Mode: 0o600, Size: int64(len(head)), Typeflag: tar.TypeReg}, head}}, s.files...) {
		if err := w.WriteHeader(&f.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Nothing of a backup that is not right stays, and nothing comes elsewhere.
func TestRestoreRefuses(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	for name, c := range map[string]struct {
		change func(s *saved)
		want   string
	}{
		"upwards":           {func(s *saved) { s.rename(0, "../x") }, "none of data_dir"},
		"upwards inside":    {func(s *saved) { s.rename(0, "certs/../../x") }, "none of data_dir"},
		"absolute":          {func(s *saved) { s.rename(0, elsewhere) }, "none of data_dir"},
		"hidden":            {func(s *saved) { s.rename(0, ".restore") }, "none of data_dir"},
		"no name":           {func(s *saved) { s.rename(0, "") }, "none of data_dir"},
		"twice":             {func(s *saved) { s.rename(1, "dkim.pem") }, "twice"},
		"file as directory": {func(s *saved) { s.rename(1, "dkim.pem/x") }, "dkim.pem"},
		"symbolic link": {func(s *saved) {
			s.files[0].Typeflag, s.files[0].Linkname, s.files[0].Size, s.files[0].data = tar.TypeSymlink, elsewhere, 0, nil
			s.manifest.Files[0].Size = 0
		}, "damaged"},
		"other content":      {func(s *saved) { s.files[1].data = []byte("another kez") }, `"certs/keys/0-mx04.pem" is not what was saved`},
		"other size":         {func(s *saved) { s.manifest.Files[1].Size++ }, "damaged"},
		"other file":         {func(s *saved) { s.files[1].Name = "x" }, `"x" comes where`},
		"missing file":       {func(s *saved) { s.files = s.files[:2] }, `ends before "history.db"`},
		"one more":           {func(s *saved) { s.files = append(s.files, s.files[0]) }, "something follows"},
		"huge":               {func(s *saved) { s.manifest.Files[0].Size = 1 << 30 }, "octets"},
		"more than the disk": {func(s *saved) { s.manifest.Files[2].Size = 1 << 40 }, "are free"},
		"negative":           {func(s *saved) { s.manifest.Files[0].Size = -1 }, "octets"},
		"set-uid":            {func(s *saved) { s.manifest.Files[0].Mode = os.ModeSetuid | 0o755 }, "mode"},
		"no history":         {func(s *saved) { s.files, s.manifest.Files = s.files[:2], s.manifest.Files[:2] }, "history.db is not in it"},
		"damaged history": {func(s *saved) {
			s.files, s.manifest.Files = s.files[:2], s.manifest.Files[:2]
			s.add(historyName, bytes.Repeat([]byte("no bolt file"), 1000))
		}, "damaged"},
		"later format":   {func(s *saved) { s.manifest.Format = 2 }, "later tlsink"},
		"later history":  {func(s *saved) { s.manifest.History = history.Version + 1 }, "later tlsink"},
		"wrong version":  {func(s *saved) { s.manifest.History = 1 }, fmt.Sprintf("schema version %d, its manifest says 1", history.Version)},
		"no format":      {func(s *saved) { s.manifest.Format = 0 }, "no backup of tlsink"},
		"another zone":   {func(s *saved) { s.manifest.Zone = "other.example" }, `of zone "other.example"`},
		"too many files": {func(s *saved) { s.manifest.Files = make([]manifestFile, maxBackupFiles+1) }, "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newSaved(t)
			c.change(b)
			refuses(t, b.archive(t), c.want)
		})
	}
	if _, err := os.Lstat(elsewhere); err == nil {
		t.Error("a file was made elsewhere")
	}
}

func refuses(t *testing.T, archive []byte, want string) {
	t.Helper()
	parent := t.TempDir()
	cfg := &config.Config{Zone: "sink.example", DataDir: filepath.Join(parent, "data")}
	_, err := restore(cfg, bytes.NewReader(archive))
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	if left := filesIn(t, parent); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	whole := newSaved(t).archive(t)
	for _, cut := range []int{0, 1, 20, len(whole) / 4, len(whole) / 2, len(whole) - 5} {
		refuses(t, whole[:cut], "")
	}
	for at := 12; at < len(whole); at += len(whole)/50 + 1 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x10
		refuses(t, damaged, "")
	}
	refuses(t, []byte("no backup"), "no backup of tlsink")
	var other bytes.Buffer
	z := gzip.NewWriter(&other)
	_, _ = io.WriteString(z, strings.Repeat("something else", 100))
	_ = z.Close()
	refuses(t, other.Bytes(), "no backup of tlsink")
}

func TestRestoreIntoAnEmptyDirectoryOnly(t *testing.T) {
	archive := newSaved(t).archive(t)
	cfg := &config.Config{Zone: "sink.example", DataDir: t.TempDir()}
	if m, err := restore(cfg, bytes.NewReader(archive)); err != nil || m.Version != "test" {
		t.Fatalf("into an empty directory: %v", err)
	}
	want := filesIn(t, cfg.DataDir)
	if len(want) != 3 {
		t.Errorf("restored %q", want)
	}
	if _, err := restore(cfg, bytes.NewReader(archive)); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("again: %v", err)
	}
	if got := filesIn(t, cfg.DataDir); len(got) != len(want) {
		t.Errorf("the second one left %q", got)
	}
}

// Files that change while they are read are read again.
func TestBackupSettles(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "zone.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("1")
	n := 0
	files, err := settled(dir, func() error {
		if n++; n < 3 {
			write(strings.Repeat("x", n))
		}
		return nil
	})
	if err != nil || n != 3 || len(files) != 1 || string(files[0].data) != "xx" {
		t.Errorf("after %d turns: %v, %v", n, files, err)
	}
	_, err = settled(dir, func() error {
		n++
		write(strings.Repeat("y", n))
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "change all the time") {
		t.Errorf("files that never settle: %v", err)
	}
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, _ = w.Write(b)
		_ = w.Close()
		cfg := &config.Config{Zone: "sink.example", DataDir: filepath.Join(t.TempDir(), "data")}
		if _, err := restore(cfg, &z); err == nil {
			t.Error("restored")
		}
	})
}

func TestBackupNowhere(t *testing.T) {
	for _, c := range []struct {
		path string
		err  error
		want string
	}{
		{"/b/.new-1", syscall.ENOSPC, "free some space there"},
		{"/b/.new-1", syscall.EROFS, "choose a directory"},
		{"/b/.new-1", syscall.ENOENT, "choose a directory"},
		{"/b/.new-1", syscall.EIO, ""},
		{"/data/history.db", syscall.ENOENT, ""},
	} {
		got := whereElse("/b/file", fmt.Errorf("x: %w", &fs.PathError{Op: "write", Path: c.path, Err: c.err}))
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s, %v: %q, want %q", c.path, c.err, got, c.want)
		}
	}
}

// filesIn lists the files below dir with their modes.
func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		out = append(out, fmt.Sprintf("%s %v", rel, info.Mode()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
