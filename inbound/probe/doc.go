// Package probe looks at one SMTP server from outside: does it offer STARTTLS,
// does it insist on it, which TLS versions and suites does it take, and which
// certificate does it show.
//
// It makes one connection after the other, eight at most, with a pause in
// between, says who it is in EHLO, leaves with QUIT where it can, and never
// sends a mail:
//
//	1     greeting ─▶ EHLO ─▶ MAIL, RCPT, RSET ─▶ STARTTLS ─▶ handshake ─▶ QUIT
//	      └ is TLS mandatory? ──────┘                └ certificate, best version
//	(1b)  again without the transaction, if STARTTLS did not work after it
//	2…6   … STARTTLS ─▶ ClientHello with one version and all suites ─▶ close
//	7     … STARTTLS ─▶ ClientHello without forward secrecy ─▶ close
//
// crypto/tls has neither DHE nor SSL 3.0, so the ClientHellos of 2 to 7 are
// written here, and no handshake is completed with them: the answer to a
// ClientHello shows what was chosen, and up to TLS 1.2 the certificate. What an
// earlier connection showed is not asked again.
//
// "TLS 1.2 with forward secrecy or TLS 1.3 is mandatory" is the lowest of the
// versions that are taken, with ForwardSecrecy, which holds for TLS 1.2 and
// older, and with Mandatory.
//
// # What is a no
//
// Only what the server says clearly: an alert about what was offered
// (handshake_failure, protocol_version, insufficient_security), or that it closes
// the connection after the ClientHello. Silence, a reset, another alert and any
// 4yz reply leave a question untested. When a later connection is refused, or
// gets no further than STARTTLS, the server is left alone and the rest is
// untested. One alert more is a no: internal_error to what is older than TLS 1.2,
// if nothing older than that is taken but something newer; so OpenSSL 3 says that
// its security level forbids their signatures.
//
// A yes needs more than a chosen version where more can be seen: the handshake
// that crypto/tls completes, or up to TLS 1.2 all that the server sends before
// it waits. A server that chooses TLS 1.3 and then fails does not have it.
//
// A server takes mail without TLS if it accepts MAIL FROM:<> and RCPT
// TO:<postmaster@domain> in plaintext. It insists on TLS if it refuses one of
// them and says so; any other refusal (greylisting, block lists, no such user)
// says nothing about TLS.
//
// Specifications: RFC 3207, RFC 5246, RFC 5321, RFC 5746, RFC 6101, RFC 6125,
// RFC 7685, RFC 8446.
package probe
