package certs

import (
	"context"
	"strings"
)

// stateLeftovers says how many files of single slots were reported.
const stateLeftovers = "certs/leftovers"

// tellLeftovers says once that files of single slots are not used: slots had
// keys of their own before they shared those of slot 0. They are kept, for whoever
// goes back.
func (s *Store) tellLeftovers(ctx context.Context) {
	names, err := s.vault.list("keys")
	if err != nil {
		return // loadKeys has told
	}
	found, told := 0, 0
	for _, name := range names {
		if slot, _, ok := strings.Cut(name, "-"); ok && slot != "0" && strings.Trim(slot, "0123456789") == "" {
			found++
		}
	}
	s.load(ctx, stateLeftovers, &told)
	if found == 0 || found == told {
		return
	}
	s.opts.Logger.InfoContext(ctx, "keys of single slots are not used any more: all slots share those of slot 0", "files", found, "directory", s.vault.path("keys"))
	s.save(ctx, stateLeftovers, found)
}
