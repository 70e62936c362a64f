// Package config reads tlsink.toml: settings, their defaults, and everything
// that is wrong with them, each with the field, the value and what to do.
//
// Load reads and checks a file; CheckHost and Warnings look at what it names on
// this machine. A Config is plain data: nobody here opens a socket or starts
// anything.
package config
