// Package operate holds the operator's actions: what the commands of `tlsink`
// on a running service do, and what the console shows. It knows the evidence
// and how it is stored; everything else of the service it asks through small
// interfaces.
//
//	tlsink tests … ─▶ control socket ─┐                ┌─▶ history (search, evidence, queue)
//	                                  ├─▶ Operator ────┼─▶ assess (running tests), mailer, lease
//	console ──────────────────────────┘      │         └─▶ blocklist
//	                                         ▼
//	                          one log entry, one audit record
//
// An operator sees addresses in full; what is kept of an action does not. An
// action that changes something takes an [Actor]. Once it is done, it is
// recorded ([Operator.Audit], the last 1000, in the history's file) and logged,
// once. Neither has an address, a network or a secret in it.
//
// Lists come in pages. A search reads a bounded number of tests; where that
// ends before the page is full, the page says so and where to go on.
package operate
