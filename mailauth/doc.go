// Package mailauth reads a message while it streams in, keeps the few header
// facts that a report needs, and judges SPF and DKIM, so that a report goes
// only to somebody who really sent the test mail.
//
//	message ──► header (limited) ──► facts: From, To, Date, Message-ID, Received, …
//	   │            │
//	   │            ├──► DKIM, ARC ◄── body, streamed and dropped
//	   │            └──► DMARC record of the domain in From (meanwhile)
//	   └── MAIL FROM, client ──► SPF (meanwhile)
//	                                   │
//	             evidence.Transaction ─┴─► MayReport: yes, no, ask again
//
// DMARC and ARC are for the report alone: [MayReport] asks for more than DMARC
// does, and trusts no chain.
//
// Nothing here decides about evidence: DNS failures are results, not errors,
// and [MayReport] is a pure function of what was recorded.
//
// A header field that may occur once but occurs twice counts as absent: a
// signature covers one of them, and a reader may see the other.
//
// Sources: RFC 5322 (header), RFC 6376 and RFC 8301 (DKIM), RFC 7208 (SPF),
// RFC 7489 (alignment, DMARC), RFC 3834 (automatic responses), RFC 8601 §2.7
// (results), RFC 8689 §5 (TLS-Required), RFC 8617 (ARC), RFC 5321 §4.4
// (Received).
package mailauth
