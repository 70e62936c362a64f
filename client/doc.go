// Package client uses the HTTP API of a tlsink: starts tests, follows them, and
// fetches what was found.
//
// [Client.Follow] survives what happens to a connection that lasts for hours: it
// comes back after a while that doubles, with the last event it has, and takes
// silence for a dead connection. What a server sends is bounded.
package client
