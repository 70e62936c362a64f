// Package records reads what a domain publishes about its mail in DNS, and its
// MTA-STS policy: is it there, is it right.
//
// A [Reader] asks little: one TXT lookup for most, up to 40 lookups for what an
// SPF record leads to, one HTTPS request for a policy. Each of its methods ends
// within a timeout. A lookup or a connection that fails makes a result untested,
// never failed; a bogus answer fails, as resolvers that validate do not give out
// such records.
//
// Valid says whether those who read a record will apply it. What they pass over
// is only in Problems, as is what is right but unwise.
//
// The policy host is a stranger's: it is resolved by our resolver, connected to
// only at addresses that are allowed, and its redirects, compressed bodies and
// anything beyond 64 KiB are refused.
//
// Sources: RFC 7208 (SPF), RFC 7489 (DMARC), RFC 8460 §3 (TLS-RPT), RFC 8461
// (MTA-STS).
package records
