// Package wire puts a connection of tlsink's own between a client and the SMTP
// engine (go-smtp), which cannot offer STARTTLS per connection and reports
// nothing about handshakes.
//
// A [Conn] is the net.Conn that the engine reads and writes. It hands the
// engine one command line per Read, so that replies stay in order under
// PIPELINING; it runs STARTTLS itself; it owns every deadline and every limit
// on lines; it coalesces replies; and it knows in the end how the connection
// ended. The engine never sees TLS, a deadline, or an error other than EOF.
//
//	          DATA answered 354
//	command ────────────────────▶ data   until the line "."
//	   │  ▲ ◀────────────────────   │
//	   │  │                         │ the client leaves, or we end it
//	   │  │ after n octets          ▼
//	   │  └────────────── bdat ──▶ dead   reads are EOF, writes are dropped
//	   │    BDAT n          ▲       ▲
//	   └────────────────────┘       │
//	   └────────────────────────────┘
//
// Only in state command is a line a command. After a handshake MAIL, RCPT,
// DATA and BDAT are refused until a new EHLO.
//
// Line rules: a command line longer than the limit, or with NUL or a bare CR,
// is answered 500 and not passed on; one that ends in a bare LF is passed on
// and recorded. A message may contain anything but ends only with
// CRLF "." CRLF; NUL, bare CR, bare LF and overlong lines in it are recorded.
// Nothing is relayed, so nothing can be smuggled on; refusing such mail would
// only lose the evidence.
//
// RFC 5321 (SMTP), RFC 2920 (PIPELINING), RFC 3030 (CHUNKING), RFC 3207
// (STARTTLS), RFC 8446 and 5246 (TLS, alerts), RFC 8689 (REQUIRETLS).
package wire
