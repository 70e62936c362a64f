package history

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
)

// maxRecipients bounds the recipients kept with a message.
const maxRecipients = 100

// MailboxItem is a message for the operator: to postmaster or abuse, a bounce,
// a reply to a report.
type MailboxItem struct {
	ID   string    `json:"id"`
	Time time.Time `json:"time"`
	From string    `json:"from"` // envelope sender; empty is the null reverse-path
	To   []string  `json:"to"`
	Size int64     `json:"size"` // octets
}

// RefusedError says that the mailbox did not take a message. The message is
// still the sender's, so nothing is lost silently.
type RefusedError struct {
	Code     int    // SMTP reply code (RFC 5321 §4.2.3)
	Enhanced [3]int // RFC 3463
	Text     string
}

func (e *RefusedError) Error() string { return strconv.Itoa(e.Code) + " " + e.Text }

// SMTPReply returns the reply that tells the client.
func (e *RefusedError) SMTPReply() (code int, enhanced [3]int, text string) {
	return e.Code, e.Enhanced, e.Text
}

type mailboxLimits struct {
	messages     int
	messageBytes int64
}

// LimitMailbox changes how many messages the mailbox keeps, and how large each
// may be, in octets; 0 means the default. What is there stays.
func (s *Store) LimitMailbox(messages int, messageBytes int64) {
	setDefault(&messages, defaultMailboxMax)
	setDefault(&messageBytes, defaultMessageBytes)
	s.mailbox.Store(&mailboxLimits{messages, messageBytes})
}

// Deliver stores a message for the operator and returns when it is durable.
// It returns a *RefusedError with code 452 if the mailbox is full, and with 552
// if the message is too large. Old messages are never dropped for new ones:
// mail to abuse@ must not vanish because somebody floods the mailbox.
func (s *Store) Deliver(ctx context.Context, from string, rcpts []string, message io.Reader) error {
	limits := s.mailbox.Load()
	body, err := io.ReadAll(io.LimitReader(message, limits.messageBytes+1))
	if err != nil {
		return fmt.Errorf("read message for the mailbox: %w", err)
	}
	if int64(len(body)) > limits.messageBytes {
		s.mailboxRefused.Add(1)
		return &RefusedError{552, [3]int{5, 3, 4}, fmt.Sprintf("message too big, at most %d octets", limits.messageBytes)}
	}
	item := MailboxItem{Time: s.opt.Now(), From: from, To: rcpts[:min(len(rcpts), maxRecipients)], Size: int64(len(body))}
	full := false
	err = s.do(ctx, func(tx *bolt.Tx) error {
		if full = s.mailboxIsFull(tx, item.Size); full {
			return nil
		}
		n, err := bucket(tx, bucketMailbox).NextSequence()
		if err != nil {
			return err
		}
		stored := item
		stored.ID = strconv.FormatUint(n, 10)
		value, err := encode(nil, stored)
		if err != nil {
			return err
		}
		return firstError(
			bucket(tx, bucketMailbox).Put(number(n), value),
			bucket(tx, bucketMailboxMessage).Put(number(n), append([]byte{valueVersion}, body...)),
		)
	})
	if err != nil {
		return err
	}
	if full {
		s.mailboxRefused.Add(1)
		s.opt.Logger.Warn("mailbox full, message refused", "max_messages", limits.messages, "max_bytes", s.opt.MailboxBytes)
		return &RefusedError{452, [3]int{4, 2, 2}, "mailbox full, try again later"}
	}
	return nil
}

func (s *Store) mailboxIsFull(tx *bolt.Tx, more int64) bool {
	messages, size := mailboxUse(tx)
	return messages+1 > s.mailbox.Load().messages || size+more > s.opt.MailboxBytes
}

// mailboxUse walks the mailbox, which is small by its cap.
func mailboxUse(tx *bolt.Tx) (messages int, size int64) {
	c := bucket(tx, bucketMailboxMessage).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		messages++
		size += int64(len(v)) - 1
	}
	return messages, size
}

// Mailbox lists the messages, the oldest first.
func (s *Store) Mailbox(ctx context.Context) ([]MailboxItem, error) {
	var out []MailboxItem
	err := s.view(func(tx *bolt.Tx) error {
		return bucket(tx, bucketMailbox).ForEach(func(k, v []byte) error {
			var m MailboxItem
			if s.read(bucketMailbox, k, v, 0, &m) {
				out = append(out, m)
			}
			return ctx.Err()
		})
	})
	return out, err
}

// MailboxMessage returns the text of a message as it came, or an error that
// wraps ErrNotFound.
func (s *Store) MailboxMessage(id string) ([]byte, error) {
	key, err := mailboxKey(id)
	if err != nil {
		return nil, err
	}
	var out []byte
	err = s.view(func(tx *bolt.Tx) error {
		v := bucket(tx, bucketMailboxMessage).Get(key)
		if len(v) < 1 {
			return fmt.Errorf("mailbox message %q: %w", id, ErrNotFound)
		}
		out = bytes.Clone(v[1:])
		return nil
	})
	return out, err
}

// DeleteMailbox deletes a message. One that is not there is no error.
func (s *Store) DeleteMailbox(ctx context.Context, id string) error {
	key, err := mailboxKey(id)
	if err != nil {
		return err
	}
	return s.do(ctx, func(tx *bolt.Tx) error { return deleteMailbox(tx, key) })
}

func deleteMailbox(tx *bolt.Tx, key []byte) error {
	return firstError(bucket(tx, bucketMailbox).Delete(key), bucket(tx, bucketMailboxMessage).Delete(key))
}

func mailboxKey(id string) ([]byte, error) {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("mailbox message %q: an ID is a number: %w", id, ErrNotFound)
	}
	return binary.BigEndian.AppendUint64(nil, n), nil
}
