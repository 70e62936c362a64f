package main

import (
	"fmt"
	"runtime/debug"

	"github.com/tlsink/tlsink/policyinfer"
)

type versionCmd struct{}

// Run prints the module version and the version of the inference engine.
func (versionCmd) Run(e *env) error {
	version := "(devel)"
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		version = b.Main.Version
	}
	_, err := fmt.Fprintf(e.stdout, "tlsink %s, inference engine %s\n", version, policyinfer.EngineVersion)
	return err
}
