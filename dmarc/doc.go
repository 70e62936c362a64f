// Package dmarc reads DMARC records, finds the one that holds for a domain, and
// compares identifiers with the domain in From.
//
//	_dmarc.<domain> ──one record──────────────────► it, with p
//	      │ none
//	      ▼
//	_dmarc.<organizational domain> ──one record──► it, with sp (else p)
//	      │ none
//	      ▼
//	  no policy            several records at a name ──► no policy
//
// It does what RFC 7489 says, as receivers have for a decade. Its successor, RFC
// 9989, finds the record and the organizational domain by walking up the tree
// instead of by a list of public suffixes, drops pct, and takes p=none where p is
// missing; the two differ for names below a delegated subdomain that has a record
// of its own. Tags that only RFC 9989 knows (np, psd, t) are ignored here.
//
// Domain names are A-labels; case and a final dot do not matter.
//
// Sources: RFC 7489 (§3.1 alignment, §3.2 organizational domain, §6.3 and §6.4
// records, §6.6.3 discovery), RFC 6376 §3.2 (tag lists), RFC 3986 (URIs).
package dmarc
