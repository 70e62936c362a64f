package main

import (
	"io"
	"net/http"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/backups"
)

// serveBackup writes a backup of the running service. What goes wrong half way
// breaks the connection, so that nobody takes the half for the whole.
func (s *service) serveBackup(w http.ResponseWriter, _ *http.Request) {
	out := &begun{Writer: w}
	err := backups.Write(&s.cfg, out, s.store.CopyTo)
	switch {
	case err == nil:
		s.log.Info("backup written")
	case out.yes:
		s.log.Error("backup failed", "err", err)
		panic(http.ErrAbortHandler)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// begun remembers whether anything was written.
type begun struct {
	io.Writer
	yes bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.yes = true
	return b.Writer.Write(p)
}
