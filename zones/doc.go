// Package zones is the authoritative, DNSSEC-signed name server of the sink's
// zone, and the libdns provider for it.
//
// # Content
//
// What New builds for the zone sink.example with one slot; further slots repeat
// the lines of et and ut under et1, ut1 and so on. There are no wildcards: one
// would answer _mta-sts.ut. Every TTL is Options.TTL, at most 60 s.
//
//	sink.example.                  SOA   ns1 hostmaster …, NS ns1, DNSKEY (one key, flags 257)
//	sink.example.                  A, AAAA, MX 10 mx.sink.example., TXT "v=spf1 mx -all"
//	_dmarc.sink.example.           TXT   "v=DMARC1; p=reject"
//	<selector>._domainkey.…        TXT   as given
//	ns1.sink.example.              A, AAAA
//	mx.sink.example.               A, AAAA, TXT "v=spf1 a -all"
//	_25._tcp.mx.sink.example.      TLSA  as given
//
//	et.sink.example.               MX    10 mx03.et, 20 mx04.et, 30 mx05.et, 40 mx06.et; TXT "v=spf1 -all"
//	mx03.et.sink.example. … mx06   A     one address each, unless more are configured
//	_25._tcp.mx03.et.sink.example. TLSA  as given
//	_mta-sts.et.sink.example.      TXT   "v=STSv1; id=<policy id>;"
//	mta-sts.et.sink.example.       A, AAAA
//	_smtp._tls.et.sink.example.    TXT   "v=TLSRPTv1; rua=mailto:tlsrpt@sink.example"
//
//	ut.sink.example.               MX    10 ut.sink.example.; A; TXT "v=spf1 -all"
//
// ut has neither TLSA records nor an MTA-STS record, and the provider refuses
// to add them: verdicts rest on the signed proof of their absence.
//
// # Signing
//
// The zone is signed when it changes, never when it is asked. A change makes a
// new immutable snapshot and swaps it in; RRsets that did not change keep their
// signatures. Queries read the snapshot and touch no private key, so a flood of
// random names costs no signatures. Denial is a real NSEC chain, in which empty
// non-terminals (_tcp.mx03.et) exist without an NSEC record of their own.
//
//	New / SetRecords / Refresh ──► content ──► sign what changed ──► snapshot ──atomic──► Answer
//	                                                  │
//	                                           State (key, serial)
//
// Signatures begin three hours in the past and are renewed once half of their
// validity is over. The key and a bound of the serial are kept in a [State];
// the serial grows over restarts and when the clock goes backwards. Records
// set through libdns are not kept: after a restart the zone has the content of
// its Options again.
//
// # Provider
//
// [Zone] implements the four libdns record interfaces. Every call is atomic: it
// is published whole, or an error leaves the zone as it was. It takes A, AAAA, MX,
// TLSA and TXT; what else the zone has (SOA, NS, DNSSEC) belongs to the server.
//
// # Standards
//
// RFC 1035, RFC 2181, RFC 2308 (negative answers), RFC 4033, RFC 4034, RFC 4035
// (DNSSEC), RFC 6605 (ECDSA), RFC 6891 (EDNS), RFC 7766 (TCP), RFC 8482 (ANY),
// RFC 9077 (NSEC TTL), RFC 6698 (TLSA), RFC 8461 (MTA-STS), RFC 8460 (TLS-RPT).
package zones
