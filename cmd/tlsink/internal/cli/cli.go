// Package cli is what the commands have in common: their streams, their exit
// status, how they ask, and how they print text of strangers on a terminal.
package cli

import (
	"context"
	"fmt"
	"io"
)

// Env is what a command may use of the process.
type Env struct {
	Ctx    context.Context
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// ExitError ends the process with a status that is a result, not a failure.
type ExitError int

// Error implements error.
func (e ExitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }
