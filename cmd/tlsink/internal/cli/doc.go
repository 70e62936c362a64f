// Package cli is what the commands have in common: their streams, their exit
// status, how they ask, and how they print text of strangers on a terminal.
package cli
