package console_test

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/tlsink/tlsink/console"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/operate"
	"github.com/tlsink/tlsink/report"
)

// Strings that break out of text, attributes, addresses, scripts and styles,
// and that turn text around.
var hostile = []string{
	`"><script>alert(1)</script><img src=x onerror=alert(1)>`,
	`' autofocus onfocus=alert(1) x='`,
	`javascript:alert(1)`,
	"</table></main></title><style>*{display:none}</style><iframe src=//evil.example>",
	"{{.Token}}\u202e\u0000\x1b[31m\r\nSet-Cookie: a=b \xff\xfe",
	`--></textarea><form action=https://evil.example><button>Log in`,
}

// infest puts hostile text into every string that v holds.
func infest(v reflect.Value, depth int, text string) {
	if depth > 12 || !v.CanSet() && v.Kind() != reflect.Map {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		if v.Type().Elem().PkgPath() != "" && strings.Contains(v.Type().Elem().PkgPath(), "inbound") {
			return // the analysis of a domain is the report's matter
		}
		v.Set(reflect.New(v.Type().Elem()))
		infest(v.Elem(), depth+1, text)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		infest(v.Index(0), depth+1, text)
		infest(v.Index(1), depth+1, text)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		infest(key, depth+1, text)
		infest(value, depth+1, text)
		m := reflect.MakeMap(v.Type())
		m.SetMapIndex(key, value)
		v.Set(m)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(start))
			return
		}
		for _, field := range v.Fields() {
			infest(field, depth+1, text)
		}
	}
}

func infested[T any](text string) T {
	var v T
	infest(reflect.ValueOf(&v).Elem(), 0, text)
	return v
}

// TestHostileText: whatever strangers wrote, pages have their own elements only.
func TestHostileText(t *testing.T) {
	t.Parallel()
	for _, text := range hostile {
		d := newDesk(t)
		test := infested[operate.Test](text)
		test.Row.Link = "/console/" // of the service itself
		d.operator = &fake{
			overview: infested[operate.Overview](text), tests: infested[operate.TestPage](text), test: map[string]operate.Test{"T1": test},
			why: infested[operate.Explanation](text), connections: infested[operate.ConnectionPage](text),
			connection: map[evidence.ConnID]operate.ConnectionRow{"c1": infested[operate.ConnectionRow](text)},
			check:      infested[operate.SelfCheck](text), reports: infested[operate.ReportPage](text), deliveries: infested[[]operate.Delivery](text),
			retention: infested[operate.Retention](text), preview: infested[operate.Preview](text), blocks: infested[[]operate.Block](text),
			limits: infested[[]operate.Limit](text), audit: infested[[]operate.AuditRecord](text),
		}
		d = d.with(t, func(o *console.Options) { o.Compare = func(_, _ report.Input) string { return text } })
		in := d.in(t)
		for _, path := range views {
			if strings.Contains(path, "/export/") {
				continue
			}
			w := in.get(path)
			expect(t, path, w, http.StatusOK)
			checkPage(t, path, w.Body.String())
		}
		for _, field := range []string{"id", "domain", "address", "network", "verdict", "state", "from", "to", "slot", "cursor", "done", "n", "what", "page", "with", "all", "next"} {
			for _, path := range []string{"/console/tests", "/console/connections", "/console/blocks", "/console/tests/T1/compare", "/console/login", "/console/queue"} {
				clean := strings.ToValidUTF8(strings.NewReplacer("\x00", "", "\r", "", "\n", "", "\x1b", "").Replace(text), "")
				b := in
				if path == "/console/login" {
					b = d.browser()
				}
				w := b.get(path + "?" + field + "=" + escape(clean))
				checkPage(t, path+" "+field, w.Body.String())
			}
		}
		for _, path := range []string{"/console/blocks", "/console/person", "/console/person/delete", "/console/retention/purge", "/console/tests/T1/delete"} {
			for _, field := range []string{"what", "reason", "until", "address", "confirm", "days"} {
				if w := in.submit(t, path, field, text); w.Code != http.StatusSeeOther {
					checkPage(t, path+" "+field, w.Body.String())
				}
			}
		}
	}
}

// checkPage parses a page as browsers do.
func checkPage(t *testing.T, what, page string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexAny(page, "\x00\x1b\r\u202e"); i >= 0 {
		t.Errorf("%s: the page holds the character %q", what, page[i:min(i+10, len(page))])
	}
	refused := []string{"script", "img", "iframe", "style", "object", "embed", "base", "textarea", "video", "audio", "foreignobject", "animate", "use"}
	mains, refresh := 0, 0
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if slices.Contains(refused, strings.ToLower(n.Data)) {
			t.Errorf("%s: element %s", what, n.Data)
		}
		if n.Data == "main" {
			mains++
		}
		for _, a := range n.Attr {
			key := strings.ToLower(a.Key)
			switch {
			case strings.HasPrefix(key, "on") || key == "style" || key == "srcdoc" || key == "formaction" || key == "http-equiv":
				t.Errorf("%s: attribute %s of %s", what, a.Key, n.Data)
			case key == "autofocus" && a.Val != "":
				t.Errorf("%s: autofocus", what)
			case key == "href" || key == "action" || key == "src" || key == "xlink:href":
				if !ownAddress(a.Val) {
					t.Errorf("%s: %s %q of %s", what, a.Key, a.Val, n.Data)
				}
			}
		}
		if n.Data == "meta" && strings.Contains(attr(n, "content"), "url") {
			refresh++
		}
	}
	if mains != 1 || refresh > 0 {
		t.Errorf("%s: %d main elements", what, mains)
	}
}

// ownAddress reports whether an address leads nowhere else. What is relative
// begins with a question mark or a number sign.
func ownAddress(s string) bool {
	if s == "#ZgotmplZ" || strings.HasPrefix(s, "?") || strings.HasPrefix(s, "#") || s == "/style.css" {
		return true
	}
	return strings.HasPrefix(s, "/console/") && !strings.ContainsAny(s, "\"'<> \\")
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}
