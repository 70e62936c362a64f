// Package tlspolicy holds the two ways in which a receiving domain tells
// senders to insist on TLS: DANE TLSA records and MTA-STS policies.
//
// DANE: [Require] says what a TLSA RRset (already known to be secure) demands,
// [VerifyDANE] checks a certificate chain against it.
//
// MTA-STS: [FindRecord] and [ParsePolicy] read what a domain publishes,
// [Fetch] gets the policy, [Policy.Matches] applies it to an MX host, and a
// [Cache] remembers it as senders must:
//
//	no policy ──record found, fetched──► policy ──new id, fetched──► policy
//	    ▲                                 │  ▲                         │
//	    │                                 │  └──fetch or record fails──┤
//	    └──────────max_age over───────────┴────────────────────────────┘
//
// Sources: RFC 6698 and RFC 7671 (DANE), RFC 7672 (SMTP-DANE), RFC 8461
// (MTA-STS).
package tlspolicy
