// Package policyinfer concludes from evidence which outbound TLS policy a
// sender has. It is pure: evidence in, verdict out; no clock, no network, no
// storage, and nothing is shared between calls.
//
// # Model
//
// A [Policy] is a small value: the parts of what a sender may be configured to
// do. [Engine] holds every value that can exist, and one function says what a
// sender of that policy does at a presented scenario (see package scenario).
//
// # Elimination
//
// Evidence is turned into observations, and an observation leaves only the
// policies under which it is possible. What is left are the candidates. They
// are a bitset, each observation has a mask computed once, and elimination is
// AND. One policy name left is a verdict, several are undetermined together
// with what would tell them apart, none is a contradiction: the sender changed
// during the test, or its hosts differ.
//
//	connections ─▶ attempts ─▶ observations ─▶ candidates ─▶ name, parts, reasons
//
// # Grades
//
// A delivery (a message transferred) is certain. A refusal is explicit
// (certificate alert, or QUIT without MAIL), silent (closed without QUIT) or
// nothing (reset, timeout, ended by us, failed before our certificate was
// sent). Explicit refusals count after one attempt if the same host delivered
// over TLS elsewhere, else after two; silent ones after two and never where
// something was delivered. Within an attempt a delivery overrides refusals at
// the same face.
//
// A refusal inside TLS that only the client address ties to the sender may be
// that of another sender, who never hands anything over and so stays unseen.
// It counts only under the EHLO name of this sender, in attempts in which its
// mail came, too, and needs two of them, unless the order in which that mail
// tried the MX hosts proves whose it was. A refusal in plaintext needs the EHLO
// name; contact alone never counts. Where such evidence contradicts the mails,
// that it is a stranger's, that the sender changed, and that its hosts differ
// all stay possible.
//
// A mail that is sent again while a test runs may mean that an admin changed a
// setting in between. Everything must then follow from what came since.
//
// All hosts of a sender are taken to behave alike, but a protected name, and
// encrypt, must be shown by one of them alone. What is done at ut, and SNI
// habits, protect nothing at et unless a certificate was refused there.
//
// Silence counts only if the history is known to be without gaps. At ut it
// tells dane-only from dane where other evidence shows DANE.
//
// Absence of DNS queries and policy fetches is never evidence, so a history
// that lost them gives the same verdict or an undetermined one.
//
// A wrong verdict is the worst that this program can do. Wherever evidence can
// be read in two ways, both readings stay possible.
//
// Sources: RFC 7672 (SMTP-DANE), RFC 8461 (MTA-STS), RFC 8689 (REQUIRETLS).
package policyinfer
