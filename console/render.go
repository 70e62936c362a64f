package console

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

//go:embed templates/*.tmpl
var templateFiles embed.FS

//go:embed style.css
var stylesheet []byte

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"stamp":  stamp,
	"octets": octets,
	"span":   span,
	"join":   strings.Join,
}).ParseFS(templateFiles, "templates/*.tmpl"))

// page is what the layout shows.
type page struct {
	Title   string
	Name    string // of the template of the content
	Here    string // path of the entry of the navigation that it belongs to
	Zone    string
	Token   string // of forms; empty before the login
	Nav     []navEntry
	Done    string // what was done
	Problem string // what was not
	Body    any
	Content template.HTML
}

type navEntry struct {
	Path, Label string
	Here        bool
}

func navigation(here string) []navEntry {
	list := []navEntry{
		{Path: "/console/", Label: "Overview"},
		{Path: "/console/tests", Label: "Tests"},
		{Path: "/console/connections", Label: "Connections"},
		{Path: "/console/check", Label: "Self-check"},
		{Path: "/console/queue", Label: "Reports"},
		{Path: "/console/blocks", Label: "Block list"},
		{Path: "/console/person", Label: "Delete a person"},
		{Path: "/console/retention", Label: "Retention"},
		{Path: "/console/log", Label: "Audit log"},
	}
	for i := range list {
		list[i].Here = list[i].Path == here
	}
	return list
}

// show writes a page of a session.
func (c *console) show(v *visit, status int, p page) error {
	p.Token = v.session.token
	p.Nav = navigation(p.Here)
	if p.Done == "" {
		p.Done = doneText(v.r.URL.Query())
	}
	c.write(v.w, status, p)
	return nil
}

func (c *console) write(w http.ResponseWriter, status int, p page) {
	p.Zone = c.o.Zone
	var content, whole bytes.Buffer
	err := templates.ExecuteTemplate(&content, p.Name+".html.tmpl", p)
	if err == nil {
		p.Content = template.HTML(content.String()) // made by the template above, escaped
		err = templates.ExecuteTemplate(&whole, "layout.html.tmpl", p)
	}
	if err != nil {
		c.log(w).Error("render a page", "page", p.Name, "err", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	text := bytes.Map(visible, whole.Bytes())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // a client that left needs no answer
}

// visible replaces what a page cannot show, or what would turn the text around
// it: "answered 250" must not read as "052 derewsna".
func visible(r rune) rune {
	if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
		return utf8.RuneError
	}
	return r
}

// log ties what is logged to the request, if it was given an id further out.
func (c *console) log(w http.ResponseWriter) *slog.Logger {
	if id := w.Header().Get("X-Request-Id"); id != "" {
		return c.o.Logger.With("request", id)
	}
	return c.o.Logger
}

// fail answers outside of sessions.
func (c *console) fail(w http.ResponseWriter, status int, why string) {
	if why == "" {
		why = "This request can not be answered."
	}
	c.write(w, status, page{Title: http.StatusText(status), Name: "error", Body: why})
}

// errNotFound says that there is no such page, test or connection.
var errNotFound = errors.New("not found")

// badInput is a mistake in a form or an address, in words for its author.
type badInput struct{ text string }

func (e badInput) Error() string { return e.text }

// explain answers where a page or an action failed.
func (c *console) explain(v *visit, err error) {
	status, text := http.StatusInternalServerError, "This did not work. The log says why."
	bad, isBad := errors.AsType[badInput](err)
	switch {
	case isBad:
		status, text = http.StatusBadRequest, bad.text
	case isNotFound(err):
		status, text = http.StatusNotFound, "There is no such page, or what it showed was deleted."
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		status, text = http.StatusServiceUnavailable, "That took too long. Ask for less, or try again."
		c.log(v.w).Warn("a page took too long", "session", v.session.id, "err", err)
	default:
		c.log(v.w).Error("a page failed", "session", v.session.id, "err", err)
	}
	_ = c.show(v, status, page{Title: http.StatusText(status), Name: "error", Body: text}) // show has no error of its own
}

func (c *console) style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "private, max-age=300")
	_, _ = w.Write(stylesheet) // a client that left needs no answer
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func span(d time.Duration) string {
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

func octets(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d MiB", n>>20)
	}
}
