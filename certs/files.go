package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tlsink/tlsink/internal/durable"
)

// maxFile is the largest file that is read, in octets. Chains of a public CA
// take a few kilobytes.
const maxFile = 256 << 10

// disk keeps small files under slash-separated names.
type disk interface {
	// read returns the content of a file; ok is false if it does not exist.
	read(name string) (b []byte, ok bool, err error)
	// write replaces a file so that after a crash either the old or the new
	// content is there.
	write(name string, b []byte, mode fs.FileMode) error
	// remove deletes a file, if it exists.
	remove(name string) error
	// list returns the names in a directory; none if it does not exist.
	list(dir string) ([]string, error)
	// path is what an operator knows a file by.
	path(name string) string
}

// files is the disk in a directory. With an empty dir it keeps nothing, and
// finds nothing.
type files struct{ dir string }

func (f files) path(name string) string { return filepath.Join(f.dir, name) }

func (f files) read(name string) (b []byte, ok bool, err error) {
	if f.dir == "" {
		return nil, false, nil
	}
	info, err := os.Stat(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err // names the file
	}
	if info.Size() > maxFile {
		return nil, false, fmt.Errorf("file %q has %d octets, more than %d", f.path(name), info.Size(), maxFile)
	}
	b, err = os.ReadFile(f.path(name))
	return b, err == nil, err
}

func (f files) remove(name string) error {
	if f.dir == "" {
		return nil
	}
	err := os.Remove(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return withFix(err)
}

func (f files) list(dir string) ([]string, error) {
	if f.dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(f.path(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (f files) write(name string, b []byte, mode fs.FileMode) error {
	if f.dir == "" {
		return nil
	}
	path := f.path(name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = durable.Replace(path, b, mode)
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", path, withFix(err))
	}
	return nil
}

// withFix adds what to do about a disk that does not take a file.
func withFix(err error) error {
	fix := ""
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		fix = "free some space on that file system"
	case errors.Is(err, syscall.EROFS):
		fix = "mount that file system read-write, or let the service write to it"
	case errors.Is(err, fs.ErrPermission):
		fix = "give the user that runs tlsink write permission for that directory"
	default:
		return err
	}
	return fmt.Errorf("%w; %s", err, fix)
}
