package cli

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
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

// ResolverAddress completes an address by the port.
func ResolverAddress(s string) (string, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a, 53).String(), nil
	}
	if at, err := netip.ParseAddrPort(s); err == nil && at.Port() != 0 {
		return at.String(), nil
	}
	return "", fmt.Errorf("--resolver is %q: want an IP address, with or without a port, e.g. 127.0.0.1 or [::1]:5353", s)
}
