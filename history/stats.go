package history

import (
	bolt "go.etcd.io/bbolt"
)

// Stats are numbers about a Store. Counters begin at 0 with Open.
type Stats struct {
	Connections  int   `json:"connections"`
	Tests        int   `json:"tests"`
	OpenTests    int   `json:"open_tests"`
	Pending      int   `json:"pending"` // reports
	Mailbox      int   `json:"mailbox"` // messages
	MailboxBytes int64 `json:"mailbox_bytes"`
	FileBytes    int64 `json:"file_bytes"`
	FreeBytes    int64 `json:"free_bytes"` // of FileBytes, to be used again

	Batches        uint64 `json:"batches"` // counter
	Transactions   uint64 `json:"transactions"`
	Failed         uint64 `json:"failed"`          // batches that could not be written
	Unreadable     uint64 `json:"unreadable"`      // values skipped, each time they were met
	MailboxRefused uint64 `json:"mailbox_refused"` // messages
	Queued         int    `json:"queued"`          // batches waiting now
}

// Stats returns current numbers. It reads the small indexes, never the
// connections.
func (s *Store) Stats() (Stats, error) {
	st := Stats{
		Batches: s.batches.Load(), Transactions: s.transactions.Load(), Failed: s.failed.Load(),
		Unreadable: s.unreadable.Load(), MailboxRefused: s.mailboxRefused.Load(), Queued: len(s.queue),
	}
	err := s.view(func(tx *bolt.Tx) error {
		st.Connections = int(bucket(tx, bucketConnections).Sequence())
		st.Tests = int(bucket(tx, bucketTests).Sequence())
		st.OpenTests = count(bucket(tx, bucketTestsOpen))
		st.Pending = count(bucket(tx, bucketQueueDue))
		st.Mailbox, st.MailboxBytes = mailboxUse(tx)
		st.FileBytes = tx.Size()
		return nil
	})
	db := s.db.Stats()
	st.FreeBytes = int64(db.FreePageN+db.PendingPageN) * int64(s.db.Info().PageSize)
	return st, err
}

func count(b *bolt.Bucket) int {
	n := 0
	c := b.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		n++
	}
	return n
}
