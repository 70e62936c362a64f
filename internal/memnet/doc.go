// Package memnet is a network in memory: listeners and stream connections with
// addresses, buffers and deadlines.
//
// Its connections wait on channels and timers of the standard library alone, so
// they are durably blocked in the sense of package testing/synctest: within a
// bubble, hours of silence pass in no time. net.Pipe would do that, too, but it
// has neither addresses nor a buffer, and two peers that write at the same time
// would wait for each other.
//
//	Dial ─▶ end ──▶ half (buffer) ──▶ end ◀─ Accept
//	         ▲                         │
//	         └───── (buffer) half ◀────┘
//
// What TCP does and this does not: a reset when a connection is closed with
// unread input (the peer reads what was sent, then io.EOF), and loss.
package memnet
