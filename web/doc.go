// Package web serves the MTA-STS policies of the test domains, the page of each
// test, and a few public pages.
//
//	                 ┌ mta-sts.et[n].<zone> ─▶ policy, every fetch is recorded
//	listener ─▶ host ┼ <zone>, mx.<zone>    ─▶ pages; /api/, /console/, /statistics of others
//	                 └ anything else        ─▶ 404, 421
//
// The policy host is part of the experiment: it answers every sender, without
// redirect, and only over HTTPS (RFC 8461 §3.3). The pages are for people: HTML
// that works without script, one stylesheet, one script, nothing from
// elsewhere. The page of a test is reached by a capability in its address that
// nobody can guess; capabilities are never logged.
//
// A page of a test is made of parts. While it is open, the parts that change
// come as server-sent events: the same HTML, rendered once for all who look.
//
//	Live ─▶ room ─▶ rendering ─┬▶ stream ─▶ page
//	   one for each test and   ├▶ stream ─▶ page
//	   language that is open   └▶ page without script, which loads itself again
//
// A version, which is a hash of its content, says what a page shows; after a
// break it gets what it has missed. The stream ends with the test, when its
// report is complete.
//
// Sources: RFC 8461 (MTA-STS), RFC 6066 §3 (SNI), RFC 9110 (HTTP), RFC 6797
// (HSTS), WHATWG HTML §9.2 (server-sent events), WCAG 2.2 AA.
package web
