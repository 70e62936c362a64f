package history_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
)

// fullDisk is a disk that is full as long as the test says so.
type fullDisk struct {
	path         string
	fill, relief func() error
}

// sizeLimit lets no file of this process grow: writes fail as on a full disk,
// with EFBIG instead of ENOSPC.
func sizeLimit(path string) fullDisk {
	set := func(n uint64) error {
		var l syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			return err
		}
		l.Cur = min(n, l.Max)
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l)
	}
	return fullDisk{path, func() error { return set(40 << 10) }, func() error { return set(1 << 62) }}
}

// TestFullDisk runs survive in another process, since the limit is one of
// processes.
func TestFullDisk(t *testing.T) {
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), fullFile+"="+path(t))
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestFullFileSystem does the same on a disk that is really full.
func TestFullFileSystem(t *testing.T) {
	lab := os.Getenv("TLSINK_LAB")
	if lab == "" {
		t.Skip("TLSINK_LAB is not set: no file system is mounted")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		if lab == "require" {
			t.Fatal(err)
		}
		t.Skipf("cannot mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	err := survive(fullDisk{
		path: filepath.Join(dir, "history.db"),
		fill: func() error {
			err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600)
			if !errors.Is(err, syscall.ENOSPC) {
				return fmt.Errorf("the disk is not full: %w", err)
			}
			return nil
		},
		relief: func() error { return os.Remove(ballast) },
	})
	if err != nil {
		t.Error(err)
	}
}

// survive writes before, while and after the disk is full. What was refused as
// a batch comes later, in order; nothing is acknowledged that is not there; and
// there are few lines in the log.
func survive(d fullDisk) error {
	var log bytes.Buffer
	clock := t0()
	s, err := history.Open(history.Options{Path: d.path, Logger: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return clock }})
	if err != nil {
		return err
	}
	ctx := context.Background()
	var acknowledged, all []string
	big := strings.Repeat("x", 3000)
	commit := func(i int) error {
		id := fmt.Sprintf("c%03d", i)
		c := connection(id, at(i))
		c.Helo = []string{big}
		all = append(all, id)
		err := s.Commit(ctx, history.Batch{Connections: []evidence.Connection{c}})
		if err == nil {
			acknowledged = append(acknowledged, id)
		}
		return err
	}
	if err := commit(0); err != nil {
		return err
	}
	if err := d.fill(); err != nil {
		return err
	}
	refused := 0
	for i := 1; i < 200; i++ {
		clock = clock.Add(100 * time.Millisecond)
		switch err := commit(i); {
		case err == nil && refused > 0:
			return errors.New("written while the disk is full")
		case err != nil && !errors.Is(err, history.ErrDisk):
			return fmt.Errorf("refused without ErrDisk: %w", err)
		case err != nil:
			refused++
		}
	}
	if refused < 100 {
		return fmt.Errorf("only %d of 199 were refused: the disk is not full", refused)
	}
	if err := s.Deliver(ctx, "a@sender.example", []string{"postmaster"}, strings.NewReader(big)); !errors.Is(err, history.ErrDisk) {
		return fmt.Errorf("mail to postmaster: %w", err)
	}
	if err := s.Trouble(); err == nil || !strings.Contains(err.Error(), "free some space") {
		return fmt.Errorf("trouble: %w", err)
	}
	if _, err := s.Connection("c000"); err != nil { // reading goes on
		return err
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "free some space on the disk of") {
		return fmt.Errorf("want one line in the log:\n%s", log.String())
	}
	if err := d.relief(); err != nil {
		return err
	}
	clock = clock.Add(time.Minute)
	if err := commit(200); err != nil {
		return fmt.Errorf("after space is back: %w", err)
	}
	if err := s.Trouble(); err != nil || !strings.Contains(log.String(), "history is written again") {
		return fmt.Errorf("recovered: %w\n%s", err, log.String())
	}
	for round := range 2 { // also after reopening
		list, err := s.Connections(ctx, history.ConnectionFilter{})
		if err != nil {
			return err
		}
		if got := ids(list); !slices.Equal(got, all) {
			return fmt.Errorf("round %d: %d connections, want all %d", round, len(got), len(all))
		}
		mail, err := s.Mailbox(ctx)
		if err != nil || len(mail) != 0 {
			return fmt.Errorf("a refused mail is in the mailbox: %v, %w", mail, err)
		}
		if err := s.Close(); err != nil {
			return err
		}
		if _, err := history.Verify(d.path); err != nil {
			return err
		}
		if s, err = history.Open(history.Options{Path: d.path}); err != nil {
			return err
		}
	}
	return s.Close()
}

func surviveSizeLimit(path string) error { return survive(sizeLimit(path)) }
