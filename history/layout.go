package history

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The buckets; see the package documentation.
const (
	bucketMeta            = "meta"
	bucketConnections     = "connections"
	bucketConnectionsTime = "connections_time"
	bucketAttached        = "attached"
	bucketTestConnections = "test_connections"
	bucketTests           = "tests"
	bucketTestsTime       = "tests_time"
	bucketTestsOpen       = "tests_open"
	bucketTestsCapability = "tests_capability"
	bucketTestsMessageID  = "tests_message_id"
	bucketStates          = "states"
	bucketTestStates      = "test_states"
	bucketTestQueries     = "test_queries"
	bucketTestFetches     = "test_fetches"
	bucketQueue           = "queue"
	bucketQueueMessage    = "queue_message"
	bucketQueueDue        = "queue_due"
	bucketMailbox         = "mailbox"
	bucketMailboxMessage  = "mailbox_message"
	bucketValues          = "values"
	bucketAnalyses        = "analyses"

	keySchema = "schema"
	keyBoot   = "boot"
)

// valueVersion is the first octet of every value.
const valueVersion = 1

// maxID bounds the IDs that callers choose, in octets.
const maxID = 256

// maxValue bounds one stored JSON value, in octets.
const maxValue = 1 << 20

func checkID(kind, id string) error {
	switch {
	case id == "":
		return fmt.Errorf("%s: empty ID", kind)
	case len(id) > maxID:
		return fmt.Errorf("%s: ID of %d octets, at most %d are allowed", kind, len(id), maxID)
	case strings.IndexByte(id, 0) >= 0:
		return fmt.Errorf("%s %q: ID with a NUL", kind, id)
	}
	return nil
}

func bucket(tx *bolt.Tx, name string) *bolt.Bucket { return tx.Bucket([]byte(name)) }

// ordered returns a bucket whose keys come in ascending order: its pages are
// filled instead of split in half.
func ordered(tx *bolt.Tx, name string) *bolt.Bucket {
	b := bucket(tx, name)
	b.FillPercent = 0.9
	return b
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// appendTime appends eight octets that sort as t does. The zero time sorts
// before every other.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.BigEndian.AppendUint64(b, 0)
	}
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixNano())^1<<63)
}

func timeOf(b []byte) time.Time {
	n := binary.BigEndian.Uint64(b)
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(n^1<<63)).UTC()
}

// timeKey is the key of an index by time.
func timeKey(t time.Time, id string) []byte { return append(appendTime(nil, t), id...) }

// prefixKey is the key of what belongs to id.
func prefixKey(id string, rest ...byte) []byte { return append(append([]byte(id), 0), rest...) }

// hashKey is the key of an index by text of any length that others chose.
func hashKey(text, id string) []byte {
	sum := sha256.Sum256([]byte(text))
	return append(sum[:16], id...)
}

// encode returns the version, head and v as JSON.
func encode(head []byte, v any) ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteByte(valueVersion)
	buf.Write(head)
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	if buf.Len() > maxValue {
		return nil, fmt.Errorf("%d octets, at most %d are stored", buf.Len(), maxValue)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// decode reads a value with a head of the given length.
func decode(value []byte, head int, v any) error {
	switch {
	case len(value) < 1+head:
		return errors.New("value too short")
	case value[0] != valueVersion:
		return fmt.Errorf("value of schema version %d, want %d", value[0], valueVersion)
	}
	return json.Unmarshal(value[1+head:], v)
}

// read decodes a value. One that cannot be read is logged and counted, and
// read returns false.
func (s *Store) read(name string, key, value []byte, head int, v any) bool {
	if err := decode(value, head, v); err != nil {
		s.unreadable.Add(1)
		s.opt.Logger.Error("history value skipped", "bucket", name, "key", fmt.Sprintf("%q", key), "err", err)
		return false
	}
	return true
}

// insert puts a value and keeps the number of keys in the bucket's sequence,
// since counting a bucket means walking it.
func insert(b *bolt.Bucket, key, value []byte) error {
	if b.Get(key) == nil {
		if err := b.SetSequence(b.Sequence() + 1); err != nil {
			return err
		}
	}
	return b.Put(key, value)
}

// remove is the reverse of insert.
func remove(b *bolt.Bucket, key []byte) error {
	if b.Get(key) == nil {
		return nil
	}
	if err := b.SetSequence(b.Sequence() - 1); err != nil {
		return err
	}
	return b.Delete(key)
}

// keysWith returns copies of the keys of b that begin with prefix.
func keysWith(b *bolt.Bucket, prefix []byte) [][]byte {
	var keys [][]byte
	c := b.Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	return keys
}

// deleteAll deletes keys that are not counted.
func deleteAll(b *bolt.Bucket, keys [][]byte) error {
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
