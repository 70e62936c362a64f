package doctor

import (
	"slices"
	"strings"
)

// plain is an error in the words of an operator: without which of our functions
// met it, and from which port.
func plain(err error) string {
	var out []string
	for line := range strings.Lines(err.Error()) {
		if i := strings.Index(line, "ask for "); i >= 0 {
			_, line, _ = strings.Cut(line[i:], ": ")
		}
		for _, call := range []string{"read udp ", "read tcp ", "write udp ", "write tcp ", "dial udp ", "dial tcp "} {
			before, after, found := strings.Cut(line, call)
			if !found {
				continue
			}
			_, why, _ := strings.Cut(after, ": ")
			line = before + why
		}
		line = strings.ReplaceAll(line, "i/o timeout", "no answer")
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "; ")
}
