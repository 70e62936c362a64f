package history_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
)

// Files that child processes work on: of TestKill, one that dies over a
// migration, and one whose files can't grow.
const (
	crashFile     = "TLSINK_TEST_CRASH_FILE"
	migrationFile = "TLSINK_TEST_MIGRATION_FILE"
	fullFile      = "TLSINK_TEST_FULL_FILE"
)

func TestMain(m *testing.M) {
	for variable, run := range map[string]func(string) error{crashFile: writeUntilKilled, migrationFile: migrateUntilKilled, fullFile: surviveSizeLimit} {
		if path := os.Getenv(variable); path != "" {
			if err := run(path); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// writeUntilKilled commits a connection, its test and a due report at once,
// from several goroutines, and prints each ID once it is acknowledged.
func writeUntilKilled(path string) error {
	s, err := history.Open(history.Options{Path: path})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var out sync.Mutex
	errs := make(chan error, 4)
	for range cap(errs) {
		wg.Go(func() {
			for {
				id := s.NewConnID()
				rec := test(string(id), "a@sender.example", t0())
				err := s.Commit(context.Background(), history.Batch{
					Connections: []evidence.Connection{connection(string(id), t0(), "a@sender.example")},
					Tests:       []history.TestRecord{rec},
					Attach:      []history.Attachment{{Connection: id, Test: rec.Test.ID, Attribution: evidence.ByMail}},
					Enqueue:     []history.QueueItem{{ID: rec.Test.ID, TestID: rec.Test.ID, To: "a@sender.example", Due: t0()}},
				})
				if err != nil {
					errs <- err
					return
				}
				out.Lock()
				fmt.Println(id)
				out.Unlock()
			}
		})
	}
	wg.Wait()
	return <-errs
}

// What was acknowledged survives SIGKILL: the evidence and the report due.
// What was not is there completely or not at all. IDs are never used twice.
func TestKill(t *testing.T) {
	p := path(t)
	acknowledged := make(map[string]bool)
	for round := range 5 {
		wanted := 1 + rand.IntN(300)
		for _, id := range runUntilKilled(t, p, wanted) {
			if acknowledged[id] {
				t.Errorf("round %d: ID %s given out twice", round, id)
			}
			acknowledged[id] = true
		}
		s, err := history.Open(history.Options{Path: p})
		if err != nil {
			t.Fatalf("round %d: reopen: %v", round, err)
		}
		for id := range acknowledged {
			if h, err := s.History(id); err != nil || len(h.Connections) != 1 {
				t.Errorf("round %d: acknowledged test %s: %d connections, %v", round, id, len(h.Connections), err)
			}
			if _, err := s.QueueItem(id); err != nil {
				t.Errorf("round %d: acknowledged report: %v", round, err)
			}
		}
		tests := must[[]history.TestRecord](t)(s.Tests(t.Context(), history.TestFilter{}))
		st := must[history.Stats](t)(s.Stats())
		if n := len(tests); n != st.Tests || n != st.Connections || n != st.Pending {
			t.Errorf("round %d: %d tests, counted %d, %d connections, %d reports: not atomic", round, n, st.Tests, st.Connections, st.Pending)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// runUntilKilled kills the child in the middle of its work, after it
// acknowledged wanted commits, and returns all that it acknowledged.
func runUntilKilled(t *testing.T, path string, wanted int) []string {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), crashFile+"="+path)
	var stderr strings.Builder
	child.Stderr = &stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break // a line without its end was never acknowledged to us
		}
		if ids = append(ids, strings.TrimSpace(line)); len(ids) == wanted {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // killed
	if len(ids) < wanted {
		t.Fatalf("the child ended by itself after %d commits: %s", len(ids), stderr.String())
	}
	return ids
}
