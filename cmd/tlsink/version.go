package main

import (
	"fmt"
	"runtime/debug"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/policyinfer"
)

type versionCmd struct{}

// Run prints the module version and the version of the inference engine.
func (versionCmd) Run(e *cli.Env) error {
	_, err := fmt.Fprintf(e.Stdout, "tlsink %s, inference engine %s\n", moduleVersion(), policyinfer.EngineVersion)
	return err
}

func moduleVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(devel)"
}
