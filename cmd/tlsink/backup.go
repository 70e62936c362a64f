package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/tlsink/tlsink/history"
)

// backupPattern names the copies of the history that a backup is made from.
const backupPattern = ".backup-*"

type backupCmd struct {
	configFlag
	File string `arg:"" help:"File to write, a .tar.gz with secret keys in it; - is standard output." type:"path" placeholder:"FILE"`
}

// Run saves data_dir: from the running service, or without one from the disk.
func (c *backupCmd) Run(e *env) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	from := func(w io.Writer) error {
		r, err := controlStream(e.ctx, cfg.DataDir, http.MethodGet, "/backup")
		if errors.Is(err, errNotRunning) {
			return offlineBackup(&cfg, w)
		}
		if err != nil {
			return err
		}
		defer r.Close()
		if _, err := io.Copy(w, r); err != nil {
			return fmt.Errorf("the running service broke off, its log says why: %w", err)
		}
		return nil
	}
	if c.File == "-" {
		return from(e.stdout)
	}
	size, err := writeAtomically(c.File, from)
	if err != nil {
		return fmt.Errorf("backup %s: %w", c.File, err)
	}
	fmt.Fprintf(e.stderr, "%s: %d octets; it has the secret keys of the service in it\n", c.File, size)
	return nil
}

// writeAtomically has write fill a file, for its owner only, that takes the
// place of an older one once it is complete and on disk.
func writeAtomically(name string, write func(io.Writer) error) (size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(write(f), f.Sync()); err != nil {
		return 0, errors.Join(err, f.Close())
	}
	info, err := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return 0, err
	}
	return info.Size(), syncDir(filepath.Dir(name))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// offlineBackup saves what no service uses.
func offlineBackup(cfg *config, w io.Writer) error {
	file := cfg.path(historyName)
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("data_dir %q: nothing to back up: %w", cfg.DataDir, err)
	}
	return backup(cfg, w, func(to string) error { return history.Copy(file, to) })
}

// backup saves data_dir, with a copy of the history that copyHistory makes.
func backup(cfg *config, w io.Writer, copyHistory func(to string) error) (err error) {
	temporary, err := os.MkdirTemp(cfg.DataDir, backupPattern)
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	copied := filepath.Join(temporary, historyName)
	files, err := settled(cfg.DataDir, func() error { return copyHistory(copied) })
	if err != nil {
		return err
	}
	version, err := history.Verify(copied)
	if err != nil {
		return err
	}
	return writeArchive(w, manifest{Version: moduleVersion(), Time: time.Now().UTC(), Zone: cfg.Zone, History: version}, files, copied)
}

// begun remembers whether anything was written.
type begun struct {
	io.Writer
	yes bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.yes = true
	return b.Writer.Write(p)
}

// serveBackup writes a backup of the running service. What goes wrong half way
// breaks the connection, so that nobody takes the half for the whole.
func (s *service) serveBackup(w http.ResponseWriter, _ *http.Request) {
	out := &begun{Writer: w}
	err := backup(&s.cfg, out, s.store.CopyTo)
	switch {
	case err == nil:
		s.log.Info("backup written")
	case out.yes:
		s.log.Error("backup failed", "err", err)
		panic(http.ErrAbortHandler)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
