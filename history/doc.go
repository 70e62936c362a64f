// Package history keeps everything that must survive a restart in one bbolt
// file: connections, tests, what was presented when, DNS queries and policy
// fetches given to tests, the queue of reports, and a small capped mailbox.
//
// One goroutine writes. It drains what is queued, at most 512 batches, into
// each transaction, so that concurrent callers share one fsync:
//
//	Commit ──┐                        ┌─ fsync ─▶ acknowledge
//	Submit ──┼─▶ bounded queue ─▶ writer ─ fsync ─▶ (logged if it failed)
//	Deliver ─┘   (first in, first out)
//
// A [Batch] is atomic: after a crash all of it is there, or nothing. What
// Commit acknowledged is there. Batches reach the file in the order of the
// calls.
//
// While the disk fails, because it is full for example, batches are refused
// with ErrDisk and wait in memory, in their order, until it works again.
//
// Reads see the last finished transaction. They copy what they return and
// never call back while the file is held, because an open read transaction
// keeps the writer from growing the file.
//
// # Layout
//
//	meta                schema (version of the file), boot (starts so far)
//	connections         connection ID → version, start, JSON
//	connections_time    start, connection ID
//	attached            connection ID → test ID and attribution
//	test_connections    test ID, connection ID → the same
//	tests               test ID → version, JSON
//	tests_time          opened, test ID
//	tests_open          test ID, while the test is not over
//	tests_capability    hash of the capability, test ID
//	tests_message_id    hash of the Message-ID, test ID
//	states              slot, time, number → version, JSON
//	test_states, test_queries, test_fetches
//	                    test ID, time, number → version, JSON
//	queue, queue_message, queue_due
//	mailbox, mailbox_message
//	values              key → version, what other packages keep (version 2)
//	analyses            test ID → version, the sender's domain as a receiver (version 3)
//
// Every value begins with one octet, the version of its schema. The file as a
// whole has a version too. A file of a later version is refused; one of an
// earlier version is brought up to date by Open, in one transaction, and a copy
// of it stays beside it (history.db.v1). A value that cannot be read is skipped
// and logged with its bucket and key, never fatal.
//
// The package depends on evidence only. A Store is safe for concurrent use.
package history
