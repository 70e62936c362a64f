package history

import (
	"bytes"
	"context"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// SetAnalysis stores what was found out about the domain of a test's sender as a
// receiver, less than 1 MiB. It is deleted with the test, and on disk when
// SetAnalysis returns. An error wraps ErrNotFound if there is no such test.
func (s *Store) SetAnalysis(ctx context.Context, testID string, analysis []byte) error {
	if err := checkID("test", testID); err != nil {
		return err
	}
	if len(analysis) >= maxValue {
		return fmt.Errorf("analysis for test %q: %d octets, less than %d are stored", testID, len(analysis), maxValue)
	}
	stored := append([]byte{valueVersion}, analysis...)
	missing := false
	err := s.do(ctx, func(tx *bolt.Tx) error {
		if missing = bucket(tx, bucketTests).Get([]byte(testID)) == nil; missing {
			return nil
		}
		return bucket(tx, bucketAnalyses).Put([]byte(testID), stored)
	})
	if err == nil && missing {
		return fmt.Errorf("test %q: %w", testID, ErrNotFound)
	}
	return err
}

// Analysis returns what SetAnalysis stored, or an error that wraps ErrNotFound.
func (s *Store) Analysis(testID string) ([]byte, error) {
	if err := checkID("test", testID); err != nil {
		return nil, err
	}
	var out []byte
	err := s.view(func(tx *bolt.Tx) error {
		v := bucket(tx, bucketAnalyses).Get([]byte(testID))
		switch {
		case v == nil:
			return fmt.Errorf("analysis for test %q: %w", testID, ErrNotFound)
		case len(v) < 1 || v[0] != valueVersion:
			return fmt.Errorf("analysis for test %q: damaged, or written by a later tlsink: restore a backup", testID)
		}
		out = bytes.Clone(v[1:])
		return nil
	})
	return out, err
}
