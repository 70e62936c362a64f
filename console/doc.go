// Package console is the operator's console: pages behind a password over what
// package operate can do. It is plain HTML, forms and one stylesheet; there is
// no script.
//
//	request ─▶ method, size, Sec-Fetch-Site ─▶ session? ─▶ token of the form ─▶ page or action
//	                                            │ no
//	                                            ▼
//	                                    /console/login ─▶ may this client try? ─▶ argon2id ─▶ new session
//
// There is no default password: without a password file the console is off.
// The file is read again at every request, so that a new password counts at
// once and ends every session. Wrong passwords make their client wait twice as
// long each time. Many of them from everywhere make everybody wait a little,
// but for browsers that were let in before: strangers can not lock them out.
//
// GET never changes anything. Whatever changes something is a POST with the
// token of the session, and one entry in the audit log, which package operate
// writes.
//
// Sources: RFC 9106 (argon2), RFC 6265bis (cookies and their prefixes), RFC
// 9110 (HTTP), Fetch metadata (W3C).
package console
