// Package received reads Received header fields: the way of a mail as its own
// header tells it, which steps say that they were encrypted, and where that
// claim ends.
//
//	Received: from a by b with ESMTPS …; date      newest first in a header
//	   │
//	   ├─► Path ──► []Field, in the order the mail went
//	   │              └─► Public ──► []evidence.Hop without client addresses
//	   └──────────────────────────────────┴─► Summarize ──► Summary
//
// A field is a claim: each server adds its own on top, and whoever had a mail
// can have written all that are below. RFC 5321 has a grammar that few programs
// keep; so every clause is looked for on its own, and what is not understood
// says nothing.
//
// Encryption is claimed by the protocol (the S of ESMTPS) or by a comment with
// the version or the suite, whose forms are those of Postfix, Exim, Sendmail,
// Exchange, Gmail, Cisco, OpenSMTPD, Haraka, Courier, qmail, chasquid, Cyrus, Dovecot
// and others that write alike. SMTP and ESMTP claim its absence; a name that is
// no such protocol ("Microsoft SMTP Server") claims nothing.
//
// Nothing fails: a field that makes no sense is a hop that says nothing. Sizes
// and numbers are bounded.
//
// Sources: RFC 5321 §4.4 (trace information), RFC 3848 and RFC 6531 §4.3
// (protocols), RFC 5322 §3.6.7, RFC 8314 §4.3 (suites).
package received
