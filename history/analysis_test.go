package history_test

import (
	"errors"
	"testing"

	"github.com/tlsink/tlsink/history"
)

func TestAnalysisLivesAsLongAsItsTest(t *testing.T) {
	for name, remove := range map[string]func(s *history.Store) error{
		"retention": func(s *history.Store) error {
			_, err := s.Purge(t.Context(), at(10_000))
			return err
		},
		"on request": func(s *history.Store) error {
			_, err := s.DeletePerson(t.Context(), "a@sender.example")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, history.Options{})
			if err := s.SetAnalysis(t.Context(), "T1", []byte("{}")); !errors.Is(err, history.ErrNotFound) {
				t.Errorf("without a test: %v", err)
			}
			r := history.TestRecord{State: history.StateAcked}
			r.Test.ID, r.Test.Sender, r.Test.Started, r.Acked = "T1", "a@sender.example", at(0), at(1)
			commit(t, s, history.Batch{Tests: []history.TestRecord{r}})
			if _, err := s.Analysis("T1"); !errors.Is(err, history.ErrNotFound) {
				t.Errorf("before it was stored: %v", err)
			}
			for _, want := range []string{`{"domain":"a"}`, `{"domain":"b"}`} {
				if err := s.SetAnalysis(t.Context(), "T1", []byte(want)); err != nil {
					t.Fatal(err)
				}
				if got, err := s.Analysis("T1"); string(got) != want || err != nil {
					t.Errorf("stored %s, read %s, %v", want, got, err)
				}
			}
			if err := s.SetAnalysis(t.Context(), "T1", make([]byte, 1<<20)); err == nil {
				t.Error("a whole mebibyte is stored")
			}
			if err := remove(s); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Analysis("T1"); !errors.Is(err, history.ErrNotFound) {
				t.Errorf("after its test was deleted: %v", err)
			}
		})
	}
}
