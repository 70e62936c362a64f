package web_test

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"rsc.io/qr"

	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/web"
)

const earlier = "gezdgnbvgy3tqojqgezdgnbvgy3tqojq"

// twoTests is a web.Source with a test and an earlier one.
type twoTests struct{ later, earlier report.Input }

func (s twoTests) Result(_ context.Context, c string) (report.Input, bool, error) {
	switch c {
	case capability:
		return s.later, true, nil
	case earlier:
		return s.earlier, true, nil
	}
	return report.Input{}, false, nil
}

func (twoTests) Status(context.Context) web.Status { return web.Status{} }

func TestCompare(t *testing.T) {
	tests := twoTests{*recorded(t, "postfix-dane", 0, report.StateAcked).Input, *recorded(t, "postfix-may", 0, report.StateAcked).Input}
	tests.earlier.Test.Started = tests.later.Test.Started.Add(-7 * 24 * time.Hour)
	f := newFixture(t, func(o *web.Options) { o.Source, o.Live = tests, boardOf(waiting()) })
	for name, c := range map[string]struct {
		with, query string
		status      int
		want        []string
	}{
		"link":               {"https://sink.example/t/" + earlier, "", 200, []string{"Better", "<strong>may</strong>", "<strong>dane</strong>", "Earlier test"}},
		"in German":          {"https://sink.example/t/" + earlier, "l=de", 200, []string{`<html lang="de">`, "Besser", "Früherer Test"}},
		"link of the JSON":   {" https://sink.example/t/" + earlier + ".json\n", "", 200, []string{"Better"}},
		"link of the badge":  {"https://mx.sink.example/t/" + earlier + "/badge.svg?x=1#y", "", 200, []string{"Better"}},
		"plain HTTP":         {"http://SINK.example:8443/t/" + earlier, "", 200, []string{"Better"}},
		"path":               {"/t/" + earlier, "", 200, []string{"Better"}},
		"capability":         {earlier, "", 200, []string{"Better"}},
		"nothing":            {"", "", 400, []string{"no link of a test", `aria-invalid="true"`}},
		"no link":            {"yesterday", "", 400, []string{"no link of a test", `value="yesterday"`}},
		"of another service": {"https://evil.example/t/" + earlier, "", 400, []string{"no link of a test"}},
		"of a test server":   {"https://et.sink.example/t/" + earlier, "", 400, []string{"no link of a test"}},
		"other scheme":       {"javascript://sink.example/t/" + earlier, "", 400, []string{"no link of a test"}},
		"itself":             {capability, "", 400, []string{"no link of a test"}},
		"unknown":            {strings.Repeat("b", 32), "", 404, []string{"There is no such test"}},
		"hostile":            {`"><script>alert(1)</script>`, "l=de", 400, []string{"kein Link eines Tests", `value="&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"`}},
		"long":               {strings.Repeat("x", 4000), "", 400, []string{`value="` + strings.Repeat("x", 500) + `"`}},
		"not UTF-8":          {"\xff\xfe\x00", "", 400, []string{"no link of a test"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := f.get(resultURL + "/compare?" + c.query + "&with=" + url.QueryEscape(c.with))
			if w.Code != c.status {
				t.Errorf("status %d, want %d", w.Code, c.status)
			}
			for _, want := range c.want {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("no %q:\n%s", want, w.Body)
				}
			}
			skeleton(t, w.Body.String()) // its addresses are all ours
		})
	}
	if log := f.log.String(); strings.Contains(log, earlier) || strings.Contains(log, capability) {
		t.Errorf("the log holds a capability:\n%s", log)
	}
}

// The other language of a comparison is the same comparison.
func TestCompareInOtherLanguage(t *testing.T) {
	tests := twoTests{*recorded(t, "postfix-dane", 0, report.StateAcked).Input, *recorded(t, "postfix-may", 0, report.StateAcked).Input}
	f := newFixture(t, func(o *web.Options) { o.Source = tests })
	body := f.get(resultURL + "/compare?with=" + earlier).Body.String()
	m := regexp.MustCompile(`class="lang" href="([^"]+)"`).FindStringSubmatch(body)
	if m == nil {
		t.Fatal("no link")
	}
	if got := f.get("https://sink.example" + html.UnescapeString(m[1])); got.Code != 200 || !strings.Contains(got.Body.String(), "Zwei Tests im Vergleich") {
		t.Errorf("status %d:\n%s", got.Code, got.Body)
	}
}

func TestBadge(t *testing.T) {
	f := watched(t, boardOf(recorded(t, "postfix-dane", 0, report.StateAcked)), nil)
	w := f.get(resultURL + "/badge.svg")
	for name, want := range map[string]string{"Content-Type": "image/svg+xml", "Cross-Origin-Resource-Policy": "cross-origin", "Cache-Control": "public, max-age=300"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if w.Code != 200 || !strings.Contains(w.Body.String(), ">dane<") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if got := f.get(resultURL + "/badge.svg?l=de").Body.String(); !strings.Contains(got, "TLS ausgehend") {
		t.Errorf("in German: %s", got)
	}
}

// The picture has the modules of the code, and its quiet zone.
func TestQR(t *testing.T) {
	s := waiting()
	w := watched(t, boardOf(s), nil).get(resultURL + "/qr.svg")
	if w.Code != 200 || w.Header().Get("Content-Type") != "image/svg+xml" {
		t.Fatalf("status %d, %v", w.Code, w.Header())
	}
	code, err := qr.Encode(live.Of(s, report.English).Addresses.Mailto, qr.M)
	if err != nil {
		t.Fatal(err)
	}
	drawn := make(map[[2]int]bool)
	for _, m := range regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`).FindAllStringSubmatch(w.Body.String(), -1) {
		x, _ := strconv.Atoi(m[1])
		y, _ := strconv.Atoi(m[2])
		n, _ := strconv.Atoi(m[3])
		for i := range n {
			drawn[[2]int{x + i, y}] = true
		}
	}
	for y := range code.Size {
		for x := range code.Size {
			if code.Black(x, y) != drawn[[2]int{x + 4, y + 4}] {
				t.Fatalf("module %d, %d differs", x, y)
			}
			delete(drawn, [2]int{x + 4, y + 4})
		}
	}
	if len(drawn) > 0 {
		t.Errorf("outside of the code: %v", drawn)
	}
	for _, c := range []struct {
		name string
		b    *board
	}{{"while queued", boardOf(queued())}, {"after it", boardOf(expired())}, {"no test", newBoard(nil)}} {
		if got := watched(t, c.b, nil).get(resultURL + "/qr.svg"); got.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", c.name, got.Code)
		}
	}
}

// Every address below a test answers a wrong link as the page of a wrong test does.
func TestWrongLinksLookAlike(t *testing.T) {
	f := watched(t, boardOf(waiting()), func(o *web.Options) { o.Limits.PagesPerMinute = 10_000 })
	want := f.get("https://sink.example/t/" + strings.Repeat("a", 32)).Body.String()
	for _, path := range []string{"", ".json", "/events", "/qr.svg", "/badge.svg", "/compare?with=" + capability} {
		for _, wrong := range []string{strings.Repeat("b", 32), "short", strings.Repeat("x", 200)} {
			if got := f.get("https://sink.example/t/" + wrong + path); got.Code != 404 || got.Body.String() != want || got.Header().Get("X-Robots-Tag") == "" {
				t.Errorf("%s%s: status %d\n%s", wrong, path, got.Code, got.Body)
			}
		}
	}
}
