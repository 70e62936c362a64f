// Package assess runs tests: it decides how each connection is treated, to
// which test it belongs, whether a message is answered 451 or 250, and when a
// verdict is reached. It implements sink.Director.
//
// A client is a client address (IPv4 address, IPv6 /64), known at accept. It
// owns the treatment: the phase clock and the certificates that vary. A test
// is one test mail of one sender, known from its first message on.
//
//	client:  first connection ─▶ downgrade (STARTTLS withheld) ─▶ secure ─┐
//	              ▲                                                       │
//	              └────────── last test over, or 24 h of silence ◀───────┘
//
//	test:    first message ─▶ running ─▶ concluded ──▶ acked
//	                          (451)      (verdict) │  (250)
//	                                               └▶ closed (never came back, or
//	                                                  its sender began another)
//
// From which connections STARTTLS is withheld is said by [Downgrade]: from all of
// the downgrade phase, or only from the first one to each test domain.
//
// # Attribution
//
// A connection with MAIL belongs to the test of that mail. One without belongs
// to a test only if that test is the only one that could own it, judged by
// slot and client address, over the whole life of all tests of that client: a
// second sender that shows up later takes back what the first one adopted. A
// test adopts nothing that happened before its mail was written (Date field).
// What is left out is counted (evidence.Test.LeftOut).
//
// A test that was started on the web has a slot to itself. What names that slot
// in SNI, from a client of the test and under an EHLO name that its mails come
// with, is its sender's, whatever else happens at that client. That ends for good
// once somebody else mails to the slot (history.TestRecord.Shared).
//
// Providers hand a mail from host to host, and their tenants may have policies
// of their own. So it is enough that another test may be of the same provider:
// they share a client, an EHLO organization, an authenticated MAIL FROM domain
// or a network in which a mail roams (kin). Where a test ends without verdict
// for that reason, what all tests behind its addresses show together is kept
// beside it (history.Provider), and never as its verdict.
//
// A mail belongs to a test by slot, envelope sender and Message-ID, from any
// address; under another sender of the same domain (VERP, BATV) or by its Date,
// only from an address that the test knows.
//
// Everything lives in memory and is replayed from package history at start.
// All methods are safe for concurrent use.
package assess
