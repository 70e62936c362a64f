package cli

import "runtime/debug"

// ModuleVersion is the version that this binary was built from.
func ModuleVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(devel)"
}
