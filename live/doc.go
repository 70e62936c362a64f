// Package live says what a test looks like at this moment: the document that
// its page, the HTTP API and the commands `tlsink watch` and `tlsink test` show,
// and follows it while the test runs.
//
//	lease, assess, mxrotator ─▶ Snapshot ─▶ Of ─▶ Status ─▶ Watcher, Watcher, …
//	         └──── Touch ─────▶ Hub ──┘ one load for all who watch a test
//
// A Status holds no address of a person: those are redacted, like everything
// that strangers wrote. It is made of a [report.Input] and never says more than
// the report would.
package live
