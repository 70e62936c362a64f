// Package evidence holds what tlsink observed, and nothing it concluded:
// connections, DNS queries, policy fetches and changes of what was presented.
//
// A history is the evidence of one test. Its interchange form is JSON Lines,
// one object a line in order of time: first the test, then connections,
// queries, policy fetches and states. The same form serves as test fixture, as
// export and as answer of the API. Unknown fields are ignored on reading.
//
// The package depends on nothing. Its values carry no locks: whoever shares a
// Connection between goroutines copies it with [Connection.Clone].
package evidence
