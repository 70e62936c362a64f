package history_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
)

// BenchmarkAppend stores connections: by one transaction each, as a naive
// program would; by Commit from several callers; by Submit.
//
//	go test ./history -bench Append -run '^$'
func BenchmarkAppend(b *testing.B) {
	b.Run("naive", func(b *testing.B) {
		db, err := bolt.Open(filepath.Join(b.TempDir(), "naive.db"), 0o600, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = db.Close() })
		for i := range b.N {
			value, err := json.Marshal(connection("c", t0(), "a@sender.example"))
			if err != nil {
				b.Fatal(err)
			}
			if err := db.Update(func(tx *bolt.Tx) error {
				bucket, err := tx.CreateBucketIfNotExists([]byte("connections"))
				if err != nil {
					return err
				}
				return bucket.Put(fmt.Appendf(nil, "%012d", i), value)
			}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	})
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("commit-%d", callers), func(b *testing.B) {
			s := open(b, history.Options{})
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					for range share(b.N, callers, c) {
						if err := s.Commit(b.Context(), one(s)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			report(b, s)
		})
	}
	b.Run("submit", func(b *testing.B) {
		s := open(b, history.Options{})
		for range b.N {
			s.Submit(one(s))
		}
		commit(b, s, history.Batch{})
		report(b, s)
	})
}

func one(s *history.Store) history.Batch {
	return history.Batch{Connections: []evidence.Connection{connection(string(s.NewConnID()), t0(), "a@sender.example")}}
}

// share is how many of n fall to caller c.
func share(n, callers, c int) int { return (n + c) / callers }

func report(b *testing.B, s *history.Store) {
	b.Helper()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	st, err := s.Stats()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(st.FileBytes-st.FreeBytes)/float64(b.N), "bytes/connection")
	b.ReportMetric(float64(st.Batches)/float64(st.Transactions), "batches/tx")
}

func BenchmarkNewConnID(b *testing.B) {
	s := open(b, history.Options{})
	for b.Loop() {
		s.NewConnID()
	}
}
