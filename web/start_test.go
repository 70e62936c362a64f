package web_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/web"
)

// leases is a web.Leases that remembers what it was asked.
type leases struct {
	mu        sync.Mutex
	err       error
	started   []string
	cancelled []string
}

func (l *leases) Start(_ context.Context, client netip.Addr, language string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = append(l.started, client.String()+" "+language)
	return capability, l.err
}

func (l *leases) Cancel(_ context.Context, c string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancelled = append(l.cancelled, c)
	return l.err
}

// settings are those of an ordinary service.
func settings() web.Privacy {
	return web.Privacy{
		Operator: "Example Foundation", Contact: "privacy@example.org", Retention: 30 * 24 * time.Hour, Wait: 30 * time.Minute, Quarantine: 24 * time.Hour,
		Reports: true, ReportsPerDay: 30, MailboxMessages: 1000, Inbound: true, NetworkZones: []string{"origin.example.net"},
		Statistics: true, Providers: []string{"Example Mail"}, Webhooks: true, WebhookHosts: []string{"hooks.example.com"},
	}
}

// post sends a form as a browser does.
func (f *fixture) post(url, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, url, strings.NewReader(body))
	r.RemoteAddr = visitor
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if r.TLS != nil {
		r.TLS.ServerName = ""
	}
	w := httptest.NewRecorder()
	f.server.Handler().ServeHTTP(w, r)
	return w
}

const startURL = "https://" + zone + "/start"

func TestStart(t *testing.T) {
	for name, c := range map[string]struct {
		url, body string
		header    []string
		err       error
		status    int
		started   []string
		again     bool // Retry-After
		says      string
	}{
		"english":             {startURL, "language=en", nil, nil, 303, []string{"192.0.2.77 en"}, false, ""},
		"german":              {startURL, "language=de", nil, nil, 303, []string{"192.0.2.77 de"}, false, ""},
		"says no language":    {startURL, "", []string{"Accept-Language", "fr, de-AT;q=0.9, en;q=0.5"}, nil, 303, []string{"192.0.2.77 de"}, false, ""},
		"other language":      {startURL, "language=fr", nil, nil, 400, nil, false, ""},
		"hostile language":    {startURL, "language=%22%3E%3Cscript%3E", nil, nil, 400, nil, false, ""},
		"another service":     {"https://evil.example/start", "", nil, nil, 404, nil, false, ""},
		"policy host":         {"https://mta-sts.et.sink.example/start", "", nil, nil, 404, nil, false, ""},
		"plain HTTP":          {"http://" + zone + "/start", "language=en", nil, nil, 403, nil, false, ""},
		"from another site":   {startURL, "language=en", []string{"Sec-Fetch-Site", "cross-site"}, nil, 403, nil, false, ""},
		"by an old browser":   {startURL, "language=en", []string{"Origin", "https://evil.example"}, nil, 403, nil, false, ""},
		"from here":           {startURL, "language=en", []string{"Origin", "https://" + zone, "Sec-Fetch-Site", "same-origin"}, nil, 303, []string{"192.0.2.77 en"}, false, ""},
		"JSON":                {startURL, "{}", []string{"Content-Type", "application/json"}, nil, 415, nil, false, ""},
		"upload":              {startURL, "--x", []string{"Content-Type", "multipart/form-data; boundary=x"}, nil, 415, nil, false, ""},
		"no type":             {startURL, "language=en", []string{"Content-Type", ""}, nil, 415, nil, false, ""},
		"bad escapes":         {startURL, "language=%zz", nil, nil, 400, nil, false, ""},
		"too long":            {startURL, "language=en&x=" + strings.Repeat("x", 5000), nil, nil, 413, nil, false, ""},
		"too many of network": {startURL, "language=en", nil, fmt.Errorf("lease: %w", web.ErrTooMany), 429, []string{"192.0.2.77 en"}, true, "plain addresses"},
		"queue is full":       {startURL, "language=de", nil, web.ErrBusy, 503, []string{"192.0.2.77 de"}, true, ""},
		"broken":              {startURL, "language=en", nil, errors.New("disk is full"), 503, []string{"192.0.2.77 en"}, false, "does not work"},
	} {
		t.Run(name, func(t *testing.T) {
			l := &leases{err: c.err}
			f := watched(t, boardOf(waiting()), func(o *web.Options) { o.Leases = l })
			w := f.post(c.url, c.body, c.header...)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("status %d, want %d:\n%s", w.Code, c.status, w.Body)
			}
			if want := map[bool]string{true: "/t/" + capability}[c.status == 303]; w.Header().Get("Location") != want {
				t.Errorf("location %q, want %q", w.Header().Get("Location"), want)
			}
			if diff := cmp.Diff(c.started, l.started); diff != "" {
				t.Errorf("started (-want +got):\n%s", diff)
			}
			if (w.Header().Get("Retry-After") != "") != c.again {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
			if strings.Contains(w.Body.String(), "disk") || strings.Contains(f.log.String(), capability) {
				t.Errorf("what is told:\n%s\n%s", w.Body, f.log)
			}
		})
	}
}

// One client starts so many tests an hour, whatever the leases say.
func TestStartsAreLimited(t *testing.T) {
	now := start
	f := watched(t, boardOf(waiting()), func(o *web.Options) { o.Limits.StartsPerHour, o.Now = 3, func() time.Time { return now } })
	for i, want := range []int{303, 303, 303, 429} {
		if got := f.post(startURL, "language=en"); got.Code != want || want == 429 && got.Header().Get("Retry-After") != "1200" {
			t.Errorf("start %d: status %d, want %d, %v", i, got.Code, want, got.Header())
		}
	}
	now = now.Add(20 * time.Minute)
	if got := f.post(startURL, "language=en").Code; got != 303 {
		t.Errorf("20 minutes later: status %d", got)
	}
}

func TestCancel(t *testing.T) {
	for name, c := range map[string]struct {
		capability string
		header     []string
		err        error
		status     int
		cancelled  bool
	}{
		"waiting":           {capability, nil, nil, 303, true},
		"has begun":         {capability, nil, fmt.Errorf("lease: %w", web.ErrNothing), 303, true},
		"broken":            {capability, nil, errors.New("lost " + capability), 503, true},
		"no capability":     {"7KQ2XM", nil, nil, 404, false},
		"from another site": {capability, []string{"Sec-Fetch-Site", "same-site"}, nil, 403, false},
		"JSON":              {capability, []string{"Content-Type", "text/json"}, nil, 415, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := &leases{err: c.err}
			f := watched(t, boardOf(waiting()), func(o *web.Options) { o.Leases = l })
			w := f.post("https://"+zone+"/t/"+c.capability+"/cancel", "", c.header...)
			if w.Code != c.status || len(l.cancelled) > 0 != c.cancelled {
				t.Errorf("status %d, want %d; %v", w.Code, c.status, l.cancelled)
			}
			if strings.Contains(f.log.String(), capability) {
				t.Errorf("the log holds the capability:\n%s", f.log)
			}
		})
	}
	f := newFixture(t, nil) // without leases
	for _, path := range []string{"/start", "/t/" + capability + "/cancel"} {
		if got := f.post("https://"+zone+path, "").Code; got != 404 {
			t.Errorf("%s without leases: status %d", path, got)
		}
		if got := f.get("https://" + zone + path); got.Code != 405 || got.Header().Get("Allow") != "POST" {
			t.Errorf("GET %s: status %d, %v", path, got.Code, got.Header())
		}
	}
}
