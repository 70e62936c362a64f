package statistics

import (
	"bytes"
	"embed"
	"encoding/csv"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
)

//go:embed templates/*.tmpl
var templateFiles embed.FS

//go:embed style.css
var stylesheet []byte

var pageTemplate = template.Must(template.ParseFS(templateFiles, "templates/*.tmpl"))

// Handler answers /statistics (HTML; ?l=de for German), /statistics.csv and
// /statistics/style.css. The page also needs the stylesheet of package web at
// /style.css, and holds neither style nor script.
func (c *Collector) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /statistics", c.page)
	mux.HandleFunc("GET /statistics.csv", c.csv)
	mux.HandleFunc("GET /statistics/style.css", style)
	return mux
}

// shown is the page.
type shown struct {
	W        words
	Zone     string
	Counted  string
	Empty    bool
	Sections []section
	Listed   []listedRow
	Legend   []legend
	Engines  string
}

type section struct {
	ID, Title, Text, Caption string
	Chart                    template.HTML
	Head                     []string
	Rows                     []tableRow
}

type tableRow struct {
	Name  string
	Cells []string
}

type listedRow struct {
	Name, Domain, Outbound, Verdicts, Inbound, Senders, Month string
	OutMark, InMark                                           template.HTML
}

type legend struct {
	Mark       template.HTML
	Name, Text string
}

func (c *Collector) page(w http.ResponseWriter, r *http.Request) {
	text := english()
	if wantsGerman(r) {
		text = german()
	}
	var b bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&b, "page.html.tmpl", c.shown(text)); err != nil {
		c.o.Logger.Error("render the statistics", "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", text.Lang)
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Vary", "Accept-Language")
	_, _ = w.Write(b.Bytes()) // a client that left needs no answer
}

func style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(stylesheet) // a client that left needs no answer
}

func wantsGerman(r *http.Request) bool {
	switch r.URL.Query().Get("l") {
	case "de":
		return true
	case "en":
		return false
	}
	return strings.HasPrefix(strings.ToLower(r.Header.Get("Accept-Language")), "de")
}

func (c *Collector) shown(w words) shown {
	p := c.Public()
	s := shown{W: w, Zone: c.o.Zone, Counted: w.NoneYet, Empty: len(p.Months)+len(p.Providers)+len(p.Countries)+len(p.Table) == 0}
	if p.Since != "" {
		s.Counted = fmt.Sprintf(w.Counted, p.Since, p.Day)
	}
	for _, one := range []struct {
		id, title, text string
		rows            []Row
	}{{"months", w.Months, w.MonthsText, p.Months}, {"providers", w.Providers, w.ProvidersText, p.Providers}, {"countries", w.Countries, w.CountriesText, p.Countries}} {
		if len(one.rows) > 0 {
			s.Sections = append(s.Sections, w.section(one.id, one.title, one.text, one.rows))
		}
	}
	for _, l := range p.Table {
		row := listedRow{
			Name: l.Name, Domain: l.Domain, Month: l.Month, Senders: fmt.Sprintf(w.Least, l.Senders), Verdicts: strings.Join(l.Verdicts, ", "),
			Outbound: w.Colours[l.Outbound], OutMark: mark(l.Outbound), Inbound: w.NoInbound, InMark: mark(l.Inbound),
		}
		if l.Inbound != "" {
			row.Inbound = w.Colours[l.Inbound]
		}
		s.Listed = append(s.Listed, row)
	}
	for _, colour := range []Colour{Red, Yellow, White, Green, Grey} {
		s.Legend = append(s.Legend, legend{mark(colour), w.Colours[colour], w.Meanings[colour]})
	}
	var engines []string
	for _, e := range p.Engines {
		engines = append(engines, fmt.Sprintf(w.Since, e.Version, e.Since))
	}
	if len(engines) > 0 {
		s.Engines = w.EnginesAre + strings.Join(engines, ", ") + "."
	}
	return s
}

// group names a group for people.
func (w words) group(g string) string {
	switch g {
	case Unknown:
		return w.Unknown
	case Other:
		return w.OtherGroup
	}
	return g
}

func (w words) section(id, title, text string, rows []Row) section {
	s := section{ID: id, Title: title, Text: text, Caption: title, Chart: chart(id+"-chart", title, fmt.Sprintf(w.Chart, text), rows, w.group)}
	var columns []string
	for _, v := range verdicts() {
		for _, r := range rows {
			if r.Cells[v] > 0 {
				columns = append(columns, v)
				break
			}
		}
	}
	s.Head = append(append([]string{w.Group}, columns...), w.Sum)
	for _, r := range rows {
		row := tableRow{Name: w.group(r.Group)}
		for _, v := range columns {
			cell := "–"
			if n := r.Cells[v]; n > 0 {
				cell = strconv.Itoa(n)
			}
			row.Cells = append(row.Cells, cell)
		}
		row.Cells = append(row.Cells, strconv.Itoa(r.Sum))
		s.Rows = append(s.Rows, row)
	}
	return s
}

// csv writes the same numbers: table, group, what, number.
func (c *Collector) csv(w http.ResponseWriter, _ *http.Request) {
	p := c.Public()
	records := [][]string{{"table", "group", "verdict", "number"}}
	for _, t := range []struct {
		name string
		rows []Row
	}{{"month", p.Months}, {"provider", p.Providers}, {"country", p.Countries}} {
		for _, r := range t.rows {
			for _, v := range verdicts() {
				if n := r.Cells[v]; n > 0 {
					records = append(records, []string{t.name, r.Group, v, strconv.Itoa(n)})
				}
			}
		}
	}
	for _, l := range p.Table {
		n := strconv.Itoa(l.Senders)
		records = append(records, []string{"listed-outbound", l.Domain, string(l.Outbound), n})
		if l.Inbound != "" {
			records = append(records, []string{"listed-inbound", l.Domain, string(l.Inbound), n})
		}
	}
	for _, e := range p.Engines {
		records = append(records, []string{"engine", e.Since, e.Version, ""})
	}
	var b bytes.Buffer
	if err := csv.NewWriter(&b).WriteAll(records); err != nil {
		c.o.Logger.Error("write the statistics", "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="statistics.csv"`)
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(b.Bytes()) // a client that left needs no answer
}
