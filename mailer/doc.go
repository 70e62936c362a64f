// Package mailer delivers reports: it composes and signs them, takes them from
// a durable queue, and tries until they are delivered or given up.
//
//	         over a limit
//	queued ───────────────▶ given up, with the reason
//	  │                          ▲
//	  │ leased and rendered      │ permanent failure, or too old
//	  ▼                          │
//	attempt ─────────────────────┤
//	  │  ▲                       │
//	  │  └── back-off ◀── temporary failure
//	  ▼
//	sent
//
// Before each attempt the item is put off for longer than an attempt can take,
// durably, together with the message as it will be sent. So a crash never loses
// a report: one that happens between the delivery and its record causes a
// second delivery of the same message (same Message-ID), no more.
//
// A report is never sent over a way that the recipient's DANE or MTA-STS
// policy forbids; that is the transport's duty. There is no fallback: the
// reason is kept with the item, for the result page.
//
// Standards: RFC 5321 (null reverse-path), RFC 5322 and RFC 2045 (message),
// RFC 3834 (automatic responses), RFC 6376 (DKIM), RFC 8314 (submission).
package mailer
