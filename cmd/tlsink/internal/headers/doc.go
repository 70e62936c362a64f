// Package headers is the command that tells the way of a mail, and which steps
// of it claim encryption, from its header.
package headers
