// Package dnssec looks up names and says for each answer whether DNSSEC proves
// it: secure, insecure, bogus, or error.
//
// A [Resolver] asks the configured servers, a recursive resolver or an
// authoritative server, with DO and CD set, and trusts nothing they say: it
// builds the chain from the closest trust anchor itself.
//
//	trust anchor ─► DNSKEY ─► DS of child ─► DNSKEY ─► … ─► RRset ─► secure
//	                  │          │                            │
//	                  │          ├ proof that there is no DS ─┼────► insecure
//	                  │          └ only unknown algorithms ───┼────► insecure
//	                  └──────────── no valid signature ───────┴────► bogus
//
//	no trust anchor above the name ───────────────────────────────► insecure
//	no server answers, limits exceeded ───────────────────────────► error
//
// Denial of existence (NXDOMAIN, NODATA) is an answer with a status of its
// own. All work for one lookup is bounded: queries, signatures tried, hash
// iterations, links of an alias chain, size of the cache.
//
// A [Trusting] resolver validates nothing: it asks a resolver that does, and
// tells the same four apart by asking it with CD unset and set.
//
// Sources: RFC 4033, 4034, 4035 (DNSSEC), RFC 5155 (NSEC3), RFC 6672 (DNAME),
// RFC 6840 (clarifications), RFC 6891 (EDNS), RFC 8914
// (extended errors), RFC 9276 (NSEC3 parameters).
package dnssec
