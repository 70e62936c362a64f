package history

import (
	"bytes"
	"context"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Value returns what SetValue stored under key, or an error that wraps
// ErrNotFound. Keys are those of other packages, e.g. "acme/account": state
// that must survive a restart and belongs to no test.
func (s *Store) Value(key string) ([]byte, error) {
	if err := checkID("value", key); err != nil {
		return nil, err
	}
	var out []byte
	err := s.view(func(tx *bolt.Tx) error {
		v := bucket(tx, bucketValues).Get([]byte(key))
		switch {
		case v == nil:
			return fmt.Errorf("value %q: %w", key, ErrNotFound)
		case len(v) < 1 || v[0] != valueVersion:
			return fmt.Errorf("value %q: damaged, or written by a later tlsink: restore a backup", key)
		}
		out = bytes.Clone(v[1:])
		return nil
	})
	return out, err
}

// SetValue stores value, at most 1 MiB, under key. It is on disk when SetValue
// returns. A nil value deletes; deleting what is not there is no error. If ctx
// ends first, the change may still happen.
func (s *Store) SetValue(ctx context.Context, key string, value []byte) error {
	if err := checkID("value", key); err != nil {
		return err
	}
	if len(value) >= maxValue {
		return fmt.Errorf("value %q: %d octets, less than %d are stored", key, len(value), maxValue)
	}
	if value == nil {
		return s.do(ctx, func(tx *bolt.Tx) error { return bucket(tx, bucketValues).Delete([]byte(key)) })
	}
	stored := append([]byte{valueVersion}, value...)
	return s.do(ctx, func(tx *bolt.Tx) error { return bucket(tx, bucketValues).Put([]byte(key), stored) })
}
