// Package control is the way to a running service: a socket in data_dir, open to
// its owner only. The history has one opener, so every command that changes or
// reads it asks the service.
package control
