package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"strings"
)

//go:embed templates/*.tmpl
var templates embed.FS

// mailTemplate styles each element inline, for mail programs; pageTemplate
// names classes only, for a page whose policy forbids inline styles.
var (
	mailTemplate = template.Must(template.New("mail").Funcs(template.FuncMap{"style": inlineStyle}).ParseFS(templates, "templates/*.tmpl"))
	pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"style": classOnly}).ParseFS(templates, "templates/*.tmpl"))
)

// HTML returns the report as a complete document for a mail: inline styles, no
// script, nothing that is loaded from elsewhere.
func HTML(in Input) ([]byte, error) {
	return execute(mailTemplate, "mail.html.tmpl", in)
}

// Fragment returns the report for the body of a page. It carries classes
// beginning with "r-" and no styles.
func Fragment(in Input) (template.HTML, error) {
	b, err := execute(pageTemplate, "report.html.tmpl", in)
	// The template has escaped every value.
	return template.HTML(b), err
}

func execute(t *template.Template, name string, in Input) ([]byte, error) {
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, name, newView(in)); err != nil {
		return nil, fmt.Errorf("render report of test %q: %w", in.Test.ID, err)
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

// mailStyles are the inline styles by class. Colours hold on white and, should
// a mail program invert only the background, on black too.
var mailStyles = [...]struct{ name, css string }{
	{"body", "margin:0;padding:16px 8px;background:#f3f5f7;color:#1b232c;font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:15px;line-height:1.5;"},
	{"card", "max-width:680px;margin:0 auto;padding:20px;background:#ffffff;color:#1b232c;border:1px solid #d5dbe1;border-radius:8px;"},
	{"h1", "margin:0 0 12px;font-size:21px;line-height:1.3;word-wrap:break-word;overflow-wrap:anywhere;"},
	{"h2", "margin:24px 0 6px;font-size:16px;line-height:1.3;"},
	{"verdict", "margin:0 0 12px;padding:12px 14px;border-radius:6px;border-left:6px solid #6b7785;background:#eef1f4;color:#1b232c;"},
	{"good", "border-left-color:#1e8e4f;background:#e6f4ec;"},
	{"fair", "border-left-color:#8a7a00;background:#f7f4dc;"},
	{"weak", "border-left-color:#c46a00;background:#fdf0e0;"},
	{"bad", "border-left-color:#c0322b;background:#fbe9e8;"},
	{"open", "border-left-color:#6b7785;background:#eef1f4;"},
	{"lay", "margin:0 0 8px;font-size:17px;font-weight:600;"},
	{"p", "margin:0 0 8px;"},
	{"last", "margin:0;"},
	{"list", "margin:0 0 8px;padding-left:20px;"},
	{"small", "color:#56616d;font-size:13px;"},
	{"facts", "border-collapse:collapse;font-size:14px;"},
	{"key", "padding:1px 12px 1px 0;text-align:left;font-weight:normal;color:#56616d;vertical-align:top;white-space:nowrap;"},
	{"value", "padding:1px 0;overflow-wrap:anywhere;word-break:break-word;"},
	{"log", "margin:0;padding:0;font-family:Consolas,Menlo,'DejaVu Sans Mono',monospace;font-size:12px;line-height:1.45;overflow-wrap:anywhere;"},
	{"line", "padding:3px 0;border-bottom:1px solid #e4e8ec;"},
	{"sub", "padding-left:16px;color:#56616d;"},
	{"link", "color:#0b63c4;overflow-wrap:anywhere;"},
}
