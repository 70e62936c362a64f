package console_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/console"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/history"
	"github.com/tlsink/tlsink/operate"
)

const (
	zone     = "sink.example"
	password = "apple ladder quiet storm"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// desk is a console, and a clock.
type desk struct {
	handler  http.Handler
	operator *fake
	file     string
	log      *strings.Builder
	logins   []string

	mu  sync.Mutex
	now time.Time
}

func (d *desk) clock() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

func (d *desk) pass(span time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = d.now.Add(span)
}

func (d *desk) setPassword(t *testing.T, hash string) {
	t.Helper()
	if err := os.WriteFile(d.file, []byte(hash+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newDesk returns a console with a password and a fake operator.
func newDesk(t *testing.T, change ...func(*console.Options)) *desk {
	t.Helper()
	d := &desk{operator: &fake{}, file: filepath.Join(t.TempDir(), "console-password"), log: &strings.Builder{}, now: start}
	d.setPassword(t, console.CheapHash(password))
	o := console.Options{
		Zone: zone, Operator: d.operator, PasswordFile: d.file, Now: d.clock,
		Logger:   slog.New(slog.NewTextHandler(d.log, nil)),
		LoggedIn: func(result string) { d.logins = append(d.logins, result) },
	}
	for _, f := range change {
		f(&o)
	}
	h, err := console.New(o)
	if err != nil {
		t.Fatal(err)
	}
	d.handler = h
	return d
}

// browser keeps cookies as a browser does.
type browser struct {
	desk    *desk
	client  string
	cookies map[string]string
	headers map[string]string
	last    []*http.Cookie // that the last answer set
}

func (d *desk) browser() *browser {
	return &browser{desk: d, client: "192.0.2.7:4711", cookies: make(map[string]string), headers: map[string]string{"Sec-Fetch-Site": "same-origin"}}
}

func (b *browser) send(method, path, kind string, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://"+zone+path, body)
	r.RemoteAddr, r.TLS = b.client, &tls.ConnectionState{}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for name, value := range b.headers {
		r.Header.Set(name, value)
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.desk.handler.ServeHTTP(w, r)
	b.last = w.Result().Cookies()
	for _, c := range b.last {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return w
}

func (b *browser) get(path string) *httptest.ResponseRecorder {
	return b.send(http.MethodGet, path, "", nil)
}

func (b *browser) post(path string, form url.Values) *httptest.ResponseRecorder {
	return b.send(http.MethodPost, path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
}

func (b *browser) login(text string) *httptest.ResponseRecorder {
	return b.post("/console/login", url.Values{"password": {text}})
}

var tokenPattern = regexp.MustCompile(`name="token" value="([^"]+)"`)

// token returns the token of the session's forms.
func (b *browser) token(t *testing.T) string {
	t.Helper()
	m := tokenPattern.FindStringSubmatch(b.get("/console/").Body.String())
	if m == nil {
		t.Fatal("no form with a token on the overview")
	}
	return m[1]
}

// submit posts a form as its page would.
func (b *browser) submit(t *testing.T, path string, fields ...string) *httptest.ResponseRecorder {
	t.Helper()
	form := url.Values{"token": {b.token(t)}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.post(path, form)
}

// in returns a browser that has logged in.
func (d *desk) in(t *testing.T) *browser {
	t.Helper()
	b := d.browser()
	if w := b.login(password); w.Code != http.StatusSeeOther {
		t.Fatalf("login: status %d", w.Code)
	}
	return b
}

func expect(t *testing.T, what string, w *httptest.ResponseRecorder, status int, parts ...string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("%s: status %d, want %d", what, w.Code, status)
	}
	for _, part := range parts {
		if !strings.Contains(w.Body.String(), part) {
			t.Errorf("%s: %q is not on the page:\n%s", what, part, w.Body)
		}
	}
}

func expectRedirect(t *testing.T, what string, w *httptest.ResponseRecorder, to string) {
	t.Helper()
	if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || got != to {
		t.Errorf("%s: status %d to %q, want 303 to %q", what, w.Code, got, to)
	}
}

// fake is an operator that answers what it holds, and notes what it is told to
// do.
type fake struct {
	overview    operate.Overview
	tests       operate.TestPage
	test        map[string]operate.Test
	why         operate.Explanation
	connections operate.ConnectionPage
	connection  map[evidence.ConnID]operate.ConnectionRow
	check       operate.SelfCheck
	reports     operate.ReportPage
	deliveries  []operate.Delivery
	retention   operate.Retention
	preview     operate.Preview
	blocks      []operate.Block
	limits      []operate.Limit
	audit       []operate.AuditRecord
	export      func(w io.Writer) error
	err         error // of everything

	queries     []operate.Query
	connQueries []operate.ConnectionQuery
	did         []string
	blocked     []operate.BlockRequest
	purged      []time.Time
}

func (f *fake) act(who operate.Actor, format string, args ...any) error {
	if who.Kind != "console" || who.Name == "" {
		return fmt.Errorf("actor %+v", who)
	}
	if f.err != nil {
		return f.err
	}
	f.did = append(f.did, fmt.Sprintf(format, args...))
	return nil
}

func (f *fake) Overview(context.Context) (operate.Overview, error) { return f.overview, f.err }

func (f *fake) Tests(_ context.Context, q operate.Query) (operate.TestPage, error) {
	f.queries = append(f.queries, q)
	return f.tests, f.err
}

func (f *fake) Test(_ context.Context, id string) (operate.Test, error) {
	if t, ok := f.test[id]; ok || f.err != nil {
		return t, f.err
	}
	return operate.Test{}, fmt.Errorf("test %q: %w", id, history.ErrNotFound)
}

func (f *fake) Why(context.Context, string) (operate.Explanation, error) { return f.why, f.err }

func (f *fake) DeleteTest(_ context.Context, who operate.Actor, id string) (int, error) {
	return 7, f.act(who, "delete test %s", id)
}

func (f *fake) Connections(_ context.Context, q operate.ConnectionQuery) (operate.ConnectionPage, error) {
	f.connQueries = append(f.connQueries, q)
	return f.connections, f.err
}

func (f *fake) Connection(_ context.Context, id evidence.ConnID) (operate.ConnectionRow, error) {
	if c, ok := f.connection[id]; ok || f.err != nil {
		return c, f.err
	}
	return operate.ConnectionRow{}, fmt.Errorf("connection %q: %w", id, history.ErrNotFound)
}

func (f *fake) SelfCheck() (operate.SelfCheck, bool) { return f.check, !f.check.At.IsZero() }

func (f *fake) Reports(context.Context, operate.ReportQuery) (operate.ReportPage, error) {
	return f.reports, nil
}

func (f *fake) RetryReport(_ context.Context, who operate.Actor, id string) error {
	return f.act(who, "retry report %s", id)
}

func (f *fake) DropReport(_ context.Context, who operate.Actor, id string) error {
	return f.act(who, "drop report %s", id)
}

func (f *fake) Deliveries() ([]operate.Delivery, bool) { return f.deliveries, f.deliveries != nil }

func (f *fake) RetryDelivery(_ context.Context, who operate.Actor, id string) error {
	return f.act(who, "retry delivery %s", id)
}

func (f *fake) DropDelivery(_ context.Context, who operate.Actor, id string) error {
	return f.act(who, "drop delivery %s", id)
}

func (f *fake) Retention() (operate.Retention, error) { return f.retention, f.err }

func (f *fake) Purge(_ context.Context, who operate.Actor, before time.Time) (int, error) {
	f.purged = append(f.purged, before)
	return 11, f.act(who, "purge")
}

func (f *fake) PersonPreview(_ context.Context, address string) (operate.Preview, error) {
	if !strings.Contains(address, "@") {
		return operate.Preview{}, &operate.InvalidError{Field: "address", Value: address, Want: "want a mail address"}
	}
	return f.preview, f.err
}

func (f *fake) ForgetPerson(_ context.Context, who operate.Actor, address string) (operate.Forgotten, error) {
	return operate.Forgotten{Records: 13}, f.act(who, "forget %s", address)
}

func (f *fake) ExportHistories(_ context.Context, w io.Writer, q operate.Query) (int, error) {
	f.queries = append(f.queries, q)
	return 1, f.export(w)
}

func (f *fake) ExportCSV(_ context.Context, w io.Writer, q operate.Query) (int, error) {
	f.queries = append(f.queries, q)
	return 1, f.export(w)
}

func (f *fake) Blocks() []operate.Block { return slices.Clone(f.blocks) }

func (f *fake) AddBlock(_ context.Context, who operate.Actor, b operate.BlockRequest) (operate.Block, error) {
	f.blocked = append(f.blocked, b)
	return operate.Block{}, f.act(who, "block %s", b.What)
}

func (f *fake) RemoveBlock(_ context.Context, who operate.Actor, id string) error {
	return f.act(who, "unblock %s", id)
}

func (f *fake) Limits() []operate.Limit { return f.limits }

func (f *fake) Audit() ([]operate.AuditRecord, error) { return f.audit, f.err }
