// Package inbound analyses a domain as a receiver of mail: how it is reached,
// what DNSSEC proves about every record on the way, what each of its servers
// shows, and what the domain publishes about its mail.
//
//	domain ─► MX ──────────► hosts ─► A, AAAA ─► servers ─► probe, each address
//	  │        │ none: the domain itself │        │         one after the other
//	  │        └ null MX: the end        └► TLSA ─┴► DANE match
//	  └─► SOA, TXT, SPF, DMARC, TLS-RPT, MTA-STS ──► is each host listed?
//
// An [Analyzer] remembers analyses for a while, and makes one for all that ask
// for the same domain at the same time. What strangers publish can't make it do
// more than its limits allow: hosts, servers, DNS lookups, names at one address,
// time. What a limit cut is said in [Analysis.LeftOut]. It connects to public
// addresses only ([Public]), to each of them one connection at a time over all
// analyses. What could not be tested is [check.Untested], never a failure; behind
// a resolver that does not pass DNSSEC records on, that is everything.
//
// Sources: RFC 5321 §5.1 (route), RFC 7505 (null MX), RFC 2181 §10.3 (aliases),
// RFC 7672 (SMTP-DANE), RFC 8461 (MTA-STS), RFC 6890 and the IANA registries of
// special-purpose addresses.
package inbound
