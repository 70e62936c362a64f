package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"strings"
	"unicode"
	"unicode/utf8"
)

//go:embed templates/*.tmpl
var templates embed.FS

// mailTemplate styles each element inline, for mail programs, and has tables as
// pictures; pageTemplate names classes only, for a page whose policy forbids
// inline styles, and has drawings.
var (
	mailTemplate = template.Must(template.New("mail").Funcs(functions(inlineStyle, false)).ParseFS(templates, "templates/*.tmpl"))
	pageTemplate = template.Must(template.New("page").Funcs(functions(classOnly, true)).ParseFS(templates, "templates/*.tmpl"))
)

func functions(style func(...string) template.HTMLAttr, page bool) template.FuncMap {
	return template.FuncMap{
		"style": style, "page": func() bool { return page }, "draw": draw, "capital": capital,
		"steps": func(h headings, steps []step) any {
			return struct {
				H     headings
				Steps []step
			}{h, steps}
		},
	}
}

// capital writes the first letter large.
func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// mailKeep is how long a mail may be, in octets. Gmail hides what is behind 102 KB.
const mailKeep = 90_000

// HTML returns the report as a complete document for a mail: inline styles, no
// script, nothing that is loaded from elsewhere. Of a report that is too long
// for a mail, details are left out, and it says so; page and JSON have them.
func HTML(in Input) ([]byte, error) {
	v := newView(in)
	for cut := 1; ; cut++ {
		b, err := execute(mailTemplate, "mail.html.tmpl", in.Test.ID, v)
		if err != nil || len(b) <= mailKeep || !v.cut(cut) {
			return b, err
		}
		v.Shortened = v.H.Shortened
	}
}

// Fragment returns the report for the body of a page. It carries classes
// beginning with "r-" and no styles; lists of connections are details of class
// "fold", closed, since the page has its own.
func Fragment(in Input) (template.HTML, error) {
	b, err := execute(pageTemplate, "report.html.tmpl", in.Test.ID, newView(in))
	// The template has escaped every value.
	return template.HTML(b), err
}

func execute(t *template.Template, name, test string, v view) ([]byte, error) {
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, name, v); err != nil {
		return nil, fmt.Errorf("render report of test %q: %w", test, err)
	}
	return b.Bytes(), nil
}

// classOnly and inlineStyle write attributes. Their arguments come from the
// templates and from level, never from a stranger.
func classOnly(names ...string) template.HTMLAttr {
	classes := make([]string, 0, len(names))
	for _, n := range names {
		classes = append(classes, "r-"+n)
	}
	return template.HTMLAttr(`class="` + strings.Join(classes, " ") + `"`)
}

func inlineStyle(names ...string) template.HTMLAttr {
	var css strings.Builder
	for _, n := range names {
		for _, s := range mailStyles {
			if s.name == n {
				css.WriteString(s.css)
			}
		}
	}
	return classOnly(names...) + template.HTMLAttr(` style="`+css.String()+`"`)
}
