package main

import (
	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/config"
)

// announce logs what is not right yet, or may not be, at the start. What only a
// look from outside can tell comes from the self check, a moment later.
func (s *service) announce() {
	for _, w := range s.cfg.Warnings(config.ThisHost()) {
		s.log.Warn("configuration: may be wrong", "field", w.Field, "problem", w.Text, "fix", w.Fix)
	}
	if missing, _ := certs.Missing(s.certs.Status()); missing > 0 {
		s.log.Warn("certificates are still to come: senders that ask for them are put off until then, and no verdict rests on it",
			"missing", missing, "fix", "wait; `tlsink keys list` says what each of them waits for")
	}
}
