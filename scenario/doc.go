// Package scenario is the one table of what tlsink presents to a connecting
// mail server, and the one place that knows the names of a zone.
//
// tlsink shows a sender two domains. The enforcement test domain et publishes
// everything a receiver can publish: DNSSEC, TLSA records and an MTA-STS
// policy, on four MX hosts that are each right or wrong in a known way. The
// unprotected test domain ut publishes none of it. A slot is a complete copy
// of both under other names.
//
//	host   certificate   TLSA        MTA-STS policy
//	mx03   self-signed   mismatch    not listed
//	mx04   self-signed   match       listed
//	mx05   public CA     mismatch    listed
//	mx06   public CA     match       listed
//	ut     either        none        no policy
//
// A [Face] is what one connection was really shown. Fields that cannot be
// known are unknown, never guessed. The package holds values and pure
// functions only; everything in it is safe for concurrent use.
//
// Sources: RFC 7672 (SMTP-DANE), RFC 8461 (MTA-STS).
package scenario
