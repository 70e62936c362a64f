package backups

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tlsink/tlsink/history"
)

// A backup is a tar.gz: the manifest first, then the files that it lists, in
// its order, with the names they have in data_dir.

const (
	manifestName   = "manifest.json"
	historyName    = "history.db"
	backupFormat   = 1
	maxManifest    = 4 << 20  // octets
	maxBackupFiles = 20_000   // 14 keys and certificates of each algorithm for a slot
	maxSmallFile   = 16 << 20 // octets, of any file but the history
)

// manifest says what a backup has in it.
type manifest struct {
	Format  int            `json:"format"`
	Version string         `json:"version"` // of the program
	Time    time.Time      `json:"time"`
	Zone    string         `json:"zone"`
	History int            `json:"history"` // schema version of history.db
	Files   []manifestFile `json:"files"`
}

type manifestFile struct {
	Name   string      `json:"name"`
	Size   int64       `json:"size"`
	Mode   fs.FileMode `json:"mode"`
	SHA256 string      `json:"sha256"`
}

// check refuses what no backup of ours has.
func (m *manifest) check() error {
	switch {
	case m.Format > backupFormat:
		return fmt.Errorf("it has format %d, written by a later tlsink (%s); this one knows %d: restore it with the later one", m.Format, m.Version, backupFormat)
	case m.Format != backupFormat:
		return fmt.Errorf("its manifest has format %d, want %d: this is no backup of tlsink", m.Format, backupFormat)
	case m.History > history.Version:
		return fmt.Errorf("its history has schema version %d, written by a later tlsink (%s); this one knows %d: restore it with the later one", m.History, m.Version, history.Version)
	case len(m.Files) > maxBackupFiles:
		return fmt.Errorf("%d files, at most %d are expected", len(m.Files), maxBackupFiles)
	}
	seen := make(map[string]bool)
	for _, f := range m.Files {
		limit := int64(maxSmallFile)
		if f.Name == historyName {
			limit = 1 << 40
		}
		switch {
		case !filepath.IsLocal(f.Name) || path.Clean(f.Name) != f.Name || strings.ContainsAny(f.Name, "\\\x00") || strings.HasPrefix(f.Name, "."):
			return fmt.Errorf("file %q is none of data_dir", f.Name)
		case seen[f.Name]:
			return fmt.Errorf("file %q is in it twice", f.Name)
		case f.Size < 0 || f.Size > limit:
			return fmt.Errorf("file %q has %d octets, at most %d are expected", f.Name, f.Size, limit)
		case f.Mode&^0o644 != 0:
			return fmt.Errorf("file %q has mode %v, want 0600 or 0644", f.Name, f.Mode)
		}
		seen[f.Name] = true
	}
	if !seen[historyName] {
		return errors.New("history.db is not in it: this is no backup of tlsink")
	}
	return nil
}

// smallFile is a file of data_dir, but for the history.
type smallFile struct {
	manifestFile
	modified time.Time
	data     []byte
}

// smallFiles reads keys, certificates and the state of the zone.
func smallFiles(dir string) ([]smallFile, error) {
	var out []smallFile
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(d.Name(), "."): // being written
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular() || strings.HasPrefix(rel, historyName): // and its copies
			return nil
		}
		one, err := readSmall(name, rel)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // replaced meanwhile; settled notices
		}
		if err == nil {
			out = append(out, one)
		}
		if len(out) > maxBackupFiles {
			return fmt.Errorf("more than %d files in data_dir", maxBackupFiles)
		}
		return err
	})
	slices.SortFunc(out, func(a, b smallFile) int { return cmp.Compare(a.Name, b.Name) })
	return out, err
}

func readSmall(name, rel string) (smallFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return smallFile{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return smallFile{}, err
	}
	if info.Size() > maxSmallFile {
		return smallFile{}, fmt.Errorf("%s has %d octets, at most %d are expected: is it no file of tlsink?", name, info.Size(), maxSmallFile)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSmallFile))
	if err != nil {
		return smallFile{}, err
	}
	sum := sha256.Sum256(data)
	return smallFile{
		manifestFile: manifestFile{Name: filepath.ToSlash(rel), Size: int64(len(data)), Mode: info.Mode().Perm() & 0o644, SHA256: hex.EncodeToString(sum[:])},
		modified:     info.ModTime(), data: data,
	}, nil
}

// settled reads the files, and what take does, until the files did not change
// meanwhile: keys and the state of their roll must fit.
func settled(dir string, take func() error) ([]smallFile, error) {
	const attempts = 5
	for range attempts {
		before, err := smallFiles(dir)
		if err != nil {
			return nil, err
		}
		if err := take(); err != nil {
			return nil, err
		}
		after, err := smallFiles(dir)
		if err != nil {
			return nil, err
		}
		if slices.EqualFunc(before, after, func(a, b smallFile) bool { return a.manifestFile == b.manifestFile }) {
			return after, nil
		}
	}
	return nil, fmt.Errorf("the files in %s change all the time: try again in a minute", dir)
}

// writeArchive writes a backup of files and of a copy of the history.
func writeArchive(w io.Writer, m manifest, files []smallFile, historyFile string) error {
	f, err := os.Open(historyFile)
	if err != nil {
		return err
	}
	defer f.Close()
	digest := sha256.New()
	size, err := io.Copy(digest, f)
	if err != nil {
		return err
	}
	m.Format = backupFormat
	for _, one := range files {
		m.Files = append(m.Files, one.manifestFile)
	}
	last := manifestFile{Name: historyName, Size: size, Mode: 0o600, SHA256: hex.EncodeToString(digest.Sum(nil))}
	m.Files = append(m.Files, last)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	head, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	add := func(name string, mode fs.FileMode, size int64, at time.Time, r io.Reader) error {
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: int64(mode), Size: size, ModTime: at, Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
			return err
		}
		_, err := io.Copy(t, r)
		return err
	}
	if err := add(manifestName, 0o600, int64(len(head)), m.Time, strings.NewReader(string(head))); err != nil {
		return err
	}
	for _, one := range files {
		if err := add(one.Name, one.Mode, one.Size, one.modified, strings.NewReader(string(one.data))); err != nil {
			return err
		}
	}
	return errors.Join(add(last.Name, last.Mode, size, m.Time, f), t.Close(), z.Close())
}

// readArchive checks a backup while it unpacks it into dir. What it leaves there
// after an error is worth nothing.
func readArchive(r io.Reader, dir *os.Root, accept func(manifest) error) (manifest, error) {
	var m manifest
	z, err := gzip.NewReader(r)
	if err != nil {
		return m, fmt.Errorf("this is no backup of tlsink: %w", err)
	}
	t := tar.NewReader(z)
	h, err := t.Next()
	if err != nil || h.Name != manifestName || h.Size > maxManifest {
		return m, errors.Join(errors.New("its first file is no manifest: this is no backup of tlsink"), err)
	}
	if err := json.NewDecoder(io.LimitReader(t, maxManifest)).Decode(&m); err != nil {
		return m, fmt.Errorf("its manifest cannot be read: %w", err)
	}
	if err := m.check(); err != nil {
		return m, err
	}
	if err := accept(m); err != nil {
		return m, err
	}
	for _, f := range m.Files {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return m, fmt.Errorf("it ends before %q: it is incomplete", f.Name)
		case err != nil:
			return m, fmt.Errorf("it is damaged before %q: %w", f.Name, err)
		case h.Name != f.Name || h.Typeflag != tar.TypeReg || h.Size != f.Size:
			return m, fmt.Errorf("%q comes where the manifest has %q of %d octets: it is damaged", h.Name, f.Name, f.Size)
		}
		if err := unpack(t, dir, f); err != nil {
			return m, err
		}
	}
	if h, err := t.Next(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = fmt.Errorf("file %q", h.Name)
		}
		return m, fmt.Errorf("something follows the last file: %w", err)
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(z, maxManifest)); err != nil { // its checksum comes last
		return m, fmt.Errorf("it is damaged at its end: %w", err)
	}
	return m, nil
}

func unpack(r io.Reader, dir *os.Root, f manifestFile) (err error) {
	if parent := path.Dir(f.Name); parent != "." {
		if err := dir.MkdirAll(parent, 0o700); err != nil {
			return err
		}
	}
	out, err := dir.OpenFile(f.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.Mode|0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	digest := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, digest), io.LimitReader(r, f.Size))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("it ends in %q: it is incomplete", f.Name)
	case err != nil:
		return fmt.Errorf("%q: %w", f.Name, err)
	case n != f.Size || hex.EncodeToString(digest.Sum(nil)) != f.SHA256:
		return fmt.Errorf("%q is not what was saved: the backup is damaged", f.Name)
	}
	return out.Sync()
}
