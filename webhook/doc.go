// Package webhook tells programs of others that a test is over: it signs a
// short message, keeps it durably, and tries until it is taken or a day has
// passed.
//
//	Completed ──▶ pending ──▶ attempt ──▶ delivered
//	                ▲            │
//	                └─ back-off ─┴──▶ given up (a day, or 410)
//
// Two kinds of URLs are called: those of the operator, for every test, and the
// one that a test was started with, if its host is on the operator's list. Only
// the latter learns the link to the result: whoever started the test has it
// anyway. Requests go over HTTPS, to where the dial function allows, follow no
// redirect, and what is answered is not read beyond its status.
//
// A crash between a delivery and its record makes a second one, with the same
// identifier and body: receivers ignore an identifier that they know.
//
// Headers and signature are those of Standard Webhooks
// (https://www.standardwebhooks.com): HMAC-SHA256 over "id.timestamp.body".
package webhook
