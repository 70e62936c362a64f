package web_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/web"
)

// mounts answer with who they are, and what they read.
func mounts(o *web.Options) {
	answer := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if _, long := errors.AsType[*http.MaxBytesError](err); long {
				http.Error(w, "too long", http.StatusRequestEntityTooLarge)
				return
			}
			_, deadline := r.Context().Deadline()
			if deadline {
				name += " in a hurry"
			}
			_, _ = io.WriteString(w, name+" "+r.Method+" "+r.URL.Path+" "+string(body))
		})
	}
	o.API, o.Console, o.Statistics = answer("api"), answer("console"), answer("statistics")
}

func TestMountedHandlers(t *testing.T) {
	f := newFixture(t, mounts)
	bare := newFixture(t, nil)
	for _, c := range []struct {
		name, method, url, body string
		header                  []string
		status                  int
		want                    string
	}{
		{"api", "GET", "https://sink.example/api/v1/tests", "", nil, 200, "api GET /api/v1/tests "},
		{"api takes bodies", "POST", "https://sink.example/api/v1/tests", `{"x":1}`, []string{"Content-Type", "application/json"}, 200, `api POST /api/v1/tests {"x":1}`},
		{"api deletes", "DELETE", "https://sink.example/api/v1/tests/x", "", nil, 200, "api DELETE /api/v1/tests/x "},
		{"long body", "POST", "https://sink.example/api/v1/tests", strings.Repeat("x", 70_000), nil, 413, `"status":413`},
		{"long body of unknown length", "POST", "https://sink.example/api/", "\x00" + strings.Repeat("x", 70_000), nil, 413, "too long"},
		{"console", "POST", "https://sink.example/console/login", "password=x", []string{"Content-Type", "application/x-www-form-urlencoded"}, 200, "console POST /console/login password=x"},
		{"console without slash", "GET", "https://sink.example/console", "", nil, 308, ""},
		{"console, for others", "POST", "https://sink.example/console/login", "password=x", []string{"Sec-Fetch-Site", "cross-site"}, 403, "not allowed"},
		{"api in plain HTTP", "POST", "http://sink.example/api/v1/tests", "{}", nil, 403, `"status":403`},
		{"api of another host", "GET", "https://mta-sts.et.sink.example/api/v1/tests", "", nil, 404, ""},
		{"statistics", "GET", "https://sink.example/statistics", "", nil, 200, "statistics GET"},
		{"as a table", "GET", "https://sink.example/statistics.csv?lang=de", "", nil, 200, "statistics GET"},
		{"no API", "GET", "https://sink.example/apis", "", nil, 404, "no such page"},
		{"no statistics", "GET", "https://sink.example/statisticsx", "", nil, 404, "no such page"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var body io.Reader = strings.NewReader(c.body)
			if long, ok := strings.CutPrefix(c.body, "\x00"); ok {
				body = io.MultiReader(strings.NewReader(long)) // its length is not known
			}
			r := httptest.NewRequestWithContext(t.Context(), c.method, c.url, body)
			for i := 0; i+1 < len(c.header); i += 2 {
				r.Header.Set(c.header[i], c.header[i+1])
			}
			if r.TLS != nil {
				r.TLS.ServerName = ""
			}
			w := httptest.NewRecorder()
			f.server.Handler().ServeHTTP(w, r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("status %d, want %d and %q:\n%s", w.Code, c.status, c.want, w.Body)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" || len(w.Header().Get("X-Request-Id")) != 16 {
				t.Errorf("headers: %v", w.Header())
			}
			if strings.HasPrefix(c.url, "https") && w.Code < 300 && w.Header().Get("Strict-Transport-Security") == "" {
				t.Error("no HSTS")
			}
			if c.status == 200 {
				if got := bare.do(c.method, c.url).Code; got != 404 {
					t.Errorf("without the handler: status %d", got)
				}
			}
		})
	}
}

// What is told about requests never holds what a stranger wrote.
func TestServedTellsRoutes(t *testing.T) {
	type served struct {
		Route, Method string
		Status        int
	}
	var got []served
	f := newFixture(t, func(o *web.Options) {
		mounts(o)
		o.Served = func(route, method string, status int, _ time.Duration) {
			got = append(got, served{route, method, status})
		}
	})
	var want []served
	for _, c := range []struct {
		method, path string
		served       served
	}{
		{"GET", "/", served{"/", "GET", 200}},
		{"GET", "/de", served{"/de", "GET", 200}},
		{"GET", "/t/" + capability, served{"/t/", "GET", 200}},
		{"GET", "/t/" + capability + "/events", served{"/t/events", "GET", 404}},
		{"GET", "/api/v1/tests/" + capability, served{"/api/", "GET", 200}},
		{"GET", "/api/v1/tests/" + capability + "/events", served{"/api/events", "GET", 200}},
		{"GET", "/console/tests/7KQ2XM", served{"/console/", "GET", 200}},
		{"GET", "/statistics.csv", served{"/statistics", "GET", 200}},
		{"GET", "/" + capability, served{"other", "GET", 404}},
		{"EVIL", "/", served{"/", "other", 405}},
	} {
		f.do(c.method, "https://sink.example"+c.path)
		want = append(want, c.served)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(f.log.String(), capability) {
		t.Errorf("the log holds the capability:\n%s", f.log)
	}
}

// A log line can be found by the id that the client was told, and no other.
func TestRequestID(t *testing.T) {
	f := newFixture(t, func(o *web.Options) { o.Rand = strings.NewReader("12345678ABCDEFGH") })
	first, second := f.do("GET", "https://sink.example/", "X-Request-Id", "forged"), f.get("https://sink.example/")
	if a, b := first.Header().Get("X-Request-Id"), second.Header().Get("X-Request-Id"); a != "3132333435363738" || b != "4142434445464748" {
		t.Errorf("ids %q, %q", a, b)
	}
	if log := f.log.String(); !strings.Contains(log, "request=4142434445464748") || strings.Contains(log, "forged") {
		t.Errorf("log:\n%s", log)
	}
	if got := f.get("https://sink.example/"); got.Code != 200 || got.Header().Get("X-Request-Id") != "" {
		t.Errorf("without randomness: status %d, %v", got.Code, got.Header())
	}
}

// The operator keeps networks out, but not out of the console, the policies and
// the probes: they would change what a test sees, or lock the operator out.
func TestBlockedNetworks(t *testing.T) {
	f := newFixture(t, func(o *web.Options) {
		mounts(o)
		o.Leases = &leases{}
		o.Blocked = func(a netip.Addr) (string, bool) { return "abuse", a == netip.MustParseAddr("192.0.2.77") }
	})
	for _, c := range []struct {
		method, url    string
		blocked, other int
	}{
		{"GET", "https://sink.example/", 403, 200},
		{"GET", resultURL, 403, 200},
		{"POST", startURL, 403, 303},
		{"POST", "https://sink.example/api/v1/tests", 403, 200},
		{"GET", "https://sink.example/console/", 200, 200},
		{"GET", "https://sink.example/healthz", 200, 200},
		{"GET", "https://mta-sts.et.sink.example/.well-known/mta-sts.txt", 200, 200},
	} {
		for addr, want := range map[string]int{visitor: c.blocked, "[::ffff:192.0.2.77]:1": c.blocked, "192.0.2.78:1": c.other, "@": c.other} {
			r := httptest.NewRequestWithContext(t.Context(), c.method, c.url, http.NoBody)
			r.RemoteAddr, r.TLS.ServerName = addr, ""
			w := httptest.NewRecorder()
			f.server.Handler().ServeHTTP(w, r)
			if w.Code != want || strings.Contains(w.Body.String(), "abuse") {
				t.Errorf("%s %s from %s: status %d, want %d", c.method, c.url, addr, w.Code, want)
			}
		}
	}
}

func TestReadyIsCheap(t *testing.T) {
	f := newFixture(t, func(o *web.Options) { o.Ready = func() (bool, string) { return false, "self-check fails" } })
	f.source.status.Ready = true
	if got := f.get("http://127.0.0.1/readyz"); got.Code != 503 || got.Body.String() != "not ready: self-check fails\n" {
		t.Errorf("status %d, %q", got.Code, got.Body)
	}
}

// Guessing links is slow: each wrong one costs as much as eleven pages.
func TestGuessingIsSlow(t *testing.T) {
	f := newFixture(t, nil)
	n := 0
	for f.get("https://sink.example/t/"+strings.Repeat("a", 30)).Code == http.StatusNotFound {
		if n++; n > 20 {
			t.Fatal("more than 20 guesses within a minute")
		}
	}
	if n < 5 {
		t.Errorf("only %d wrong links: people mistype", n)
	}
}

// Links can't be guessed faster over the API.
func TestGuessingOverTheAPIIsSlow(t *testing.T) {
	f := newFixture(t, func(o *web.Options) { o.API = http.NotFoundHandler() })
	for n := 0; f.do("GET", "https://sink.example/api/v1/tests/x").Code != http.StatusTooManyRequests; n++ {
		if n > 20 {
			t.Fatal("more than 20 guesses within a minute")
		}
	}
}
