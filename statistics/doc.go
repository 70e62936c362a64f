// Package statistics counts tests without keeping anything about who made them:
// verdicts by month, by provider and by country, and what a few providers that
// the operator names do.
//
//	Source: tests that have ended ──▶ Collector.Sweep ──▶ one value a month
//	                                                          │ once a day
//	                       page, charts, CSV ◀── rounded ◀── what is public
//
// # Counting
//
// A test is counted once, when it has ended, in the month in which its first
// mail came. That it was counted is remembered by a keyed hash of its id, in the
// same value as the numbers: one write has both or neither, so that neither a
// crash nor a restart counts twice. The hash goes as soon as the Source will not
// name the test again, which takes about a day. Numbers do not lead back to a
// test: deleting the test leaves them as they are.
//
// By provider and country only the first test of each sender in a month counts,
// and only if the sender's domain was authenticated: one person can neither fill
// a cell nor be one.
//
// # What is public
//
// Numbers below [Least] are not shown, all others are rounded down to a multiple
// of it, and sums are sums of what is shown: they tell nothing about what is not.
// A provider is named only if, in one month, [Least] of its senders came. What is
// shown changes once a day, so that nobody can watch a single test arrive.
//
// The provider table is another one: only providers that the operator lists are
// in it, see docs/statistics.md.
package statistics
