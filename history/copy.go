package history

import (
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// CopyTo writes a consistent copy of the file, itself a history, while the
// store is in use. A file of that name is overwritten; the copy is durable when
// CopyTo returns. It must lie on a local disk: the pages of a file that is being
// copied cannot be used again.
func (s *Store) CopyTo(path string) error {
	if err := copyTo(s.db, path); err != nil {
		return fmt.Errorf("copy history to %q: %w", path, err)
	}
	return nil
}

// Copy does the same with a file that no process has open for writing.
func Copy(from, to string) (err error) {
	db, err := bolt.Open(from, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return openError(from, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := guard(func() error { return copyTo(db, to) }); err != nil {
		return fmt.Errorf("copy history to %q: %w", to, err)
	}
	return nil
}

func copyTo(db *bolt.DB, name string) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := db.View(func(tx *bolt.Tx) error {
		_, err := tx.WriteTo(f)
		return err
	}); err != nil {
		return err
	}
	return f.Sync()
}
