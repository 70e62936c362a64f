package web_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/web"
)

const resultURL = "https://" + zone + "/t/" + capability

func TestResultPage(t *testing.T) {
	for state, refresh := range map[string]bool{report.StateRunning: true, report.StateConcluded: false, report.StateAcked: false, report.StateClosed: false} {
		t.Run(state, func(t *testing.T) {
			f := newFixture(t, nil)
			f.source.in.State = state
			w := f.get(resultURL)
			body := w.Body.String()
			if w.Code != http.StatusOK || !strings.Contains(body, "Policy dane") {
				t.Fatalf("status %d:\n%s", w.Code, body)
			}
			if got := strings.Contains(body, `<meta http-equiv="refresh" content="15">`); got != refresh {
				t.Errorf("page reloads: %v, want %v", got, refresh)
			}
			want := map[string]string{
				"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
				"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
					"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types tlsink",
				"Strict-Transport-Security": "max-age=31536000", "Content-Type": "text/html; charset=utf-8",
			}
			for name, value := range want {
				if got := w.Header().Get(name); got != value {
					t.Errorf("%s is %q, want %q", name, got, value)
				}
			}
			if strings.Contains(body, "john.doe") || !strings.Contains(body, "j***e@sender.example") {
				t.Error("the sender is not redacted")
			}
		})
	}
}

// A page waits for the analysis that its report will hold, too, and is in the
// language of the report.
func TestResultPageOfReport(t *testing.T) {
	for name, c := range map[string]struct {
		missing report.Missing
		lang    report.Language
		want    []string
		refresh bool
	}{
		"analysis to come": {report.NotReady, report.English, []string{`<html lang="en">`, "This page loads itself again every 15 seconds."}, true},
		"German":           {report.NotReady, report.German, []string{`<html lang="de">`, "Diese Seite lädt sich alle 15 Sekunden neu.", "Das Ergebnis als JSON"}, true},
		"no analysis":      {report.NotAuthenticated, report.German, []string{`<html lang="de">`, "Zustand dieses Dienstes"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil)
			f.source.in.State, f.source.in.InboundMissing, f.source.in.Language = report.StateAcked, c.missing, c.lang
			body := f.get(resultURL).Body.String()
			for _, want := range c.want {
				if !strings.Contains(body, want) {
					t.Errorf("the page lacks %q:\n%s", want, body)
				}
			}
			if got := strings.Contains(body, `http-equiv="refresh"`); got != c.refresh {
				t.Errorf("page reloads: %v, want %v", got, c.refresh)
			}
		})
	}
}

// What the content policy forbids is in no page: else it would look broken.
func TestPagesObeyTheirContentPolicy(t *testing.T) {
	f := newFixture(t, nil)
	f.source.status.Unverifiable = "<b>no DS</b>"
	f.source.status.Broken = "<b>mx05</b>"
	f.source.status.NotReady = "<i>"
	for _, path := range []string{"/", "/status", "/t/" + capability, "/nothing"} {
		z := html.NewTokenizer(f.get("https://" + zone + path).Body)
		for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
			token := z.Token()
			switch token.Data {
			case "style", "b", "i", "iframe", "object":
				t.Errorf("%s: element %s", path, token)
			case "script":
				if kind == html.StartTagToken && !slices.ContainsFunc(token.Attr, func(a html.Attribute) bool {
					return a.Key == "src" && strings.HasPrefix(a.Val, "/live.js?v=")
				}) {
					t.Errorf("%s: %s is not our own script", path, token)
				}
			}
			for _, a := range token.Attr {
				if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
					t.Errorf("%s: attribute %s of %s", path, a.Key, token.Data)
				}
				if strings.Contains(a.Val, "//") {
					t.Errorf("%s: %s loads from elsewhere: %s", path, token.Data, a.Val)
				}
			}
		}
	}
}

func TestResultJSON(t *testing.T) {
	f := newFixture(t, nil)
	w := f.get(resultURL + ".json")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("X-Robots-Tag") == "" {
		t.Fatalf("status %d, headers %v", w.Code, w.Header())
	}
	var got struct {
		Test    string
		Verdict struct{ Policy string }
		History []map[string]any
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Test != "7KQ2" || got.Verdict.Policy != "dane" || len(got.History) != 2 {
		t.Errorf("got %+v", got)
	}
	if strings.Contains(w.Body.String(), "john.doe") {
		t.Error("the sender is not redacted")
	}
}

// Whoever guesses learns nothing: every wrong address has the same answer.
func TestWrongCapability(t *testing.T) {
	f := newFixture(t, nil)
	want := f.get("https://sink.example/t/" + strings.Repeat("a", len(capability)))
	if want.Code != http.StatusNotFound {
		t.Fatalf("status %d, want 404", want.Code)
	}
	for _, path := range []string{
		capability[:len(capability)-1], capability + "a", strings.ToUpper(capability), "a", strings.Repeat("a", 5000), ".json", "%00" + capability,
		strings.Repeat("b", 32) + ".json", "..%2f" + capability, capability + "%0d%0aX-Evil:%201",
	} {
		w := f.get("https://sink.example/t/" + path)
		if w.Code != http.StatusNotFound || w.Body.String() != want.Body.String() || w.Header().Get("X-Robots-Tag") == "" {
			t.Errorf("%.50s: status %d", path, w.Code)
		}
	}
}

// A capability is in no log, whatever goes wrong.
func TestCapabilityIsNotLogged(t *testing.T) {
	for name, change := range map[string]func(*source){
		"found":  func(*source) {},
		"error":  func(s *source) { s.err = errors.New("disk is full") },
		"panics": func(s *source) { s.panics = true },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil)
			change(f.source)
			for _, suffix := range []string{"", ".json", "?x=" + capability} {
				w := f.get(resultURL + suffix)
				if bad := w.Code >= 500; bad != (name != "found") {
					t.Errorf("status %d", w.Code)
				}
				if name != "found" && strings.Contains(w.Body.String(), "disk") {
					t.Error("the page tells the error")
				}
			}
			log := f.log.String()
			if strings.Contains(log, capability) {
				t.Errorf("log holds the capability:\n%s", log)
			}
			if !strings.Contains(log, "route=/t/") {
				t.Errorf("log does not tell the route:\n%s", log)
			}
			if name == "error" && !strings.Contains(log, "disk is full") {
				t.Errorf("log does not tell the error:\n%s", log)
			}
		})
	}
}

func TestPublicPages(t *testing.T) {
	f := newFixture(t, nil)
	for path, want := range map[string][]string{
		"/":          {"en@et.sink.example", "en@ut.sink.example"},
		"/status":    {"verifies", "<td>3</td>", "<td>2</td>", "mx05, mx03, mx06, mx04", "1.2.3", "0s"},
		"/style.css": {"prefers-color-scheme"},
	} {
		for _, host := range []string{"sink.example", "SINK.example:443", "mx.sink.example", "sink.example."} {
			w := f.get("https://" + host + path)
			for _, s := range want {
				if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), s) {
					t.Errorf("%s%s: status %d, no %q", host, path, w.Code, s)
				}
			}
		}
	}
}

func TestProbes(t *testing.T) {
	for _, c := range []struct {
		name, url string
		ready     bool
		status    int
		body      string
	}{
		{"alive", "http://127.0.0.1:8080/healthz", false, 200, "ok\n"},
		{"ready", "http://127.0.0.1:8080/readyz", true, 200, "ok\n"},
		{"not ready", "https://sink.example/readyz", false, 503, "not ready: no DS\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, nil)
			f.source.status.Ready, f.source.status.NotReady = c.ready, "no DS"
			w := f.get(c.url)
			if w.Code != c.status || w.Body.String() != c.body {
				t.Errorf("status %d, body %q", w.Code, w.Body)
			}
		})
	}
}

func TestPlainHTTPRedirects(t *testing.T) {
	f := newFixture(t, nil)
	for url, want := range map[string]string{
		"http://sink.example/":                  "https://sink.example/",
		"http://mx.sink.example/status?x=1":     "https://sink.example/status",
		"http://sink.example//evil.example/":    "https://sink.example//evil.example/",
		"http://sink.example/%0d%0aX-Evil:%201": "https://sink.example/%0d%0aX-Evil:%201",
		"http://et.sink.example/":               "",
		"http://evil.example/":                  "",
	} {
		w := f.get(url)
		if got := w.Header().Get("Location"); got != want || (want == "") != (w.Code == http.StatusNotFound) {
			t.Errorf("%s: status %d, location %q, want %q", url, w.Code, got, want)
		}
		if w.Header().Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: HSTS over plain HTTP (RFC 6797 §7.2)", url)
		}
	}
}

func TestHostileRequests(t *testing.T) {
	for _, c := range []struct {
		name, method, host, path string
		change                   func(*http.Request)
		status                   int
	}{
		{"post", "POST", zone, "/", nil, 405},
		{"delete", "DELETE", zone, "/t/" + capability, nil, 405},
		{"options", "OPTIONS", zone, "/", nil, 405},
		{"made up", "\x1bEVIL", zone, "/", nil, 405},
		{"trace", "TRACE", zone, "/", nil, 405},
		{"no host", "GET", "", "/", nil, 404},
		{"foreign host", "GET", "evil.example", "/", nil, 404},
		{"host with address", "GET", "[2001:db8::1]:443", "/", nil, 404},
		{"host with junk", "GET", "sink.example@evil.example", "/", nil, 404},
		{"host of two", "GET", "sink.example,evil.example", "/", nil, 404},
		{"mail host", "GET", "mx04.et.sink.example", "/", nil, 404},
		{"outside", "GET", zone, "/../../etc/passwd", nil, 307}, // to /etc/passwd, which is not there
		{"templates", "GET", zone, "/templates/layout.html.tmpl", nil, 404},
		{"body", "GET", zone, "/", func(r *http.Request) { r.ContentLength = 5 }, 400},
		{"body of unknown length", "GET", zone, "/", func(r *http.Request) { r.ContentLength = -1 }, 400},
		{"another SNI", "GET", zone, "/", func(r *http.Request) { r.TLS.ServerName = "mx.sink.example" }, 421},
		{"no client address", "GET", zone, "/", func(r *http.Request) { r.RemoteAddr = "@" }, 200},
		{"forged address", "GET", zone, "/", func(r *http.Request) { r.Header.Set("X-Forwarded-Host", "evil.example") }, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, nil)
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://sink.example/", http.NoBody)
			r.Method, r.Host, r.URL.Path, r.TLS.ServerName = c.method, c.host, c.path, ""
			if c.change != nil {
				c.change(r)
			}
			w := httptest.NewRecorder()
			f.server.Handler().ServeHTTP(w, r)
			if got := w.Code; got != c.status {
				t.Errorf("status %d, want %d", got, c.status)
			}
			if strings.Contains(w.Body.String()+w.Header().Get("Location"), "evil") || strings.Contains(f.log.String(), "EVIL") {
				t.Errorf("the request is quoted: %v\n%s", w.Header(), f.log)
			}
		})
	}
}

func TestNewWantsItsOptions(t *testing.T) {
	for name, o := range map[string]web.Options{"no zone": {Source: testSource()}, "no source": {Zone: zone}} {
		if _, err := web.New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestErrorPagesSayWhatIsWrong(t *testing.T) {
	f := newFixture(t, nil)
	got := f.do("POST", "https://sink.example/")
	if diff := cmp.Diff("GET, HEAD", got.Header().Get("Allow")); diff != "" {
		t.Error(diff)
	}
}
