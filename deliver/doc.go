// Package deliver makes one attempt to deliver one message to a domain, as a
// mail server with a given [Policy] does. It delivers tlsink's own reports, and
// plays the senders of every kind in the demo and in tests. It knows nothing of
// what inference expects of senders: the one is the proof of the other.
//
// A [Sender] is one simulated mail server: its policy, and what it remembers
// between attempts (MTA-STS policies). One attempt:
//
//	MX ─► next host ─► demands of DANE, MTA-STS or the own rule ─► connect ─► EHLO
//	          ▲                    │                                            │
//	          │              not acceptable                     STARTTLS ◄──────┼──► plaintext
//	          │                    │                                │           │
//	          ├────────────────────┴──── refused, missing, failed ──┤           │
//	          │                                                     ▼           ▼
//	          └──────────── 4xx, up to MaxMX sessions ──────── MAIL RCPT DATA ─► delivered
//	                                                                │
//	                                                               5xx ─► failed for good
//
// Sources: RFC 3207 (STARTTLS), RFC 5321 (SMTP), RFC 7505 (null MX), RFC 7672
// (SMTP-DANE), RFC 8461 (MTA-STS), RFC 8689 (REQUIRETLS).
package deliver
