package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
)

// prefix is where the API is mounted.
const prefix = "/api/v1"

//go:embed openapi.yaml
var descriptionYAML []byte

//go:embed openapi.json
var descriptionJSON []byte

// server answers requests.
type server struct {
	o     Options
	heavy chan struct{} // what costs memory

	followers followers
}

// handler answers one request; an error is a problem, or it is logged and the
// client told no more than that.
type handler func(w http.ResponseWriter, r *http.Request) error

// Error implements error.
func (p problem) Error() string { return p.Title }

type route struct {
	method, path string
	handle       handler
}

func (s *server) routes() []route {
	return []route{
		{http.MethodPost, "/tests", s.start},
		{http.MethodGet, "/tests/{capability}", s.status},
		{http.MethodDelete, "/tests/{capability}", s.cancel},
		{http.MethodGet, "/tests/{capability}/events", s.events},
		{http.MethodGet, "/tests/{capability}/report", s.report},
		{http.MethodGet, "/tests/{capability}/history", s.history},
		{http.MethodGet, "/tests/{capability}/badge.svg", s.badge},
		{http.MethodGet, "/tests/{capability}/compare/{other}", s.compare},
		{http.MethodGet, "/openapi.yaml", s.describe("application/yaml", descriptionYAML)},
		{http.MethodGet, "/openapi.json", s.describe("application/json", descriptionJSON)},
	}
}

// New returns the API. It serves whole paths, /api/v1/…, and everything else
// below /api/ is not found.
func New(o Options) (http.Handler, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	s := &server{o: o, heavy: make(chan struct{}, o.Limits.Heavy), followers: followers{most: o.Limits.PerClient, open: make(map[netip.Prefix]int)}}
	mux := http.NewServeMux()
	methods := make(map[string][]string)
	for _, r := range s.routes() {
		mux.Handle(r.method+" "+prefix+r.path, s.answer(r.path, r.handle))
		methods[r.path] = append(methods[r.path], r.method)
		if r.method == http.MethodGet {
			methods[r.path] = append(methods[r.path], http.MethodHead)
		}
	}
	for path, allowed := range methods {
		slices.Sort(allowed)
		mux.Handle(prefix+path, s.answer(path, func(http.ResponseWriter, *http.Request) error {
			p := newProblem(idMethod, "This cannot be done here", http.StatusMethodNotAllowed)
			p.allow = strings.Join(allowed, ", ")
			p.Hint = "Use one of: " + p.allow + "."
			return p
		}))
	}
	mux.Handle("/", s.answer("other", func(http.ResponseWriter, *http.Request) error {
		p := newProblem(idNoRoute, "There is nothing here", http.StatusNotFound)
		p.Hint = "See " + prefix + "/openapi.yaml for what there is."
		return p
	}))
	return mux, nil
}

// answer runs a handler and writes what it returned. path is the pattern: what
// stands in its place in the request is a secret.
func (s *server) answer(path string, handle handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		err := origin.Check(r)
		if err != nil {
			err = crossOrigin()
		} else {
			err = handle(w, r)
		}
		if err == nil {
			return
		}
		p, ok := errors.AsType[problem](err)
		switch {
		case ok:
		case r.Context().Err() != nil:
			p = busy("") // whoever left does not read it; without it the answer would be an empty 200
		default:
			s.o.Logger.Error("request failed", "route", prefix+path, "err", scrub(r, err))
			p = internal()
			if errors.Is(err, ErrBusy) || errors.Is(err, context.DeadlineExceeded) {
				p = busy("")
			}
		}
		p.write(w)
	})
}

func crossOrigin() problem {
	p := newProblem(idOrigin, "This came from another web site", http.StatusForbidden)
	p.Hint = "Web pages of others cannot use this API; programs can."
	return p
}

// scrub removes capabilities from what is logged.
func scrub(r *http.Request, err error) string {
	text := err.Error()
	for _, name := range []string{"capability", "other"} {
		if c := r.PathValue(name); c != "" {
			text = strings.ReplaceAll(text, c, "…")
		}
	}
	return text
}

// language reads the parameter of that name; empty is the test's own.
func language(r *http.Request) (report.Language, error) {
	v, err := parameter(r, "language")
	switch l := report.Language(v); {
	case err != nil:
		return "", err
	case l == "", l == report.English, l == report.German:
		return l, nil
	}
	return "", invalid("language", v, "This language is not known.", "Use en or de.")
}

// parameter returns one value of the query, and refuses several.
func parameter(r *http.Request, name string) (string, error) {
	values := r.URL.Query()[name]
	if len(values) > 1 {
		return "", invalid(name, strings.Join(values, ", "), "This is there several times.", "Name it once.")
	}
	if len(values) == 0 {
		return "", nil
	}
	if values[0] == "" {
		return "", invalid(name, "", "This is empty.", "Leave it out, or give it a value.")
	}
	return values[0], nil
}

// known refuses parameters of the query that mean nothing: a misspelt one would
// silently do something else.
func known(r *http.Request, names ...string) error {
	for name := range r.URL.Query() {
		if !slices.Contains(names, name) {
			hint := "Leave it out."
			if len(names) > 0 {
				hint = "There are: " + strings.Join(names, ", ") + "."
			}
			return invalid(shorten(name), "", "There is no such parameter.", hint)
		}
	}
	return nil
}

// capability returns the one in the path.
func capability(r *http.Request) (string, error) {
	c := r.PathValue("capability")
	if !isCapability(c) {
		return "", notFound()
	}
	return c, nil
}

// look returns the test of the request as it stands.
func (s *server) look(r *http.Request, l report.Language) (capab string, st *live.Status, err error) {
	if capab, err = capability(r); err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.o.Limits.Answer)
	defer cancel()
	st, ok, err := s.o.Live.Status(ctx, capab, l)
	switch {
	case err != nil:
		return "", nil, fmt.Errorf("status of a test: %w", err)
	case !ok:
		return "", nil, notFound()
	}
	return capab, st, nil
}

// tag identifies what a status says, whenever it was made.
func tag(st *live.Status) (string, error) {
	without := *st
	without.Now = st.Started
	b, err := json.Marshal(without)
	if err != nil {
		return "", fmt.Errorf("encode status: %w", err)
	}
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:12]), nil
}

// matches reports whether a client has what etag stands for (RFC 9110 §13.1.2).
func matches(r *http.Request, etag string) bool {
	for candidate := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == "*" || candidate == etag {
			return true
		}
	}
	return false
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a client that left needs no answer
	return nil
}

func (s *server) describe(mediaType string, text []byte) handler {
	sum := sha256.Sum256(text)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := known(r); err != nil {
			return err
		}
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("ETag", etag)
		if matches(r, etag) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		w.Header().Set("Content-Type", mediaType)
		_, _ = w.Write(text) // a client that left needs no answer
		return nil
	}
}
