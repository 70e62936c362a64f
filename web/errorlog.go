package web

import (
	"log/slog"
	"regexp"
	"strings"
)

// errorLog takes what net/http logs: handshakes of strangers that failed, and the
// like. It leaves out whose.
type errorLog struct{ log *slog.Logger }

var addressPattern = regexp.MustCompile(`\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?|\[[0-9a-fA-F:.]+(?:%[^\]]*)?\](?::\d+)?`)

// Write implements io.Writer.
func (l errorLog) Write(b []byte) (int, error) {
	l.log.Debug("http server", "err", addressPattern.ReplaceAllString(strings.TrimSpace(string(b)), "…"))
	return len(b), nil
}
