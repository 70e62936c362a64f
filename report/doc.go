// Package report writes the report of one test: as plain text and HTML for a
// mail, as a fragment for the result page, and as JSON for programs.
//
// It answers in the order in which people ask: is mail protected that I send, and
// mail that I receive; what to do next; and then the evidence: the test over
// time, the receiving servers, the ratings, the test mail, the connections.
//
// Every form is made from one view, in which each value that a stranger chose
// was neutralised and every mail address that is not our own was redacted:
//
//	Input ─▶ view ─┬▶ Text
//	               ├▶ HTML      (inline styles, for mail)
//	               └▶ Fragment  (classes only, for the page)
//	Input ─▶ redacted history ─▶ JSON
//
// The sentences about each verdict stand in one table, see words.go. Nothing
// here reads a clock: the same input gives the same octets.
//
// Functions are safe for concurrent use.
//
// Sources: RFC 7672 (SMTP-DANE), RFC 8461 (MTA-STS), RFC 8689 (REQUIRETLS),
// RFC 5322 §2.1.1 (line length).
package report
