package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlsink/tlsink/api"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

// TestWhatIsNotThereLooksTheSame: nobody learns from the answer whether a
// capability is one.
func TestWhatIsNotThereLooksTheSame(t *testing.T) {
	h := newWorld(t, snapshots(t)).handler(t, nil)
	want := do(h, request{method: http.MethodGet, path: "/tests/" + capNone}.http(t.Context()))
	for _, capability := range []string{"x", capNone, strings.Repeat("A", 64), strings.Repeat("A", 5000), "..%2f..%2fetc", "%00", "%ff%fe", capAcked + "A", strings.ToUpper(capAcked), capAcked[:20]} {
		for _, below := range []string{"", "/events", "/report", "/history", "/badge.svg", "/compare/" + capAcked} {
			got := do(h, request{method: http.MethodGet, path: "/tests/" + capability + below}.http(t.Context()))
			if got.Code != want.Code || got.Body.String() != want.Body.String() {
				t.Errorf("%s%s: %d %s", capability, below, got.Code, got.Body)
			}
			if diff := cmp.Diff(want.Header(), got.Header()); diff != "" {
				t.Errorf("%s%s: header (-want +got):\n%s", capability, below, diff)
			}
		}
	}
}

func TestNoSuchResource(t *testing.T) {
	h := newWorld(t, snapshots(t)).handler(t, nil)
	for _, c := range []struct {
		method, path, id, allow string
		want                    int
	}{
		{http.MethodGet, "/", "no-such-resource", "", 404},
		{http.MethodGet, "/nothing", "no-such-resource", "", 404},
		{http.MethodGet, "/tests/" + capAcked + "/nothing", "no-such-resource", "", 404},
		{http.MethodGet, "/tests", "method-not-allowed", "POST", 405},
		{http.MethodPut, "/tests/" + capAcked, "method-not-allowed", "DELETE, GET, HEAD", 405},
		{http.MethodOptions, "/tests/" + capAcked, "method-not-allowed", "DELETE, GET, HEAD", 405},
		{"PURGE", "/openapi.yaml", "method-not-allowed", "GET, HEAD", 405},
	} {
		rec := do(h, request{method: c.method, path: c.path}.http(t.Context()))
		var p struct{ Type string }
		if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
		}
		if rec.Code != c.want || !strings.HasSuffix(p.Type, "#"+c.id) || rec.Header().Get("Allow") != c.allow {
			t.Errorf("%s %s: %d %s, Allow %q", c.method, c.path, rec.Code, p.Type, rec.Header().Get("Allow"))
		}
	}
}

// TestOtherSites: no page of another site reads an answer, or starts a test with
// the address of its visitor.
func TestOtherSites(t *testing.T) {
	w := newWorld(t, snapshots(t))
	h := w.handler(t, nil)
	for _, r := range []request{
		{method: http.MethodGet, path: "/tests/" + capAcked, header: map[string]string{"Origin": "https://evil.example"}},
		{method: http.MethodOptions, path: "/tests", header: map[string]string{"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}},
		{method: http.MethodPost, path: "/tests", body: "{}", header: map[string]string{"Origin": "https://evil.example", "Content-Type": "application/json"}},
		{method: http.MethodPost, path: "/tests", body: "{}", header: map[string]string{"Sec-Fetch-Site": "same-site", "Content-Type": "application/json"}},
		{method: http.MethodPost, path: "/tests", body: "{}=", header: map[string]string{"Content-Type": "text/plain"}},
	} {
		rec := do(h, r.http(t.Context()))
		for name := range rec.Header() {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s %s: %s", r.method, r.path, name)
			}
		}
		if r.method == http.MethodPost && rec.Code < 400 {
			t.Errorf("%v: status %d", r.header, rec.Code)
		}
	}
	if len(w.clients) != 0 {
		t.Errorf("%d tests were started", len(w.clients))
	}
}

func TestStartOfAClient(t *testing.T) {
	w := newWorld(t, snapshots(t))
	h := w.handler(t, nil)
	for _, remote := range []string{"192.0.2.7:4711", "[2001:db8::7]:4711", "[::ffff:192.0.2.7]:4711", "@"} {
		r := request{method: http.MethodPost, path: "/tests", body: "{}", header: jsonBody()}.http(t.Context())
		r.RemoteAddr = remote
		if rec := do(h, r); rec.Code != http.StatusCreated || rec.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s", remote, rec.Code, rec.Body)
		}
	}
	v4 := netip.MustParseAddr("192.0.2.7")
	want := []netip.Addr{v4, netip.MustParseAddr("2001:db8::7"), v4, {}}
	if diff := cmp.Diff(want, w.clients, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("clients (-want +got):\n%s", diff)
	}
}

// TestStartThatFails: a test that its client never learns of holds no place.
func TestStartThatFails(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{{errors.New("disk"), 500}, {fmt.Errorf("webhooks: %w", api.ErrBusy), 503}} {
		w := newWorld(t, snapshots(t))
		w.register = c.err
		rec := do(w.handler(t, nil), request{method: http.MethodPost, path: "/tests", body: `{"webhook": "https://ci.example.com/x"}`, header: jsonBody()}.http(t.Context()))
		if rec.Code != c.want || len(w.cancelled) != 1 || strings.Contains(rec.Body.String(), "new-AAAA") {
			t.Errorf("status %d, cancelled %q: %s", rec.Code, w.cancelled, rec.Body)
		}
	}
}

func TestWithoutWebhooks(t *testing.T) {
	w := newWorld(t, snapshots(t))
	h := w.handler(t, func(o *api.Options) { o.Webhooks = nil })
	rec := do(h, request{method: http.MethodPost, path: "/tests", body: `{"webhook": "https://ci.example.com/x"}`, header: jsonBody()}.http(t.Context()))
	if rec.Code != http.StatusUnprocessableEntity || len(w.clients) != 0 {
		t.Errorf("status %d: %s", rec.Code, rec.Body)
	}
}

// TestNothingSecretIsLogged: no capability, whatever fails, and nothing that a
// stranger wrote.
func TestNothingSecretIsLogged(t *testing.T) {
	var log bytes.Buffer
	tests := snapshots(t)
	for _, c := range walk() {
		w := newWorld(t, tests)
		w.live = errors.New("no such key " + c.path)
		if c.fault != nil {
			c.fault(w)
		}
		h := w.handler(t, func(o *api.Options) {
			o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		rec := do(h, c.http(t.Context()))
		for _, secret := range []string{"acked-AAAA", "earlier-AAAA", "disk"} {
			if c.path != "/tests" && strings.Contains(rec.Body.String(), secret) {
				t.Errorf("%s: the answer tells %q", c.name, secret)
			}
		}
	}
	if log.Len() == 0 {
		t.Fatal("nothing was logged")
	}
	for _, secret := range []string{"acked-AAAA", "waiting-AAAA", "running-AAAA", "nobody-AAAA"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log tells %q", secret)
		}
	}
}

// TestHistory: what is fetched is what the inference can be tried on again.
func TestHistory(t *testing.T) {
	w := newWorld(t, snapshots(t))
	rec := do(w.handler(t, nil), request{method: http.MethodGet, path: "/tests/" + capAcked + "/history"}.http(t.Context()))
	h, err := evidence.ReadHistory(rec.Body)
	if err != nil {
		t.Fatal(err)
	}
	if v := policyinfer.New().Infer(h, policyinfer.Options{}); v.Policy != policyinfer.DANE {
		t.Errorf("the verdict from it is %s", v.Policy)
	}
	if strings.Contains(fmt.Sprintf("%+v", h), w.tests[capAcked].Input.Test.Sender) {
		t.Error("the sender is not redacted")
	}
}

// FuzzOrder: whatever body comes, the answer is described and no more than one
// test is started.
func FuzzOrder(f *testing.F) {
	for _, s := range []string{`{}`, `{"language":"de"}`, `{"language":"en","webhook":"https://ci.example.com/"}`, `[]`, `{"language":{"language":"en"}}`, "{\"\\u0000\":1}", `{"a":1}{}`, `{"language":"en",}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		w := newWorld(t, nil)
		w.start = api.ErrTooMany
		rec := do(w.handler(t, nil), request{method: http.MethodPost, path: "/tests", body: body, header: jsonBody()}.http(t.Context()))
		switch rec.Code {
		case 400, 413, 422, 429:
		default:
			t.Errorf("status %d: %s", rec.Code, rec.Body)
		}
		if rec.Body.Len() > 8<<10 || !json.Valid(rec.Body.Bytes()) {
			t.Errorf("answer %q", rec.Body)
		}
	})
}

// A body that stops in the middle is answered, though the request ends with it.
func TestBodyThatStops(t *testing.T) {
	w := newWorld(t, snapshots(t))
	ctx, cancel := context.WithCancel(t.Context())
	body := iotest.ErrReader(errors.New("i/o timeout"))
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/v1/tests", body)
	r.Header.Set("Content-Type", "application/json")
	cancel() // what the server does when the connection can't be read
	out := httptest.NewRecorder()
	w.handler(t, nil).ServeHTTP(out, r)
	if out.Code != http.StatusBadRequest {
		t.Errorf("status %d, want 400", out.Code)
	}
}
