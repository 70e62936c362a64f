// Package sink is the SMTP listener: one server that shows every client one of
// seven faces, takes part in the whole protocol, and records everything.
//
//	net.Listener ─▶ Server.ServeConn ─▶ Director.Accepted
//	                      │
//	            wire.Conn (lines, STARTTLS, limits, deadlines, ending)
//	                      │
//	            go-smtp ──┴─▶ session ─▶ Inspector, Director.Message, Mailbox
//	                      │
//	                Director.Closed(evidence.Connection)
//
// What is decided elsewhere comes through [Director]: the phase of a client,
// the default certificate, and the reply to a message. The package itself
// knows the rules of one connection:
//
//   - A session has the phase of its first EHLO. Once that phase is over, or a
//     message was answered with a temporary failure, the session is ended by
//     421: when the client was silent for a while, or at its next MAIL, never
//     within a transaction. Such endings are "server", never a refusal.
//   - Only recipients of the zone are accepted, see recipient: en and de in slot
//     0, the token of whoever has it in any other slot. A transaction is either
//     to one test domain of one slot or to the mailbox.
//   - Mail to the mailbox (postmaster, abuse, report addresses) is accepted in
//     every phase and is never evidence: of such a transaction only the
//     reverse-path stays, without recipients, data or reply. The status of the
//     connection is still Mail, for MAIL did come: a connection that carried
//     it did not refuse our face. It never becomes Acked.
//   - A message counts as transferred only when its end was seen. That
//     includes one that was too large and answered 552.
//
// TLS accepts every version from 1.0 and every cipher suite that crypto/tls
// has, with an ECDSA and an RSA certificate, without session tickets.
//
// RFC 5321 (SMTP), RFC 2034 and 3463 (enhanced status codes), RFC 1870 (SIZE),
// RFC 6531 (SMTPUTF8), RFC 3207 (STARTTLS), RFC 8689 (REQUIRETLS), RFC 7672,
// RFC 8461.
package sink
