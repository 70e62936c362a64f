package history

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	bolt "go.etcd.io/bbolt"

	"github.com/tlsink/tlsink/internal/durable"
)

// Version is the version of the file as this package writes it.
const Version = 3

// migration changes a file of one version into one of the next.
type migration func(tx *bolt.Tx) error

// migrations lists the steps from version 0, an empty file, to Version: the
// step with index i makes version i+1. What a step does never changes once it
// was released: a later layout needs another step.
func migrations() []migration {
	return []migration{
		func(tx *bolt.Tx) error { return createBuckets(tx, firstBuckets()) },
		func(tx *bolt.Tx) error { return createBuckets(tx, []string{bucketValues}) },
		func(tx *bolt.Tx) error { return createBuckets(tx, []string{bucketAnalyses}) },
	}
}

// firstBuckets lists the buckets of version 1.
func firstBuckets() []string {
	return []string{
		bucketConnections, bucketConnectionsTime, bucketAttached, bucketTestConnections,
		bucketTests, bucketTestsTime, bucketTestsOpen, bucketTestsCapability, bucketTestsMessageID,
		bucketStates, bucketTestStates, bucketTestQueries, bucketTestFetches,
		bucketQueue, bucketQueueMessage, bucketQueueDue, bucketMailbox, bucketMailboxMessage,
	}
}

func createBuckets(tx *bolt.Tx, names []string) error {
	for _, name := range names {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	return nil
}

// checkBuckets refuses a file that lost a bucket: everything else takes them
// for granted.
func checkBuckets(tx *bolt.Tx) error {
	for _, name := range append(firstBuckets(), bucketMeta, bucketValues, bucketAnalyses) {
		if bucket(tx, name) == nil {
			return fmt.Errorf("bucket %q is missing: the file is damaged: restore a backup", name)
		}
	}
	return nil
}

// fileVersion returns the version of the file; 0 if it is empty.
func fileVersion(tx *bolt.Tx) (int, error) {
	meta := bucket(tx, bucketMeta)
	if meta == nil {
		if k, _ := tx.Cursor().First(); k != nil {
			return 0, fmt.Errorf("it has no schema version, but a bucket %q: this is no tlsink history: move it away", k)
		}
		return 0, nil
	}
	v := meta.Get([]byte(keySchema))
	switch {
	case v == nil:
		return 0, nil
	case len(v) != 8 || binary.BigEndian.Uint64(v) > 1<<31:
		return 0, fmt.Errorf("schema version %x cannot be read: the file is damaged: restore a backup", v)
	}
	return int(binary.BigEndian.Uint64(v)), nil
}

// checkVersion refuses a file of a later version: what this program does not
// know it would damage.
func checkVersion(version, known int) error {
	if version > known {
		return fmt.Errorf("schema version %d was written by a later tlsink; this one knows %d: run the later version, or restore a backup from before the update", version, known)
	}
	return nil
}

// migrate brings the file to the version that steps lead to. They run in one
// transaction, so that a crash leaves the file as it was. A copy of an older
// file is kept beside it: an earlier tlsink does not read the result.
func (s *Store) migrate(steps []migration) error {
	var version int
	err := s.db.View(func(tx *bolt.Tx) (err error) {
		version, err = fileVersion(tx)
		return err
	})
	if err != nil {
		return err
	}
	if err := checkVersion(version, len(steps)); err != nil || version == len(steps) {
		return err
	}
	kept := ""
	if version > 0 {
		if kept, err = s.keep(version); err != nil {
			return fmt.Errorf("keep a copy before the update from schema version %d to %d: free some space beside it, then start again: %w", version, len(steps), err)
		}
	}
	err = s.db.Update(func(tx *bolt.Tx) error {
		for i, step := range steps[version:] {
			if err := step(tx); err != nil {
				return fmt.Errorf("update from schema version %d to %d: %w; the file is unchanged", version+i, version+i+1, err)
			}
		}
		meta, err := tx.CreateBucketIfNotExists([]byte(bucketMeta))
		if err != nil {
			return err
		}
		return meta.Put([]byte(keySchema), number(uint64(len(steps))))
	})
	if err == nil && kept != "" {
		s.opt.Logger.Info("history updated; delete the copy once you will not go back to an earlier tlsink", "from", version, "to", len(steps), "copy", kept)
	}
	return err
}

// keep copies the file to one that nothing has yet: history.db.v1, or with a
// number after it. An interrupted update finds the copy it made before.
func (s *Store) keep(version int) (string, error) {
	part := s.opt.Path + ".part"
	if err := copyTo(s.db, part); err != nil {
		return "", errors.Join(err, os.Remove(part))
	}
	for n := 1; ; n++ {
		name := s.opt.Path + ".v" + strconv.Itoa(version)
		if n > 1 {
			name += "-" + strconv.Itoa(n)
		}
		same, err := sameContent(name, part)
		switch {
		case errors.Is(err, os.ErrNotExist):
			if err := os.Rename(part, name); err != nil {
				return "", err
			}
			return name, durable.SyncDir(filepath.Dir(name))
		case err != nil:
			return "", err
		case same:
			return name, os.Remove(part)
		}
	}
}

func sameContent(a, b string) (bool, error) {
	x, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer x.Close()
	y, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer y.Close()
	const chunk = 64 << 10
	left, right := make([]byte, chunk), make([]byte, chunk)
	for {
		n, errX := io.ReadFull(x, left)
		m, errY := io.ReadFull(y, right)
		switch ended := errors.Is(errX, io.EOF) || errors.Is(errX, io.ErrUnexpectedEOF); {
		case errX != nil && !ended:
			return false, errX
		case errY != nil && !errors.Is(errY, io.EOF) && !errors.Is(errY, io.ErrUnexpectedEOF):
			return false, errY
		case !bytes.Equal(left[:n], right[:m]):
			return false, nil
		case ended:
			return true, nil
		}
	}
}
