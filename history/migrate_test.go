package history_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
)

// everything is what a file holds, as its readers see it.
type everything struct {
	Connections []history.ConnectionRecord
	Tests       []history.TestRecord
	Histories   map[string]evidence.History
	Queue       []history.QueueItem
	Messages    map[string]string // of the queue
	Mailbox     []history.MailboxItem
	Mail        map[string]string
}

func contents(t *testing.T, s *history.Store) everything {
	t.Helper()
	ctx := t.Context()
	e := everything{
		Connections: must[[]history.ConnectionRecord](t)(s.Connections(ctx, history.ConnectionFilter{})),
		Tests:       must[[]history.TestRecord](t)(s.Tests(ctx, history.TestFilter{})),
		Queue:       must[[]history.QueueItem](t)(s.Queue(ctx)),
		Mailbox:     must[[]history.MailboxItem](t)(s.Mailbox(ctx)),
		Histories:   make(map[string]evidence.History), Messages: make(map[string]string), Mail: make(map[string]string),
	}
	for _, r := range e.Tests {
		e.Histories[r.Test.ID] = must[evidence.History](t)(s.History(r.Test.ID))
	}
	for _, q := range e.Queue {
		e.Messages[q.ID] = string(must[history.QueueItem](t)(s.QueueItem(q.ID)).Message)
	}
	for _, m := range e.Mailbox {
		e.Mail[m.ID] = string(must[[]byte](t)(s.MailboxMessage(m.ID)))
	}
	return e
}

// oldFile returns a file that tlsink wrote before version 2.
func oldFile(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("testdata/history.v1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	z := must[*gzip.Reader](t)(gzip.NewReader(bytes.NewReader(b)))
	b = must[[]byte](t)(io.ReadAll(z))
	p := filepath.Join(t.TempDir(), "history.db")
	if err := os.WriteFile(p, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// checkOldContents compares the file with what the program that wrote it read.
func checkOldContents(t *testing.T, path string) {
	t.Helper()
	var want everything
	var compact bytes.Buffer // a verdict is kept as it is written
	if err := json.Compact(&compact, must[[]byte](t)(os.ReadFile("testdata/history.v1.json"))); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(compact.Bytes(), &want); err != nil {
		t.Fatal(err)
	}
	s := open(t, history.Options{Path: path})
	var got everything // the same way, for what JSON does not tell apart
	if err := json.Unmarshal(must[[]byte](t)(json.Marshal(contents(t, s))), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after the migration (-want +got):\n%s", diff)
	}
	if len(got.Connections) != 3 || len(got.Tests) != 2 || len(got.Histories["T1"].Connections) != 1 || len(got.Queue) != 2 || len(got.Mail) != 1 {
		t.Errorf("the file has less in it than it was made with: %+v", got)
	}
	if due := must[[]history.QueueItem](t)(s.Due(at(60), 0)); len(due) != 1 || due[0].ID != "T2" {
		t.Errorf("due: %v, want T2", due)
	}
	if r, err := s.ByCapability("cap-T1"); err != nil || r.Test.ID != "T1" {
		t.Errorf("by capability: %q, %v", r.Test.ID, err)
	}
	if err := s.SetValue(t.Context(), "key", []byte("value")); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestMigrationKeepsEverything(t *testing.T) {
	p := oldFile(t)
	before := must[[]byte](t)(os.ReadFile(p))
	var log bytes.Buffer
	s := open(t, history.Options{Path: p, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"history updated", "from=1", fmt.Sprintf("to=%d", history.Version), "history.db.v1"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q: %s", want, log.String())
		}
	}
	checkOldContents(t, p)

	if v, err := history.Verify(p); v != history.Version || err != nil {
		t.Errorf("the file: version %d, %v", v, err)
	}
	kept := p + ".v1"
	if v, err := history.Verify(kept); v != 1 || err != nil {
		t.Errorf("its copy: version %d, %v", v, err)
	}
	if info := must[os.FileInfo](t)(os.Stat(kept)); info.Mode().Perm() != 0o600 {
		t.Errorf("the copy has mode %v", info.Mode())
	}
	checkOldContents(t, kept)

	// An older file put in its place: both copies stay.
	if err := os.WriteFile(p, before, 0o600); err != nil {
		t.Fatal(err)
	}
	checkOldContents(t, p)
	if v, err := history.Verify(p + ".v1-2"); v != 1 || err != nil {
		t.Errorf("second copy: version %d, %v", v, err)
	}
}

func TestFailedMigrationChangesNothing(t *testing.T) {
	p := oldFile(t)
	for range 3 { // it is started again and again
		err := history.OpenWithStep(history.Options{Path: p}, func(tx *bolt.Tx) error {
			return errors.Join(tx.DeleteBucket([]byte("tests")), errors.New("cannot be done"))
		})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("from schema version %d to %d: cannot be done; the file is unchanged", history.Version, history.Version+1)) {
			t.Errorf("error %v", err)
		}
	}
	if v, err := history.Verify(p); v != 1 || err != nil {
		t.Errorf("version %d, %v", v, err)
	}
	if left := must[[]string](t)(filepath.Glob(p + "?*")); !slices.Equal(left, []string{p + ".v1"}) {
		t.Errorf("beside it: %q, want one copy", left)
	}
	checkOldContents(t, p)
}

func TestKilledMigrationChangesNothing(t *testing.T) {
	p := oldFile(t)
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), migrationFile+"="+p)
	out, err := child.CombinedOutput()
	if x, ok := errors.AsType[*exec.ExitError](err); !ok || x.ExitCode() != -1 {
		t.Fatalf("the child was not killed: %v: %s", err, out)
	}
	if v, err := history.Verify(p); v != 1 || err != nil {
		t.Errorf("version %d, %v", v, err)
	}
	checkOldContents(t, p)
}

// migrateUntilKilled ends the process in the middle of a migration.
func migrateUntilKilled(path string) error {
	return history.OpenWithStep(history.Options{Path: path}, func(tx *bolt.Tx) error {
		if err := tx.DeleteBucket([]byte("tests")); err != nil {
			return err
		}
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	})
}

func TestValues(t *testing.T) {
	p := path(t)
	s := open(t, history.Options{Path: p})
	if _, err := s.Value("acme/account"); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("no value yet: %v", err)
	}
	big := bytes.Repeat([]byte("x"), 1<<20-1)
	for key, value := range map[string][]byte{"acme/account": []byte("{}"), "empty": {}, "big": big, "gone": []byte("x")} {
		if err := s.SetValue(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.SetValue(t.Context(), "gone", nil), s.SetValue(t.Context(), "never", nil), s.SetValue(t.Context(), "acme/account", []byte("[]")), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, history.Options{Path: p})
	for key, want := range map[string][]byte{"acme/account": []byte("[]"), "empty": {}, "big": big} {
		if got, err := s.Value(key); err != nil || !bytes.Equal(got, want) || got == nil {
			t.Errorf("%s: %d octets, %v", key, len(got), err)
		}
	}
	if _, err := s.Value("gone"); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("deleted value: %v", err)
	}
	for name, err := range map[string]error{
		"empty key":   s.SetValue(t.Context(), "", nil),
		"NUL":         s.SetValue(t.Context(), "a\x00b", nil),
		"long key":    s.SetValue(t.Context(), strings.Repeat("k", 300), nil),
		"large value": s.SetValue(t.Context(), "k", append(big, 'x')),
	} {
		if err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	damaged := oldFile(t)
	b := must[[]byte](t)(os.ReadFile(damaged))
	for i := 4 * 4096; i < len(b); i++ {
		b[i] ^= 0x55
	}
	garbage, empty, other := filepath.Join(dir, "garbage"), filepath.Join(dir, "empty"), filepath.Join(dir, "other")
	if err := errors.Join(os.WriteFile(damaged, b, 0o600), os.WriteFile(garbage, bytes.Repeat([]byte("no bolt file"), 1000), 0o600)); err != nil {
		t.Fatal(err)
	}
	edit(t, empty, func(*bolt.Tx) error { return nil })
	edit(t, other, func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("users"))
		return err
	})
	for p, want := range map[string]string{damaged: "damaged", garbage: "damaged", empty: "empty", other: "no tlsink history", filepath.Join(dir, "none"): "no such file"} {
		if _, err := history.Verify(p); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), p) {
			t.Errorf("%s: %v, want %q", p, err, want)
		}
	}
	if _, err := history.Open(history.Options{Path: other}); err == nil || !strings.Contains(err.Error(), "no tlsink history") {
		t.Errorf("file of another program: %v", err)
	}
}
