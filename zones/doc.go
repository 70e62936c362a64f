// Package zones is the authoritative, DNSSEC-signed name server of the sink's
// zone, and the libdns provider for it.
//
// # Content
//
// What New builds for the zone sink.example with one slot; further slots repeat
// the lines of et and ut under et1, ut1 and so on. There are no wildcards: one
// would answer _mta-sts.ut. Every TTL is Options.TTL, at most 60 s.
//
//	sink.example.                  SOA   ns1 hostmaster …, NS ns1, DNSKEY, CDS, CDNSKEY
//	sink.example.                  A, AAAA, MX 10 mx.sink.example., TXT "v=spf1 mx -all"
//	_dmarc.sink.example.           TXT   "v=DMARC1; p=reject"
//	<selector>._domainkey.…        TXT   as given
//	ns1.sink.example.              A, AAAA
//	mx.sink.example.               A, AAAA, TXT "v=spf1 a -all"
//	_25._tcp.mx.sink.example.      TLSA  as given
//
//	et.sink.example.               MX    10 mx03.et, 20 mx04.et, 30 mx05.et, 40 mx06.et; TXT "v=spf1 -all"
//	et1.sink.example.              MX    10 mx04.et1, 20 mx05.et1, 30 mx06.et1, 40 mx03.et1
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
//	                                           State (keys, serial, roll, time)
//
// Signatures begin three hours in the past and hold for Validity, less up to an
// eighth that depends on the RRset, so that what was signed together is not
// renewed together. They are renewed once half of the validity is left, at most
// 256 of them with one version of the zone; what has only a quarter left, or was
// made by a clock that was set since, at once. If the clock contradicts the
// time that the State has seen ([Zone.ClockProblem]), signatures begin before the
// earlier and end after the later of the two times: the zone holds at both.
//
// Keys and a bound of the serial are kept in a [State]; the serial grows over
// restarts and when the clock goes backwards. Records set through libdns are
// not kept: after a restart the zone has the content of its Options again.
//
// # Keys
//
// The zone begins with one key, a CSK: it signs everything, and the parent has
// its DS. Both private keys of a split pair would lie in the same file, used by
// the same process, every few minutes, so a split protects nothing here: it only
// makes the signing key replaceable without the parent. Who wants that rolls the
// ZSK: this splits the CSK into a KSK, which is the same key, and a new ZSK. A
// secondary that validates what it copies may want it from the first day
// (KeyOptions.Split).
//
// A roll has up to three phases. Each is saved before it is published, so that
// a restart at any moment goes on with it, and none needs two signatures over
// the content: with TTLs of at most 60 s it costs an hour at most to let every cache
// learn the new key before it signs, while double signatures would double answers and
// transfers for as long as the operator of the parent takes (RFC 6781 §4.1.3:
// the second variety, but the content changes hands before the old key goes).
//
//	           StartRoll
//	               │             DNSKEY signed by   content signed by   CDS, wanted DS
//	               ▼
//	  ┌──────► publish           old and new        old                 old
//	  │            │ the TTL is over on every name server (Synced)
//	CancelRoll     ▼
//	  │        hand-over         old and new        new                 new
//	  │            │ ▲ ▲ CancelRoll: old and new change places
//	  │   ParentDS,│ │ └─┘
//	  │  ConfirmDS ▼ │ the parent went back
//	  │        retire            old and new        new                 new
//	  │            │ the TTL of the old DS is over, too
//	  │            ▼
//	  └──────► (no roll)         new                new                 new
//
// The roll of a ZSK has no hand-over, and its keys do not sign the DNSKEY RRset.
// CDS and CDNSKEY are signed by the same keys as DNSKEY: the parent believes the
// old one (RFC 7344 §4.1). At the parent one DS record replaces another (RFC 6781
// §4.1.2, double signature), so nobody has to come back for the second half.
//
// What the parent's servers say is not validated, and anyone on the way could
// make a roll withdraw the key that the world still needs: so a validating
// resolver (KeyOptions.ValidDS) must say the same.
//
// Every wait is of time in which the zone was served, counted by the monotonic
// clock and saved hourly: neither a clock that is set nor a stop of days ends a
// phase too early.
//
// # Serving
//
// Owner names come back in the case that was asked (0x20): they are compressed to
// the question, whose octets are those of the query. ANY is answered with one
// RRset. UPDATE, NOTIFY and unknown opcodes are NOTIMP, names and classes of others
// REFUSED, unknown types NODATA; nothing is answered that was not asked for.
//
// UDP answers have at most 1232 octets and are limited for each network
// ([RateLimit]): what is over the limit is dropped, or cut short so that a real
// resolver comes back over TCP. Over TCP, with a DNS cookie of ours, with a TSIG key
// and from loopback there is no such limit.
//
// # Secondaries
//
// With [Transfer] other name servers can copy the zone, as a whole (IXFR is
// answered with AXFR), given a TSIG key and, if there are any, an allowed address.
// A copy is of one snapshot. After each change they get NOTIFY, at most one a
// second, for the newest serial only, repeated until it is acknowledged; so they
// follow within seconds. The SOA's expire is a sixth of the signatures' validity:
// a secondary that is cut off goes silent before what it has expires.
//
// Queries that secondaries answer are not in [Zone.Queries]. A Knot secondary
// with dnssec-validation refuses the zone as long as it has two keys that may be
// CSKs: while a CSK is rolled or split.
//
// # Provider
//
// [Zone] implements the four libdns record interfaces. Every call is atomic: it
// is published whole, or an error leaves the zone as it was. It takes A, AAAA, MX,
// TLSA and TXT; what else the zone has (SOA, NS, DNSSEC) belongs to the server.
//
// A zone may be served by others instead: [Content] is what they have to serve,
// package external keeps it there through the providers rfc2136 and desec, and
// package propagation asks their name servers whether they do. All providers pass
// the test in providertest.
//
// # Standards
//
// RFC 1035, RFC 2181, RFC 2308 (negative answers), RFC 4033, RFC 4034, RFC 4035
// (DNSSEC), RFC 6605 (ECDSA), RFC 6781, RFC 7583 (key rolls), RFC 7344, RFC 8078
// (CDS), RFC 6891, RFC 8906 (EDNS), RFC 7766, RFC 7828 (TCP), RFC 8482 (ANY),
// RFC 9077 (NSEC TTL), RFC 7873, RFC 9018 (cookies), RFC 8945 (TSIG), RFC 5936,
// RFC 1995 (transfers), RFC 1996 (NOTIFY), RFC 6698 (TLSA), RFC 8461 (MTA-STS),
// RFC 8460 (TLS-RPT).
package zones
