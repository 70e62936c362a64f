package history

import (
	"context"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/tlsink/tlsink/evidence"
)

// DeletePerson deletes what is kept of one mail address: tests it started,
// with their connections; other connections that carried only its mail, and
// its transactions on those shared with others; its reports, also pending
// ones; and its mail in the mailbox. It returns the number of records. Open
// tests are deleted too: whoever holds them in memory must forget them first,
// or writes them again.
func (s *Store) DeletePerson(ctx context.Context, addr string) (int, error) {
	if addr == "" {
		return 0, nil
	}
	total := 0
	for _, step := range []func(*bolt.Tx, string, []byte) (purged, error){s.forgetTests, s.forgetConnections, s.forgetQueue, s.forgetMailbox} {
		n, err := s.inChunks(ctx, func(tx *bolt.Tx, resume []byte) (purged, error) { return step(tx, addr, resume) })
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func all([]byte) bool { return true }

func (s *Store) forgetTests(tx *bolt.Tx, addr string, resume []byte) (purged, error) {
	keys, next := chunkOf(bucket(tx, bucketTests), resume, all)
	p := purged{resume: next}
	for _, k := range keys {
		r, ok := s.test(tx, k)
		if !ok || !containsAddress([]string{r.Test.Sender, r.ReportTo}, addr) {
			continue
		}
		n, err := s.deleteTestAndConnections(tx, r.Test.ID, addr)
		p.n += n
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

func (s *Store) forgetConnections(tx *bolt.Tx, addr string, resume []byte) (purged, error) {
	keys, next := chunkOf(bucket(tx, bucketConnections), resume, all)
	p := purged{resume: next}
	for _, k := range keys {
		r, ok := s.connection(tx, k)
		if !ok || !hasSender(r.Connection, addr) {
			continue
		}
		step := func(tx *bolt.Tx) error { return deleteConnection(tx, k) }
		if !onlySender(r.Connection, addr) {
			var err error
			if step, err = putConnection(withoutSender(r.Connection, addr)); err != nil {
				return p, err
			}
		}
		if err := step(tx); err != nil {
			return p, err
		}
		p.n++
	}
	return p, nil
}

func (s *Store) forgetQueue(tx *bolt.Tx, addr string, resume []byte) (purged, error) {
	keys, next := chunkOf(bucket(tx, bucketQueue), resume, all)
	p := purged{resume: next}
	for _, k := range keys {
		q, ok := s.queueItem(tx, k)
		if !ok || !strings.EqualFold(q.To, addr) {
			continue
		}
		if err := removeQueueItem(tx, q.ID); err != nil {
			return p, err
		}
		p.n++
	}
	return p, nil
}

func (s *Store) forgetMailbox(tx *bolt.Tx, addr string, resume []byte) (purged, error) {
	keys, next := chunkOf(bucket(tx, bucketMailbox), resume, all)
	p := purged{resume: next}
	for _, k := range keys {
		var m MailboxItem
		v := bucket(tx, bucketMailbox).Get(k)
		if v == nil || !s.read(bucketMailbox, k, v, 0, &m) || !strings.EqualFold(m.From, addr) {
			continue
		}
		if err := deleteMailbox(tx, k); err != nil {
			return p, err
		}
		p.n++
	}
	return p, nil
}

func containsAddress(list []string, addr string) bool {
	for _, a := range list {
		if strings.EqualFold(a, addr) {
			return true
		}
	}
	return false
}

// senders returns the envelope senders of c and the authors of its messages.
func senders(c evidence.Connection) []string {
	var out []string
	if c.MailFrom != nil {
		out = append(out, *c.MailFrom)
	}
	for _, t := range c.Transactions {
		out = append(out, t.MailFrom)
		if t.Message != nil {
			out = append(out, t.Message.From...)
		}
	}
	return out
}

func hasSender(c evidence.Connection, addr string) bool { return containsAddress(senders(c), addr) }

// onlySender reports whether c carried mail of nobody else.
func onlySender(c evidence.Connection, addr string) bool {
	for _, t := range c.Transactions {
		if !transactionOf(t, addr) {
			return false
		}
	}
	return len(c.Transactions) > 0 || c.MailFrom == nil || strings.EqualFold(*c.MailFrom, addr)
}

func transactionOf(t evidence.Transaction, addr string) bool {
	return strings.EqualFold(t.MailFrom, addr) || t.Message != nil && containsAddress(t.Message.From, addr)
}

// withoutSender returns c without the transactions of addr.
func withoutSender(c evidence.Connection, addr string) evidence.Connection {
	c = c.Clone()
	var keep []evidence.Transaction
	for _, t := range c.Transactions {
		if !transactionOf(t, addr) {
			keep = append(keep, t)
		}
	}
	c.Transactions = keep
	if c.MailFrom != nil && strings.EqualFold(*c.MailFrom, addr) && len(keep) > 0 {
		c.MailFrom = &keep[0].MailFrom
	}
	return c
}
