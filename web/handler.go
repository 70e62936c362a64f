package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/tlsink/tlsink/scenario"
)

// guard wraps everything: it recovers panics, refuses what no request here
// needs, applies the rate limit, and logs without capabilities.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &statusWriter{ResponseWriter: w}
		defer func() {
			p := recover()
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p) // the server's own way to abort a response
			}
			if p != nil {
				s.o.Logger.Error("panic in a handler", "err", scrub(r, fmt.Sprint(p)), "route", route(r))
				if rec.status == 0 {
					s.fail(rec, http.StatusInternalServerError)
				}
			}
			s.o.Logger.Debug("request", "method", methodName(r), "route", route(r), "status", rec.status)
		}()
		rec.Header().Set("X-Content-Type-Options", "nosniff")
		if r.TLS != nil {
			// RFC 6797 §7.2: not over plain HTTP. Without includeSubDomains, as
			// the hosts below the zone are the experiment.
			rec.Header().Set("Strict-Transport-Security", "max-age=31536000")
		}
		s.admit(rec, r, next)
	})
}

func (s *Server) admit(w http.ResponseWriter, r *http.Request, next http.Handler) {
	target, ours := s.target(hostOf(r))
	policy := ours && target.Role == scenario.RolePolicy
	cost := pageCost
	if policy {
		cost = fetchCost
	}
	switch {
	case !s.rate.allow(clientOf(r.RemoteAddr), cost, s.o.Now()):
		w.Header().Set("Retry-After", "60")
		s.fail(w, http.StatusTooManyRequests)
	case r.ContentLength != 0: // also -1, a body of unknown length
		w.Header().Set("Connection", "close")
		s.fail(w, http.StatusBadRequest)
	case r.TLS != nil && r.TLS.ServerName != "" && scenario.Canonical(r.TLS.ServerName) != hostOf(r) && !probe(r):
		// RFC 9110 §15.5.20: the connection was made for another host.
		s.fail(w, http.StatusMisdirectedRequest)
	case r.Method != http.MethodGet && r.Method != http.MethodHead && !policy:
		w.Header().Set("Allow", "GET, HEAD")
		s.fail(w, http.StatusMethodNotAllowed)
	default:
		next.ServeHTTP(w, r)
	}
}

// routes sends a request to the handler of its host.
func (s *Server) routes() http.Handler {
	pages := s.pages()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.o.Limits.SourceTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		target, ok := s.target(hostOf(r))
		switch {
		case ok && target.Role == scenario.RolePolicy:
			s.policyHost(w, r, target.Slot)
		case probe(r):
			s.probe(w, r)
		case !ok:
			s.fail(w, http.StatusNotFound)
		case r.TLS == nil:
			// The query is dropped: no page here has one.
			http.Redirect(w, r, "https://"+s.o.Zone+r.URL.EscapedPath(), http.StatusPermanentRedirect)
		default:
			s.pageHeaders(w)
			pages.ServeHTTP(w, r)
		}
	})
}

// probe reports whether the request asks for the state of the process, which
// is answered for every host: monitors often have none but an address.
func probe(r *http.Request) bool { return r.URL.Path == "/healthz" || r.URL.Path == "/readyz" }

func (s *Server) probe(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if r.URL.Path == "/readyz" {
		if status := s.o.Source.Status(r.Context()); !status.Ready {
			http.Error(w, "not ready: "+status.NotReady, http.StatusServiceUnavailable)
			return
		}
	}
	_, _ = io.WriteString(w, "ok\n") // a client that left needs no answer
}

// hostOf returns the host that a request is for, in canonical form.
func hostOf(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return scenario.Canonical(host)
}

// route names a request for the log: never the capability in it, and never
// what a stranger wrote.
func route(r *http.Request) string {
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/t/"):
		return "/t/"
	case path == "/", path == "/status", path == "/style.css", path == policyPath, probe(r):
		return path
	}
	return "other"
}

func methodName(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodOptions, http.MethodDelete:
		return r.Method
	}
	return "other"
}

// scrub removes the capability of the request from a message.
func scrub(r *http.Request, message string) string {
	if token := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/t/"), ".json"); token != r.URL.Path && token != "" {
		return strings.ReplaceAll(message, token, "…")
	}
	return message
}

// statusWriter remembers the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
