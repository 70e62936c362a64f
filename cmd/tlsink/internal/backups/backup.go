package backups

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/internal/durable"
)

// backupPattern names the copies of the history that a backup is made from.
const backupPattern = ".backup-*"

// BackupCmd saves data_dir.
type BackupCmd struct {
	control.Flag
	File string `arg:"" help:"File to write, a .tar.gz with secret keys in it; - is standard output." type:"path" placeholder:"FILE"`
}

// Run saves data_dir: from the running service, or without one from the disk.
func (c *BackupCmd) Run(e *cli.Env) error {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	from := func(w io.Writer) error {
		r, err := control.Stream(e.Ctx, cfg.DataDir, http.MethodGet, "/backup")
		if errors.Is(err, control.ErrNotRunning) {
			return offlineBackup(&cfg, w)
		}
		if err != nil {
			return err
		}
		defer r.Close()
		if _, err := io.Copy(w, r); err != nil {
			if _, ours := errors.AsType[*fs.PathError](err); ours {
				return err
			}
			return fmt.Errorf("the running service broke off, its log says why: %w", err)
		}
		return nil
	}
	if c.File == "-" {
		return from(e.Stdout)
	}
	err = checkOutside(&cfg, c.File)
	if err == nil {
		err = durable.Write(c.File, 0o600, from)
	}
	if err != nil {
		return fmt.Errorf("backup %s: %w%s", c.File, err, whereElse(c.File, err))
	}
	fmt.Fprintf(e.Stderr, "%s: it has the secret keys of the service in it\n", c.File)
	return nil
}

// checkOutside refuses a file in data_dir: each backup would hold those before.
func checkOutside(c *config.Config, file string) error {
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(dir, file); err == nil && filepath.IsLocal(rel) {
		return fmt.Errorf("this is within data_dir %q, and later backups would hold it: choose another place", c.DataDir)
	}
	return nil
}

// whereElse says what to do if a file cannot be written.
func whereElse(file string, err error) string {
	switch at, ok := errors.AsType[*fs.PathError](err); {
	case !ok || filepath.Dir(at.Path) != filepath.Dir(file):
		return ""
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return ": free some space there, or choose another place; nothing was left behind"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return ": choose a directory that is there, and that this user may write to"
	}
	return ""
}

// offlineBackup saves what no service uses.
func offlineBackup(cfg *config.Config, w io.Writer) error {
	file := cfg.Path(historyName)
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("data_dir %q: nothing to back up: %w", cfg.DataDir, err)
	}
	return Write(cfg, w, func(to string) error { return history.Copy(file, to) })
}

// Write saves data_dir, with a copy of the history that copyHistory makes.
func Write(cfg *config.Config, w io.Writer, copyHistory func(to string) error) (err error) {
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
	return writeArchive(w, manifest{Version: cli.ModuleVersion(), Time: time.Now().UTC(), Zone: cfg.Zone, History: version}, files, copied)
}
