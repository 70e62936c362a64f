package durable_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/tlsink/tlsink/internal/durable"
)

// only fails unless the directory holds one file, with that content and mode:
// nothing on its way is left behind.
func only(t *testing.T, path, want string, mode fs.FileMode) {
	t.Helper()
	list, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || len(list) != 1 || string(got) != want {
		t.Fatalf("%q beside %v, %v; want only %q", got, list, err, want)
	}
	info, err := list[0].Info()
	if err != nil || info.Mode() != mode {
		t.Errorf("mode %v, %v; want %v", info.Mode(), err, mode)
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key.pem")
	for _, c := range []struct {
		data string
		mode fs.FileMode
	}{{"first", 0o600}, {"second, longer", 0o644}, {"", 0o600}} {
		if err := durable.Replace(path, []byte(c.data), c.mode); err != nil {
			t.Fatal(err)
		}
		only(t, path, c.data, c.mode)
	}
}

func TestWriteFails(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	if err := durable.Replace(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("half way")
	err := durable.Write(path, 0o644, func(w io.Writer) error {
		if _, err := io.WriteString(w, "ne"); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want that of the content", err)
	}
	only(t, path, "old", 0o600)
}

func TestReplaceKeepsWhatCannotBeReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.Replace(path, []byte("new"), 0o600); err == nil {
		t.Error("a directory was replaced by a file")
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("%v, %v: something is left beside the directory", list, err)
	}
	if err := durable.Replace(filepath.Join(dir, "missing", "file"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its directory: %v, want fs.ErrNotExist", err)
	}
	if err := durable.SyncDir(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("sync of no directory: %v, want fs.ErrNotExist", err)
	}
}
