package main

import (
	"fmt"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/policyinfer"
)

type versionCmd struct{}

// Run prints the module version and the version of the inference engine.
func (versionCmd) Run(e *cli.Env) error {
	_, err := fmt.Fprintf(e.Stdout, "tlsink %s, inference engine %s\n", cli.ModuleVersion(), policyinfer.EngineVersion)
	return err
}
