package web

import (
	"encoding/hex"
	"io"
	"net/http"
)

// requestID is the header field that ties an answer to lines of the log. One
// that the client sent is ignored.
const requestID = "X-Request-Id"

// contentPolicy allows what comes from here, and no script or style inside a
// page. Scripts may make HTML of text in one place only (live.js).
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types tlsink"

// permissions switches off what no page here uses.
const permissions = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=(), " +
	"clipboard-read=(), clipboard-write=(self)"

// commonHeaders are those of every answer.
func (s *Server) commonHeaders(h http.Header, r *http.Request) {
	h.Set("X-Content-Type-Options", "nosniff")
	id := make([]byte, 8)
	if _, err := io.ReadFull(s.o.Rand, id); err == nil {
		h.Set(requestID, hex.EncodeToString(id))
	}
	if r.TLS != nil {
		// RFC 6797 §7.2: not over plain HTTP. Without includeSubDomains, as
		// the hosts below the zone are the experiment.
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// pageHeaders are those of pages, and of what others serve beside them until
// they say something else.
func (s *Server) pageHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", permissions)
	h.Set("Cache-Control", "no-store")
}
