// Package rating puts what was found out about a domain into the grades that
// people know. It is pure, and every grade comes with its rule (Rules).
//
//	inbound.Analysis ─┬─► dane, mta-sts, qualified, tls ─► colour
//	                  └─► MECSA's mechanisms ─► half stars
//	evidence.History ───► Outbound ──┘
//
// A standard is not met if one requirement is not, at any host or server; it is
// untested if one could not be tested; and met otherwise. A server that could
// not be reached counts nowhere as long as another address of its host could
// be: from a place without IPv6 nothing could be graded otherwise. It is named
// in Ratings.LeftOut. A domain that takes no mail has no standard to meet.
//
// Two things hold, and are tested: an answer that gets worse makes no grade
// better, and an answer that could not be had makes none worse than no.
//
// MECSA is scored as the Joint Research Centre does, with these decisions where
// its texts are silent or differ: hosts are counted, not addresses, and a host
// succeeds only with all its addresses; revocation is not tested and counts
// nowhere; the certificate of a host without STARTTLS fails; a policy of MTA-STS
// counts in mode enforce only. Without mails (Outbound) the score is that of
// what is known, and partial.
//
// Sources: RFC 7672 (SMTP-DANE); RFC 8461 (MTA-STS); the Orientierungshilfe of
// the German data protection authorities of 16 June 2021 (qualified transport
// encryption); MECSA's report of 2018 and its table of 2023 (mecsa-scores.csv).
package rating
