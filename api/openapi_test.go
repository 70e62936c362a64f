package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/api"
)

func update() bool { return flag.Lookup("update").Value.String() == "true" }

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write openapi.json anew")
	for _, plain := range []string{"text/event-stream", "application/jsonl", "image/svg+xml"} {
		openapi3filter.RegisterBodyDecoder(plain, openapi3filter.PlainBodyDecoder)
	}
	os.Exit(m.Run())
}

// description returns the document, validated, with its examples.
func description(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation(), openapi3.EnableSchemaFormatValidation(), openapi3.EnableSchemaPatternValidation()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestJSONIsTheSameDocument(t *testing.T) {
	doc := description(t)
	b, err := doc.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, b, "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	if update() {
		if err := os.WriteFile("openapi.json", indented.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, indented.Bytes()) {
		t.Error("openapi.json is not openapi.yaml: go test ./api -update")
	}
}

func TestEveryRouteIsDescribed(t *testing.T) {
	var described, served []string
	for path, item := range description(t).Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	for _, r := range api.Routes() {
		served = append(served, r[0]+" "+r[1])
	}
	slices.Sort(described)
	slices.Sort(served)
	if diff := cmp.Diff(described, served); diff != "" {
		t.Errorf("routes (-described +served):\n%s", diff)
	}
}

// request is one of the walk.
type request struct {
	name         string
	method, path string
	header       map[string]string
	body         string
	fault        func(*world)
	want         int
	problem      string // id
}

func (r request) http(ctx context.Context) *http.Request {
	req := httptest.NewRequestWithContext(ctx, r.method, api.Prefix+r.path, strings.NewReader(r.body))
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	return req
}

func jsonBody() map[string]string { return map[string]string{"Content-Type": "application/json"} }

func crossSite() map[string]string {
	return map[string]string{"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}
}

// walk is every operation with every answer that it can give.
func walk() []request {
	broken := func(w *world) { w.live = errors.New("the disk is gone") }
	brokenStart := func(w *world) { w.start = errors.New("the disk is gone") }
	busy := func(w *world) { w.live = fmt.Errorf("everything: %w", api.ErrBusy) }
	out := []request{
		{"start", http.MethodPost, "/tests", jsonBody(), `{}`, nil, 201, ""},
		{"start in German", http.MethodPost, "/tests", map[string]string{"Content-Type": "application/json; charset=UTF-8"}, ` {"language": "de"} `, nil, 201, ""},
		{"start with a webhook", http.MethodPost, "/tests", jsonBody(), `{"webhook": "https://ci.example.com/hook"}`, nil, 201, ""},
		{"start with nothing", http.MethodPost, "/tests", jsonBody(), ``, nil, 400, "malformed"},
		{"start with half an object", http.MethodPost, "/tests", jsonBody(), `{"language": "en"`, nil, 400, "malformed"},
		{"start with a list", http.MethodPost, "/tests", jsonBody(), `["en"]`, nil, 400, "malformed"},
		{"start with two objects", http.MethodPost, "/tests", jsonBody(), `{} {}`, nil, 400, "malformed"},
		{"start with too much", http.MethodPost, "/tests", jsonBody(), `{"language": "` + strings.Repeat("x", 5000) + `"}`, nil, 413, "too-large"},
		{"start as a form", http.MethodPost, "/tests", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, `language=en`, nil, 415, "media-type"},
		{"start as text", http.MethodPost, "/tests", map[string]string{"Content-Type": "text/plain"}, `{}`, nil, 415, "media-type"},
		{"start without a type", http.MethodPost, "/tests", nil, `{}`, nil, 415, "media-type"},
		{"start from another site", http.MethodPost, "/tests", crossSite(), `{}`, nil, 403, "cross-origin"},
		{"start in another language", http.MethodPost, "/tests", jsonBody(), `{"language": "fr"}`, nil, 422, "invalid-value"},
		{"start with null", http.MethodPost, "/tests", jsonBody(), `{"language": null}`, nil, 422, "invalid-value"},
		{"start with a number", http.MethodPost, "/tests", jsonBody(), `{"language": 7}`, nil, 422, "invalid-value"},
		{"start with an unknown member", http.MethodPost, "/tests", jsonBody(), `{"Language": "en"}`, nil, 422, "invalid-value"},
		{"start with a member twice", http.MethodPost, "/tests", jsonBody(), `{"language": "en", "language": "de"}`, nil, 422, "invalid-value"},
		{"start with a webhook of others", http.MethodPost, "/tests", jsonBody(), `{"webhook": "https://victim.example/"}`, nil, 422, "invalid-value"},
		{"start with a parameter", http.MethodPost, "/tests?language=de", jsonBody(), `{}`, nil, 422, "invalid-value"},
		{"start too many", http.MethodPost, "/tests", jsonBody(), `{}`, func(w *world) { w.start = api.ErrTooMany }, 429, "too-many-tests"},
		{"start while the queue is full", http.MethodPost, "/tests", jsonBody(), `{}`, func(w *world) { w.start = api.ErrBusy }, 503, "busy"},
		{"start while broken", http.MethodPost, "/tests", jsonBody(), `{}`, brokenStart, 500, "internal"},

		{"give up one that is queued", http.MethodDelete, "/tests/" + capQueued, nil, "", nil, 204, ""},
		{"give up one that waits", http.MethodDelete, "/tests/" + capWaiting, nil, "", nil, 204, ""},
		{"give up one that has expired", http.MethodDelete, "/tests/" + capExpired, nil, "", nil, 204, ""},
		{"give up one that runs", http.MethodDelete, "/tests/" + capRunning, nil, "", nil, 409, "already-started"},
		{"give up one that has just begun", http.MethodDelete, "/tests/" + capWaiting, nil, "", func(w *world) { w.cancel = api.ErrStarted }, 409, "already-started"},
		{"give up while broken", http.MethodDelete, "/tests/" + capWaiting, nil, "", func(w *world) { w.cancel = errors.New("disk") }, 500, "internal"},

		{"a test that is over has no more events", http.MethodGet, "/tests/" + capExpired + "/events", map[string]string{"Last-Event-ID": "(last)"}, "", nil, 204, ""},
		{"events", http.MethodGet, "/tests/" + capAcked + "/events", nil, "", nil, 200, ""},
		{"wait too long", http.MethodGet, "/tests/" + capAcked + "?wait=61", nil, "", nil, 422, "invalid-value"},
		{"wait for a word", http.MethodGet, "/tests/" + capAcked + "?wait=long", nil, "", nil, 422, "invalid-value"},
		{"have it", http.MethodGet, "/tests/" + capAcked, map[string]string{"If-None-Match": "(tag)"}, "", nil, 304, ""},
		{"have it and wait, though it is over", http.MethodGet, "/tests/" + capAcked + "?wait=60", map[string]string{"If-None-Match": `"other", (tag)`}, "", nil, 304, ""},
		{"have the YAML", http.MethodGet, "/openapi.yaml", map[string]string{"If-None-Match": "(tag)"}, "", nil, 304, ""},
		{"have the JSON", http.MethodGet, "/openapi.json", map[string]string{"If-None-Match": "(tag)"}, "", nil, 304, ""},
		{"compare", http.MethodGet, "/tests/" + capAcked + "/compare/" + capEarlier, nil, "", nil, 200, ""},
		{"compare in German", http.MethodGet, "/tests/" + capAcked + "/compare/" + capEarlier + "?language=de", nil, "", nil, 200, ""},
		{"compare with itself", http.MethodGet, "/tests/" + capAcked + "/compare/" + capAcked, nil, "", nil, 422, "invalid-value"},
		{"compare with none", http.MethodGet, "/tests/" + capAcked + "/compare/" + capNone, nil, "", nil, 404, "not-found"},
		{"compare with one without a mail", http.MethodGet, "/tests/" + capAcked + "/compare/" + capWaiting, nil, "", nil, 409, "no-mail-yet"},
	}
	for _, c := range []string{capQueued, capWaiting, capExpired, capRunning, capAcked} {
		for _, l := range []string{"", "?language=de"} {
			out = append(out, request{"status of " + c + l, http.MethodGet, "/tests/" + c + l, nil, "", nil, 200, ""})
			out = append(out, request{"badge of " + c + l, http.MethodGet, "/tests/" + c + "/badge.svg" + l, nil, "", nil, 200, ""})
		}
	}
	for _, below := range []string{"/report", "/history"} {
		for c, want := range map[string]int{capQueued: 409, capWaiting: 409, capExpired: 409, capRunning: 200, capAcked: 200} {
			r := request{below + " of " + c, http.MethodGet, "/tests/" + c + below, nil, "", nil, want, ""}
			if want == 409 {
				r.problem = "no-mail-yet"
			}
			out = append(out, r)
		}
		out = append(out, request{below + " while broken", http.MethodGet, "/tests/" + capAcked + below, nil, "", func(w *world) { w.result = errors.New("disk") }, 500, "internal"})
	}
	for _, below := range []string{"", "/events", "/report", "/history", "/badge.svg", "/compare/" + capEarlier} {
		out = append(
			out,
			request{below + " of none", http.MethodGet, "/tests/" + capNone + below, nil, "", nil, 404, "not-found"},
			request{below + " of what cannot be", http.MethodGet, "/tests/x" + below, nil, "", nil, 404, "not-found"},
			request{below + " while broken, too", http.MethodGet, "/tests/" + capAcked + below, nil, "", broken, 500, "internal"},
			request{below + " while busy", http.MethodGet, "/tests/" + capAcked + below, nil, "", busy, 503, "busy"},
			request{below + " with an unknown parameter", http.MethodGet, "/tests/" + capAcked + below + "?lang=de", nil, "", nil, 422, "invalid-value"},
		)
	}
	for _, below := range []string{"", "/events", "/badge.svg"} {
		out = append(out, request{below + " in another language", http.MethodGet, "/tests/" + capAcked + below + "?language=fr", nil, "", nil, 422, "invalid-value"})
		out = append(out, request{below + " in two languages", http.MethodGet, "/tests/" + capAcked + below + "?language=en&language=de", nil, "", nil, 422, "invalid-value"})
	}
	out = append(
		out,
		request{"give up none", http.MethodDelete, "/tests/" + capNone, nil, "", nil, 404, "not-found"},
		request{"give up while busy", http.MethodDelete, "/tests/" + capWaiting, nil, "", busy, 503, "busy"},
		request{"give up with a parameter", http.MethodDelete, "/tests/" + capWaiting + "?force=1", nil, "", nil, 422, "invalid-value"},
		request{"give up from another site", http.MethodDelete, "/tests/" + capWaiting, crossSite(), "", nil, 403, "cross-origin"},
	)
	for _, path := range []string{"/openapi.yaml", "/openapi.json"} {
		out = append(
			out,
			request{path, http.MethodGet, path, nil, "", nil, 200, ""},
			request{path + " with a parameter", http.MethodGet, path + "?x=1", nil, "", nil, 422, "invalid-value"},
		)
	}
	return out
}

// TestWalk holds every answer against the document, and the document against
// the answers: each status that it names must have been seen.
func TestWalk(t *testing.T) {
	doc := description(t)
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	tests, seen := snapshots(t), make(map[string]bool)
	for _, c := range walk() {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, tests)
			if c.fault != nil {
				c.fault(w)
			}
			h := w.handler(t, nil)
			for name, value := range c.header {
				c.header[name] = fillIn(t, h, c, value)
			}
			req := c.http(t.Context())
			route, params, err := router.FindRoute(req)
			if err != nil {
				t.Fatalf("not described: %v", err)
			}
			seen[fmt.Sprintf("%s %d", route.Operation.OperationID, c.want)] = true
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, req)
			if rec.Code != c.want {
				t.Fatalf("status %d, want %d: %s", rec.Code, c.want, rec.Body)
			}
			validate(t, c, route, params, rec)
		})
	}
	var missing []string
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			for status := range maps.Keys(op.Responses.Map()) {
				if key := op.OperationID + " " + status; !seen[key] {
					missing = append(missing, key)
				}
			}
		}
	}
	slices.Sort(missing)
	// A cross-site GET is nothing that changes anything: it is answered, and the
	// browser keeps the answer to itself.
	if missing != nil {
		t.Errorf("described, but never seen: %q", missing)
	}
}

// fillIn replaces (tag) and (last) by what an earlier request got.
func fillIn(t *testing.T, h http.Handler, c request, value string) string {
	t.Helper()
	if !strings.Contains(value, "(tag)") && value != "(last)" {
		return value
	}
	c.header = nil
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, c.http(t.Context()))
	if value == "(last)" {
		_, rest, _ := strings.Cut(rec.Body.String(), "\nid: ")
		id, _, _ := strings.Cut(rest, "\n")
		return id
	}
	return strings.ReplaceAll(value, "(tag)", rec.Header().Get("ETag"))
}

func validate(t *testing.T, c request, route *routers.Route, params map[string]string, rec *httptest.ResponseRecorder) {
	t.Helper()
	options := &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true}
	in := &openapi3filter.RequestValidationInput{Request: c.http(t.Context()), PathParams: params, Route: route, Options: options}
	if err := openapi3filter.ValidateRequest(t.Context(), in); c.want < 300 && err != nil {
		t.Errorf("a request that succeeds is not as described: %v", err)
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: rec.Code, Header: rec.Header(), Options: options}
	if err := openapi3filter.ValidateResponse(t.Context(), out.SetBodyBytes(rec.Body.Bytes())); err != nil {
		t.Errorf("the answer is not as described: %v\n%s", err, rec.Body)
	}
	if c.problem == "" {
		return
	}
	var p struct {
		Type, Title string
		Status      int
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if want := api.Prefix + "/openapi.yaml#" + c.problem; p.Type != want || p.Status != c.want || p.Title == "" {
		t.Errorf("problem %+v, want type %s and status %d", p, want, c.want)
	}
	if got := rec.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q", got)
	}
	if got := rec.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q: a problem may be over soon", got)
	}
}
