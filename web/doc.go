// Package web serves the MTA-STS policies of the test domains, the result
// page of each test, and a few public pages.
//
//	                 ┌ mta-sts.et[n].<zone> ─▶ policy, every fetch is recorded
//	listener ─▶ host ┼ <zone>, mx.<zone>    ─▶ pages
//	                 └ anything else        ─▶ 404, 421
//
// The policy host is part of the experiment: it answers every sender, without
// redirect, and only over HTTPS (RFC 8461 §3.3). The pages are for people: plain
// HTML without script, one stylesheet, nothing from elsewhere. A result page is
// reached by a capability in its address that nobody can guess; capabilities
// are never logged.
//
// Sources: RFC 8461 (MTA-STS), RFC 6066 §3 (SNI), RFC 9110 (HTTP), RFC 6797
// (HSTS).
package web
