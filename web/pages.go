package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/scenario"
)

func (s *Server) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.front)
	mux.HandleFunc("GET /en", s.front)
	mux.HandleFunc("GET /de", s.front)
	mux.HandleFunc("GET /privacy", s.privacy)
	mux.HandleFunc("GET /status", s.timed(s.status))
	mux.HandleFunc("GET "+stylePath, asset("text/css; charset=utf-8", stylesheet))
	mux.HandleFunc("GET "+scriptPath, asset("text/javascript; charset=utf-8", script))
	mux.HandleFunc("GET "+iconPath, asset("image/svg+xml", icon))

	mux.HandleFunc("POST /start", s.timed(s.start))
	mux.HandleFunc("GET /t/{capability}", s.timed(s.test))
	mux.HandleFunc("GET /t/{capability}/events", s.events)
	mux.HandleFunc("GET /t/{capability}/qr.svg", s.timed(s.qr))
	mux.HandleFunc("GET /t/{capability}/badge.svg", s.timed(s.badge))
	mux.HandleFunc("GET /t/{capability}/compare", s.timed(s.compare))
	mux.HandleFunc("POST /t/{capability}/cancel", s.timed(s.cancel))

	mux.HandleFunc("/api/", s.mount(s.o.API))
	mux.HandleFunc("/console/", s.mount(s.o.Console))
	mux.Handle("/console", http.RedirectHandler("/console/", http.StatusPermanentRedirect))
	for _, path := range []string{"/statistics", "/statistics/", "/statistics.csv"} {
		mux.HandleFunc(path, s.mount(s.o.Statistics))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, http.StatusNotFound) })
	return mux
}

// A page is what the layout shows.
type page struct {
	Title   string
	Zone    string
	Words   words
	Version string // of the test on it, for live.js
	Events  string // where live.js finds its events
	Refresh int    // seconds, where there is no script; 0: none
	Home    string // the front page in this language
	Other   link   // the same page in the other language; may be empty
	Stats   bool   // there is a page of statistics

	Style, Script string // addresses

	Front   *frontPage
	Privacy *privacyPage
	Status  *statusPage
	Test    *testPage
	Compare *comparePage
	Failure *failure
}

type link struct{ Address, Text, Lang string }

type failure struct {
	Text string
	Back string // address of a way out
}

type frontPage struct {
	ET, UT  string
	Mailto  template.URL
	Lease   bool
	Lang    string
	Privacy Privacy
	Keep    string
}

type statusPage struct {
	Status
	Checked, Uptime, Version string
}

func (s *Server) front(w http.ResponseWriter, r *http.Request) {
	l := report.Language(strings.TrimPrefix(r.URL.Path, "/"))
	if l == "" {
		l = languageOf(r)
		w.Header().Set("Vary", "Accept-Language")
	}
	names, around := scenario.Names(s.o.Zone, 0), wordsOf(l)
	front := frontPage{
		ET: string(l) + "@" + names.ET, UT: string(l) + "@" + names.UT, Lease: s.o.Leases != nil, Lang: string(l),
		Privacy: s.o.Privacy, Keep: around.span(s.o.Privacy.Retention),
	}
	// Both names come from the configuration.
	front.Mailto = template.URL("mailto:" + front.ET + "," + front.UT + "?subject=Test")
	p := page{Title: around.FrontTitle, Words: around, Front: &front}
	p.Other = link{"/" + around.OtherLang, around.OtherName, around.OtherLang}
	s.write(w, http.StatusOK, p)
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	st := s.o.Source.Status(r.Context())
	around := wordsOf(chosen(r))
	s.write(w, http.StatusOK, page{Title: around.StatusTitle, Words: around, Other: otherOf(r, around), Status: &statusPage{
		Status: st, Checked: around.stamp(st.ZoneChecked),
		Uptime: s.o.Now().Sub(s.started).Round(time.Second).String(), Version: s.o.Version,
	}})
}

// fail answers with an error page that says the same for every cause.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, status int) {
	around := wordsOf(languageOf(r))
	text, ok := around.Failures[status]
	if !ok {
		text = around.Failures[http.StatusBadRequest]
	}
	s.failWith(w, r, status, text)
}

func (s *Server) failWith(w http.ResponseWriter, r *http.Request, status int, text string) {
	s.pageHeaders(w)
	if strings.HasPrefix(r.URL.Path, "/api/") {
		// RFC 9457: programs get what programs read.
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		fmt.Fprintf(w, "{\"title\":%q,\"status\":%d}\n", http.StatusText(status), status)
		return
	}
	around := wordsOf(languageOf(r))
	s.write(w, status, page{Title: fmt.Sprintf(around.FailTitle, status), Words: around, Failure: &failure{Text: text, Back: "/" + around.Lang}})
}

func (s *Server) write(w http.ResponseWriter, status int, p page) {
	p.Zone, p.Home, p.Stats, p.Style, p.Script = s.o.Zone, "/"+p.Words.Lang, s.o.Statistics != nil, styleAddress, scriptAddress
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, "layout.html.tmpl", p); err != nil {
		s.log(w).Error("render a page", "err", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", p.Words.Lang)
	w.Header().Set("Content-Length", fmt.Sprint(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a client that left needs no answer
}
