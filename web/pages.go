package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/scenario"
)

//go:embed templates/*.tmpl
var templateFiles embed.FS

//go:embed style.css
var stylesheet []byte

var templates = template.Must(template.ParseFS(templateFiles, "templates/*.tmpl"))

// capabilityPattern says what may be looked up: at least 128 bits in base32 or
// base64url. Others need not be, as they never were given out.
var capabilityPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{22,64}$`)

// contentPolicy allows the stylesheet and nothing else.
const contentPolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (s *Server) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.front)
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("GET /style.css", s.style)
	mux.HandleFunc("GET /t/{capability}", s.result)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { s.fail(w, http.StatusNotFound) })
	return mux
}

func (s *Server) pageHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// A page is what the layout shows.
type page struct {
	Title   string
	Zone    string
	Refresh int // seconds; 0: none
	JSON    string
	Words   words
	Front   *frontPage
	Status  *statusPage
	Report  template.HTML
	Error   string
}

type frontPage struct {
	ET, UT string
	Mailto template.URL
}

type statusPage struct {
	Status
	Checked, Uptime, Version string
}

func (s *Server) front(w http.ResponseWriter, _ *http.Request) {
	names := scenario.Names(s.o.Zone, 0)
	front := frontPage{ET: "en@" + names.ET, UT: "en@" + names.UT}
	// Both names come from the configuration.
	front.Mailto = template.URL("mailto:" + front.ET + "," + front.UT + "?subject=Test")
	s.write(w, http.StatusOK, page{Title: "Test how your provider protects mail", Front: &front})
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	st := s.o.Source.Status(r.Context())
	s.write(w, http.StatusOK, page{Title: "Status", Status: &statusPage{
		Status: st, Checked: stamp(st.ZoneChecked),
		Uptime: s.o.Now().Sub(s.started).Round(time.Second).String(), Version: s.o.Version,
	}})
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func (s *Server) style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(stylesheet) // a client that left needs no answer
}

// result shows a test to whoever has its capability.
func (s *Server) result(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Robots-Tag", "noindex, nofollow")
	capability, asJSON := strings.CutSuffix(r.PathValue("capability"), ".json")
	if !capabilityPattern.MatchString(capability) {
		s.fail(w, http.StatusNotFound)
		return
	}
	in, ok, err := s.o.Source.Result(r.Context(), capability)
	switch {
	case err != nil:
		s.o.Logger.Error("look up a result", "err", scrub(r, err.Error()))
		s.fail(w, http.StatusServiceUnavailable)
	case !ok:
		s.fail(w, http.StatusNotFound)
	case asJSON:
		s.resultJSON(w, r, in)
	default:
		s.resultPage(w, r, in, capability)
	}
}

func (s *Server) resultJSON(w http.ResponseWriter, r *http.Request, in report.Input) {
	b, err := report.JSON(in)
	if err != nil {
		s.o.Logger.Error("render a result", "err", scrub(r, err.Error()))
		s.fail(w, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // a client that left needs no answer
}

func (s *Server) resultPage(w http.ResponseWriter, r *http.Request, in report.Input, capability string) {
	body, err := report.Fragment(in)
	if err != nil {
		s.o.Logger.Error("render a result", "err", scrub(r, err.Error()))
		s.fail(w, http.StatusInternalServerError)
		return
	}
	around := wordsOf(in.Language)
	p := page{Title: around.Result, Words: around, Report: body, JSON: "/t/" + capability + ".json"}
	if in.State == report.StateRunning || in.InboundMissing == report.NotReady {
		p.Refresh = s.o.Limits.RefreshInSeconds
	}
	s.write(w, http.StatusOK, p)
}

// fail answers with an error page that says the same for every cause.
func (s *Server) fail(w http.ResponseWriter, status int) {
	s.pageHeaders(w)
	text := ""
	switch status {
	case http.StatusNotFound:
		text = "There is no such page. A result page is deleted after the retention period of this service."
	case http.StatusTooManyRequests:
		text = "Too many requests. Please wait a minute."
	case http.StatusServiceUnavailable, http.StatusInternalServerError:
		text = "This does not work at the moment. Please try again later."
	default:
		text = "This request can not be answered."
	}
	s.write(w, status, page{Title: http.StatusText(status), Error: text})
}

func (s *Server) write(w http.ResponseWriter, status int, p page) {
	p.Zone = s.o.Zone
	if p.Words == (words{}) {
		p.Words = wordsOf(report.English)
	}
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, "layout.html.tmpl", p); err != nil {
		s.o.Logger.Error("render a page", "err", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", fmt.Sprint(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a client that left needs no answer
}
