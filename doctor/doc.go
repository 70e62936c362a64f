// Package doctor checks a deployed sink from the outside in: what the parent
// zone says, what the world can reach and verify, and that every face of the
// sink is what it has to be, the good servers good and the bad ones bad.
//
//	Outside   clock ─▶ delegation ─▶ name servers ─▶ DS ─▶ chain ─▶ addresses, ports, PTR, SPF, DKIM, DMARC, CAA
//	Faces     zone ─▶ ut ─▶ policy ─▶ withheld ─▶ offered ─▶ certificates ─▶ TLSA ─▶ relay
//
// Each check gives results: ok, wrong or cannot (could not be tested), with what
// was seen and what to do. What cannot be told before something else is cured is
// not tested, so that one cause gives one message.
//
// `tlsink doctor` runs all of them, `tlsink serve` every few minutes those that
// it can. A result also says what it does to verdicts: see Effect. Nobody else is
// asked for anything but DNS: name servers of the parent zone and of the root,
// and resolvers; and one web server, the CA's as a rule, for the time.
//
// RFC 7672 (SMTP-DANE), RFC 8461 (MTA-STS), RFC 4035 (DNSSEC), RFC 7208 (SPF),
// RFC 6376 (DKIM), RFC 7489 (DMARC), RFC 8659 (CAA), RFC 5321 §4.1.4 (EHLO).
package doctor
