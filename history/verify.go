package history

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Verify reads all of a file that no process has open, a backup for example,
// and returns its version. It changes nothing. It fails if the file is
// damaged, is no history, or was written by a later version.
func Verify(path string) (version int, err error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return 0, openError(path, err)
	}
	defer func() {
		if e := db.Close(); e != nil && err == nil {
			err = fmt.Errorf("close history %q: %w", path, e)
		}
	}()
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			var err error
			if version, err = fileVersion(tx); err != nil {
				return err
			}
			if version == 0 {
				return errors.New("it is empty")
			}
			if err := checkVersion(version, Version); err != nil {
				return err
			}
			return tx.ForEach(func(_ []byte, b *bolt.Bucket) error { return walk(b) })
		})
	})
	if err != nil {
		return version, fmt.Errorf("history %q: %w", path, err)
	}
	return version, nil
}

// sound reads the pages of a file that is there, before it is opened for
// writing: bbolt looks for free pages in a goroutine of its own then, whose
// panics end the process.
func sound(path string, lockTimeout time.Duration) error {
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		return nil //nolint:nilerr // opening it will tell
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if err != nil {
		return openError(path, err)
	}
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			return tx.ForEach(func(_ []byte, b *bolt.Bucket) error { return walk(b) })
		})
	})
	if err != nil {
		err = fmt.Errorf("open history %q: %w", path, err)
	}
	return errors.Join(err, db.Close())
}

// walk visits every key. Pages that are none make bbolt panic.
func walk(b *bolt.Bucket) error {
	var last []byte
	return b.ForEach(func(k, _ []byte) error {
		if last != nil && bytes.Compare(last, k) >= 0 {
			return fmt.Errorf("damaged: key %q after %q", k, last)
		}
		last = k
		return nil
	})
}

// guard turns the panics of bbolt on damaged files into errors, also those of
// pages behind the end of the file.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged: %v: move it away and restore a backup", r)
		}
	}()
	return f()
}
