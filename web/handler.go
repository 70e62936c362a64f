package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/tlsink/tlsink/scenario"
)

// guard wraps everything: it recovers panics, refuses what no request here
// needs, applies the rate limit, and logs without capabilities.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec, began := &statusWriter{ResponseWriter: w}, s.o.Now()
		s.commonHeaders(rec.Header(), r)
		defer func() {
			p := recover()
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p) // the server's own way to abort a response
			}
			if p != nil {
				s.log(rec).Error("panic in a handler", "err", scrub(r, fmt.Sprint(p)), "route", route(r))
				if rec.status == 0 {
					s.fail(rec, r, http.StatusInternalServerError)
				}
			}
			s.log(rec).Debug("request", "method", methodName(r), "route", route(r), "status", rec.status)
			s.o.Served(route(r), methodName(r), rec.status, s.o.Now().Sub(began))
		}()
		s.admit(rec, r, next)
	})
}

// log returns the logger for what happens to a request.
func (s *Server) log(w http.ResponseWriter) *slog.Logger {
	return s.o.Logger.With("request", w.Header().Get(requestID))
}

// A kind of request has its own cost and may have a body, or not.
type kind int

const (
	kindPage   kind = iota
	kindPolicy      // of MTA-STS
	kindAsset       // what pages load
	kindForm        // sent with POST
	kindMount       // of another package, which decides for itself
)

func kindOf(r *http.Request, policy bool) kind {
	path := r.URL.Path
	switch {
	case policy:
		return kindPolicy
	case path == stylePath, path == scriptPath, path == iconPath:
		return kindAsset
	case path == "/start", strings.HasPrefix(path, "/t/") && strings.HasSuffix(path, "/cancel"):
		return kindForm
	case mounted(path):
		return kindMount
	}
	return kindPage
}

// mounted reports whether a path belongs to the handler of another package.
func mounted(path string) bool {
	return strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/console/") || strings.HasPrefix(path, "/statistics")
}

func (k kind) cost() int {
	if k == kindPolicy || k == kindAsset {
		return fetchCost
	}
	return pageCost
}

// body is how long that of a request may be.
func (s *Server) body(k kind, r *http.Request) int64 {
	switch {
	case k == kindMount:
		return s.o.Limits.MaxBody
	case k == kindForm && r.Method == http.MethodPost:
		return maxForm
	}
	return 0
}

// allows lists the methods of a kind of request; empty means any.
func (k kind) allows() string {
	switch k {
	case kindPolicy, kindMount:
		return ""
	case kindForm:
		return "POST"
	}
	return "GET, HEAD"
}

func (s *Server) admit(w http.ResponseWriter, r *http.Request, next http.Handler) {
	target, ours := s.target(hostOf(r))
	k := kindOf(r, ours && target.Role == scenario.RolePolicy)
	most, allowed := s.body(k, r), k.allows()
	switch {
	case !s.rate.allow(clientOf(r.RemoteAddr), k.cost(), s.o.Now()):
		w.Header().Set("Retry-After", "60")
		s.fail(w, r, http.StatusTooManyRequests)
	case r.ContentLength != 0 && most == 0: // also -1, a body of unknown length
		w.Header().Set("Connection", "close")
		s.fail(w, r, http.StatusBadRequest)
	case r.ContentLength > most:
		w.Header().Set("Connection", "close")
		s.fail(w, r, http.StatusRequestEntityTooLarge)
	case r.TLS != nil && r.TLS.ServerName != "" && scenario.Canonical(r.TLS.ServerName) != hostOf(r) && !probe(r):
		// RFC 9110 §15.5.20: the connection was made for another host.
		s.fail(w, r, http.StatusMisdirectedRequest)
	case allowed != "" && !slices.Contains(strings.Split(allowed, ", "), r.Method):
		w.Header().Set("Allow", allowed)
		s.fail(w, r, http.StatusMethodNotAllowed)
	case k != kindPolicy && s.origin.Check(r) != nil:
		s.fail(w, r, http.StatusForbidden)
	default:
		if most > 0 {
			r.Body = http.MaxBytesReader(w, r.Body, most)
		}
		next.ServeHTTP(w, r)
	}
}

// routes sends a request to the handler of its host.
func (s *Server) routes() http.Handler {
	pages := s.pages()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target, ok := s.target(hostOf(r))
		switch {
		case ok && target.Role == scenario.RolePolicy:
			s.policyHost(w, r, target.Slot)
		case probe(r):
			s.timed(s.probe)(w, r)
		case !ok:
			s.fail(w, r, http.StatusNotFound)
		case r.TLS == nil && r.Method != http.MethodGet && r.Method != http.MethodHead:
			// What was sent has been in the open: it is not done.
			s.fail(w, r, http.StatusForbidden)
		case r.TLS == nil:
			// The query is dropped: it may hold the link of a test.
			http.Redirect(w, r, "https://"+s.o.Zone+r.URL.EscapedPath(), http.StatusPermanentRedirect)
		case s.blocked(r):
			s.fail(w, r, http.StatusForbidden)
		default:
			s.pageHeaders(w)
			pages.ServeHTTP(w, r)
		}
	})
}

// blocked reports whether the operator keeps the client out. The console stays
// open: it is where that is undone.
func (s *Server) blocked(r *http.Request) bool {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || strings.HasPrefix(r.URL.Path, "/console/") {
		return false
	}
	_, blocked := s.o.Blocked(ap.Addr().Unmap())
	return blocked
}

// timed bounds what a handler waits for.
func (s *Server) timed(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.o.Limits.SourceTimeout)
		defer cancel()
		next(w, r.WithContext(ctx))
	}
}

// mount bounds a handler of another package: the body by now, reading it as
// every request. An answer that goes on ends when the server does.
func (s *Server) mount(next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if next == nil {
			s.fail(w, r, http.StatusNotFound)
			return
		}
		if r.Method == http.MethodGet {
			ctx, cancel := s.untilClosing(r.Context())
			defer cancel()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
		if rec, ok := w.(*statusWriter); ok && rec.status == http.StatusNotFound && strings.HasPrefix(r.URL.Path, "/api/") {
			s.rate.charge(clientOf(r.RemoteAddr), guessCost, s.o.Now()) // like a wrong link to a page
		}
	}
}

// untilClosing returns a context that ends when the server is about to.
func (s *Server) untilClosing(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.closing, cancel)
	return ctx, func() { stop(); cancel() }
}

// probe reports whether the request asks for the state of the process, which
// is answered for every host: monitors often have none but an address.
func probe(r *http.Request) bool { return r.URL.Path == "/healthz" || r.URL.Path == "/readyz" }

func (s *Server) probe(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if r.URL.Path == "/readyz" {
		if ready, why := s.ready(r.Context()); !ready {
			http.Error(w, "not ready: "+why, http.StatusServiceUnavailable)
			return
		}
	}
	_, _ = io.WriteString(w, "ok\n") // a client that left needs no answer
}

// ready reports whether tests are possible, and why not.
func (s *Server) ready(ctx context.Context) (ready bool, why string) {
	if s.o.Ready != nil {
		return s.o.Ready()
	}
	st := s.o.Source.Status(ctx)
	return st.Ready, st.NotReady
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
	path := r.URL.Path
	for _, prefix := range []string{"/t/", "/api/", "/console/", "/statistics"} {
		if strings.HasPrefix(path, prefix) {
			if prefix != "/console/" && strings.HasSuffix(path, "/events") {
				return prefix + "events"
			}
			return prefix
		}
	}
	switch path {
	case "/", "/en", "/de", "/start", "/status", "/privacy", stylePath, scriptPath, iconPath, policyPath, "/healthz", "/readyz":
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

// scrub removes the capabilities of the request from a message.
func scrub(r *http.Request, message string) string {
	for part := range strings.SplitSeq(r.URL.Path+"/"+r.URL.Query().Get("with"), "/") {
		if part, _, _ = strings.Cut(part, "."); capabilityPattern.MatchString(part) {
			message = strings.ReplaceAll(message, part, "…")
		}
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
