package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tree lists the files below a directory with their modes.
func tree(t *testing.T, dir string) []string {
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

// A backup of a service at work, put into another data_dir, is that service: it
// has the same keys, and all that was answered before the backup began.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	var answered []string
	for i := range 5 {
		sender := fmt.Sprintf("before%d@sender.example", i)
		if code, text := p.connect(t, "mta.sender.example").mail(sender, "en@et.sink.example", mailText(sender, sender)); code != 451 {
			t.Fatalf("%d %s", code, text)
		}
		answered = append(answered, sender)
	}
	p.connect(t, "mta.sender.example").mail("a@sender.example", "postmaster@sink.example", "Subject: hello\r\n\r\nHello.")
	zone := p.ask(t, "zone")

	stop := make(chan struct{})
	var wg sync.WaitGroup
	for n := range 2 { // it is at work meanwhile
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				sender := fmt.Sprintf("meanwhile%d-%d@sender.example", n, i)
				c := p.connect(t, "mta.sender.example")
				c.mail(sender, "en@et.sink.example", mailText(sender, sender))
				c.cmd(221, "QUIT")
			}
		})
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "tlsink.tar.gz")
	for range 3 {
		if _, stderr, status := runCLI(t, "", "backup", "--config", p.config, file); status != 0 || !strings.Contains(stderr, "secret keys") {
			t.Errorf("backup: status %d, %q", status, stderr)
		}
	}
	close(stop)
	wg.Wait()
	if got := tree(t, dir); !slices.Equal(got, []string{"tlsink.tar.gz -rw-------"}) {
		t.Errorf("the backup left %q", got)
	}
	p.stop(t)
	if left, _ := filepath.Glob(filepath.Join(p.settings.dir(), ".*")); len(left) > 0 {
		t.Errorf("left in data_dir: %q", left)
	}

	restored := newSettings(t)
	if out, stderr, status := runCLI(t, "", "restore", "--config", restored.write(t), file); status != 0 || !strings.Contains(out, "zone sink.example as of") {
		t.Fatalf("restore: status %d, %q, %q", status, out, stderr)
	}
	if a, b := tree(t, p.settings.dir()), tree(t, restored.dir()); !slices.Equal(a, b) {
		t.Errorf("saved %q, restored %q", a, b)
	}
	q := start(t, restored)
	if got := q.ask(t, "zone"); got != zone {
		t.Errorf("the zone has other keys now:\n%s\nwant\n%s", got, zone)
	}
	list := q.ask(t, "history", "list")
	for _, sender := range answered {
		if !strings.Contains(list, sender) {
			t.Errorf("the test of %s is lost", sender)
		}
	}
	if inbox := q.ask(t, "inbox"); !strings.Contains(inbox, "postmaster@sink.example") {
		t.Errorf("mail to postmaster is lost: %s", inbox)
	}
	q.stop(t)

	// Without a service; to standard output.
	out, stderr, status := runCLI(t, "", "backup", "--config", q.config, "-")
	if status != 0 {
		t.Fatalf("offline: %q", stderr)
	}
	again := newSettings(t)
	if _, stderr, status := runCLI(t, out, "restore", "--config", again.write(t), "-"); status != 0 {
		t.Errorf("from standard input: %q", stderr)
	}
	if a, b := tree(t, restored.dir()), tree(t, again.dir()); !slices.Equal(a, b) {
		t.Errorf("saved %q, restored %q", a, b)
	}
}

func TestBackupErrors(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	config := s.write(t)
	if _, stderr, status := runCLI(t, "", "backup", "--config", config, filepath.Join(t.TempDir(), "b")); status != 1 || !strings.Contains(stderr, "nothing to back up") {
		t.Errorf("no data_dir: status %d, %q", status, stderr)
	}
	p := start(t, s)
	nowhere := filepath.Join(t.TempDir(), "none", "b")
	if _, stderr, status := runCLI(t, "", "backup", "--config", p.config, nowhere); status != 1 || !strings.Contains(stderr, "choose a directory that is there") {
		t.Errorf("no folder: status %d, %q", status, stderr)
	}
	// A file that cannot be saved: said before anything is written.
	if err := os.WriteFile(filepath.Join(s.dir(), "huge"), bytes.Repeat([]byte("x"), 16<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, stderr, status := runCLI(t, "", "backup", "--config", p.config, filepath.Join(dir, "b")); status != 1 || !strings.Contains(stderr, "huge has") {
		t.Errorf("a huge file: status %d, %q", status, stderr)
	}
	if left := tree(t, dir); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// Half a restore is no service.
func TestInterruptedRestore(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	if err := os.MkdirAll(filepath.Join(s.dir(), ".restore"), 0o700); err != nil {
		t.Fatal(err)
	}
	fails(t, s, "data_dir", "interrupted restore", "empty it")
	if _, stderr, status := runCLI(t, "", "restore", "--config", s.write(t), "-"); status != 1 || !strings.Contains(stderr, "interrupted restore") {
		t.Errorf("restore: status %d, %q", status, stderr)
	}
}
