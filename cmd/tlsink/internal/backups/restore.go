package backups

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/internal/durable"
)

// unfinishedRestore is where a restore unpacks to, in data_dir. While it is
// there, what is beside it is not complete.
const unfinishedRestore = ".restore"

// RestoreCmd puts a backup into an empty data_dir.
type RestoreCmd struct {
	Config string `default:"/etc/tlsink/tlsink.toml" help:"Configuration file; its data_dir must be empty or missing." type:"path" placeholder:"FILE"`
	File   string `arg:"" help:"File that 'tlsink backup' wrote; - is standard input." type:"path" placeholder:"BACKUP"`
}

// Run puts a backup into an empty data_dir.
func (c *RestoreCmd) Run(e *cli.Env) error {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	in := e.Stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		defer f.Close()
		in = f
	}
	m, err := restore(&cfg, in)
	if err != nil {
		return fmt.Errorf("restore %s: %w", c.File, err)
	}
	fmt.Fprintf(e.Stdout, "restored %s into %s: zone %s as of %s, %d files\n", c.File, cfg.DataDir, m.Zone, m.Time.Format(time.RFC3339), len(m.Files))
	return nil
}

func restore(cfg *config.Config, in io.Reader) (m manifest, err error) {
	if err := emptyDataDir(cfg.DataDir); err != nil {
		return m, err
	}
	if err := os.MkdirAll(cfg.Path(unfinishedRestore), 0o700); err != nil {
		return m, fmt.Errorf("data_dir: %w: choose a directory that this user may write to", err)
	}
	defer func() {
		if err != nil { // it was empty before
			err = errors.Join(err, clearDir(cfg.DataDir))
		}
	}()
	root, err := os.OpenRoot(cfg.Path(unfinishedRestore))
	if err != nil {
		return m, err
	}
	m, err = readArchive(in, root, func(m manifest) error {
		if m.Zone != cfg.Zone {
			return fmt.Errorf("it is of zone %q, and the configuration says %q: use the configuration that belongs to it", m.Zone, cfg.Zone)
		}
		return enoughSpace(cfg.DataDir, m)
	})
	if err = errors.Join(err, root.Close()); err != nil {
		return m, err
	}
	version, err := history.Verify(cfg.Path(unfinishedRestore, historyName))
	if err != nil {
		return m, err
	}
	if version != m.History {
		return m, fmt.Errorf("its history has schema version %d, its manifest says %d: it is damaged", version, m.History)
	}
	return m, putInPlace(cfg.DataDir)
}

// emptyDataDir refuses to restore over anything.
func emptyDataDir(dir string) error {
	list, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("data_dir: %w", err)
	}
	for _, d := range list {
		if d.Name() == unfinishedRestore {
			return fmt.Errorf("data_dir %q has an interrupted restore in it: empty it, then restore again", dir)
		}
	}
	if len(list) > 0 {
		return fmt.Errorf("data_dir %q is not empty (%s): stop the service and move it away, or choose another data_dir", dir, list[0].Name())
	}
	return nil
}

func clearDir(dir string) error {
	list, err := os.ReadDir(dir)
	for _, d := range list {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, d.Name())))
	}
	return err
}

func enoughSpace(dir string, m manifest) error {
	var need int64
	for _, f := range m.Files {
		need += f.Size
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return nil //nolint:nilerr // writing will tell
	}
	if free := int64(st.Bavail) * st.Bsize; need > free { //nolint:gosec // octets of a disk
		return fmt.Errorf("it needs %d octets in %s, and %d are free", need, dir, free)
	}
	return nil
}

// putInPlace moves what was unpacked, all of it on disk, where the service looks
// for it, and gives it to the owner of data_dir.
func putInPlace(dir string) error {
	staged := filepath.Join(dir, unfinishedRestore)
	if err := giveToOwner(dir, staged); err != nil {
		return err
	}
	err := filepath.WalkDir(staged, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return durable.SyncDir(name)
	})
	if err != nil {
		return err
	}
	list, err := os.ReadDir(staged)
	if err != nil {
		return err
	}
	for _, d := range list {
		if err := os.Rename(filepath.Join(staged, d.Name()), filepath.Join(dir, d.Name())); err != nil {
			return err
		}
	}
	if err := durable.SyncDir(dir); err != nil {
		return err
	}
	return errors.Join(os.Remove(staged), durable.SyncDir(dir))
}

// giveToOwner is for root, who restores for the user of the service.
func giveToOwner(dir, staged string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || st.Uid == 0 {
		return nil
	}
	return filepath.WalkDir(staged, func(name string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, int(st.Uid), int(st.Gid))
	})
}

// CheckRestored refuses to start on half a restore: keys would be made anew
// for those that are still to come.
func CheckRestored(c *config.Config) error {
	if _, err := os.Lstat(c.Path(unfinishedRestore)); err == nil {
		return fmt.Errorf("data_dir %q has an interrupted restore in it: empty it, then restore again", c.DataDir)
	}
	return nil
}

// RemoveLeftovers deletes copies that an interrupted backup left.
func RemoveLeftovers(c *config.Config) {
	list, err := filepath.Glob(c.Path(backupPattern))
	if err != nil {
		return
	}
	for _, name := range list {
		if strings.HasPrefix(name, c.DataDir) {
			os.RemoveAll(name) // what stays only takes space
		}
	}
}
