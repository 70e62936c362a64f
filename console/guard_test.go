package console_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/operate"
)

// actions are all that changes something, filled in so that it would work.
func actions() map[string]url.Values {
	return map[string]url.Values{
		"/console/logout":             {},
		"/console/logout-all":         {},
		"/console/tests/T1/delete":    {"confirm": {"T1"}},
		"/console/queue/T1/retry":     {},
		"/console/queue/T1/drop":      {},
		"/console/deliveries/7/retry": {},
		"/console/deliveries/7/drop":  {},
		"/console/blocks":             {"what": {"192.0.2.0/24"}},
		"/console/blocks/b1/remove":   {},
		"/console/person/delete":      {"address": {"a@b.example"}, "confirm": {"a@b.example"}},
		"/console/retention/purge":    {"days": {"3"}, "confirm": {"delete"}},
	}
}

var views = []string{
	"/console/", "/console/tests", "/console/tests?id=T1", "/console/tests/T1", "/console/tests/T1/connections", "/console/tests/T1/evidence",
	"/console/tests/T1/delete", "/console/tests/T1/compare?with=T1", "/console/connections", "/console/connections/c1", "/console/check", "/console/queue",
	"/console/blocks", "/console/person", "/console/retention", "/console/log", "/console/export/tests.csv", "/console/export/histories.jsonl",
}

// TestForeignForms: nothing changes without a session, without its token, or for
// a form of another site.
func TestForeignForms(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	outside, in, other := d.browser(), d.in(t), d.in(t)
	token, foreign := in.token(t), other.token(t)
	for path, form := range actions() {
		form.Set("token", token)
		expectRedirect(t, path+" without a session", outside.post(path, form), "/console/login")

		for what, text := range map[string]string{"no token": "", "a token of another session": foreign, "part of a token": token[:20]} {
			form.Set("token", text)
			expect(t, path+" with "+what, in.post(path, form), http.StatusForbidden, "not of this session")
		}
		form.Del("token")
		expect(t, path+" with the token in the address", in.post(path+"?token="+token, form), http.StatusForbidden)

		form.Set("token", token)
		for what, headers := range map[string]map[string]string{
			"cross-site":     {"Sec-Fetch-Site": "cross-site"},
			"same-site":      {"Sec-Fetch-Site": "same-site"},
			"foreign origin": {"Origin": "https://evil.example"},
			"null origin":    {"Origin": "null"},
		} {
			in.headers = headers
			expect(t, path+" "+what, in.post(path, form), http.StatusForbidden, "another site")
		}
		in.headers = nil
		if w := in.get(path); w.Code != http.StatusNotFound && w.Code != http.StatusOK {
			t.Errorf("GET %s: status %d", path, w.Code)
		}
	}
	for path := range actions() {
		in.get(path + "?token=" + token + "&confirm=T1&what=x&days=3")
	}
	if len(d.operator.did) > 0 {
		t.Errorf("it did %q", d.operator.did)
	}
	expect(t, "and the session is still open", in.get("/console/"), http.StatusOK)
	in.headers = map[string]string{"Sec-Fetch-Site": "cross-site"}
	expect(t, "login of another site", in.login(password), http.StatusForbidden)
}

// TestActions: with its token, each action does its one thing.
func TestActions(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"/console/tests/T1/delete": "delete test T1", "/console/queue/T1/retry": "retry report T1", "/console/queue/T1/drop": "drop report T1",
		"/console/blocks": "block 192.0.2.0/24", "/console/deliveries/7/retry": "retry delivery 7", "/console/deliveries/7/drop": "drop delivery 7",
		"/console/blocks/b1/remove": "unblock b1", "/console/person/delete": "forget a@b.example", "/console/retention/purge": "purge",
	}
	for path, form := range actions() {
		d := newDesk(t)
		in := d.in(t)
		form.Set("token", in.token(t))
		w := in.post(path, form)
		if got := strings.Join(d.operator.did, ", "); got != want[path] || w.Code != http.StatusSeeOther {
			t.Errorf("%s: did %q, status %d, want %q", path, got, w.Code, want[path])
		}
		if to := w.Header().Get("Location"); want[path] != "" {
			if strings.Contains(to, "@") || strings.Contains(to, "192.0.2") {
				t.Errorf("%s: leads to %s, which names a person", path, to)
			}
			expect(t, to, in.get(to), http.StatusOK, `class="c-done" role="status"`)
		}
	}
}

func TestViewsNeedSession(t *testing.T) {
	t.Parallel()
	d := full(t)
	outside, in := d.browser(), d.in(t)
	for _, path := range views {
		w := outside.get(path)
		if w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "/console/login") {
			t.Errorf("%s without a session: status %d to %q", path, w.Code, w.Header().Get("Location"))
		}
		w = in.get(path)
		h := w.Header()
		if w.Code != http.StatusOK || h.Get("Cache-Control") != "no-store" || h.Get("X-Frame-Options") != "DENY" || h.Get("X-Content-Type-Options") != "nosniff" ||
			!strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'") {
			t.Errorf("%s: status %d, headers %v", path, w.Code, h)
		}
	}
	if len(d.operator.did) > 0 {
		t.Errorf("looking did %q", d.operator.did)
	}
	expect(t, "unknown page", in.get("/console/nothing"), http.StatusNotFound)
	expectRedirect(t, "unknown page, outside", outside.get("/console/nothing"), "/console/login?next=%2Fconsole%2Fnothing")
	expect(t, "style", outside.get("/console/style.css"), http.StatusOK, ".c-console")
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	d := full(t)
	in := d.in(t)
	const form = "application/x-www-form-urlencoded"
	token := "token=" + url.QueryEscape(in.token(t))
	for name, c := range map[string]struct {
		method, path, kind, body string
		status                   int
	}{
		"method":              {http.MethodDelete, "/console/tests/T1", "", "", http.StatusMethodNotAllowed},
		"own method":          {"FROB", "/console/", "", "", http.StatusMethodNotAllowed},
		"body of a GET":       {http.MethodGet, "/console/", form, "a=b", http.StatusBadRequest},
		"JSON":                {http.MethodPost, "/console/logout-all", "application/json", "{}", http.StatusUnsupportedMediaType},
		"multipart":           {http.MethodPost, "/console/logout-all", "multipart/form-data; boundary=x", "--x--", http.StatusUnsupportedMediaType},
		"plain text":          {http.MethodPost, "/console/logout-all", "text/plain", token, http.StatusUnsupportedMediaType},
		"no type":             {http.MethodPost, "/console/logout-all", "", token, http.StatusUnsupportedMediaType},
		"large":               {http.MethodPost, "/console/blocks", form, token + "&what=" + strings.Repeat("x", 20<<10), http.StatusRequestEntityTooLarge},
		"long field":          {http.MethodPost, "/console/blocks", form, token + "&what=" + strings.Repeat("x", 3000), http.StatusBadRequest},
		"many fields":         {http.MethodPost, "/console/blocks", form, token + strings.Repeat("&what=x", 100), http.StatusBadRequest},
		"not UTF-8":           {http.MethodPost, "/console/blocks", form, token + "&what=%ff", http.StatusBadRequest},
		"NUL":                 {http.MethodPost, "/console/blocks", form, token + "&what=%00", http.StatusBadRequest},
		"line break":          {http.MethodPost, "/console/blocks", form, token + "&reason=a%0ab", http.StatusBadRequest},
		"broken escape":       {http.MethodPost, "/console/blocks", form, token + "&what=%zz", http.StatusBadRequest},
		"semicolon":           {http.MethodGet, "/console/tests?id=a;b=c", "", "", http.StatusBadRequest},
		"long query":          {http.MethodGet, "/console/tests?id=" + strings.Repeat("x", 5000), "", "", http.StatusRequestURITooLong},
		"query not UTF-8":     {http.MethodGet, "/console/tests?domain=%ff", "", "", http.StatusBadRequest},
		"POST to a view":      {http.MethodPost, "/console/log", form, token, http.StatusNotFound},
		"id with a slash":     {http.MethodGet, "/console/tests/a%2fb", "", "", http.StatusNotFound},
		"id of another sort":  {http.MethodGet, "/console/tests/%3Cscript%3E", "", "", http.StatusNotFound},
		"long id":             {http.MethodGet, "/console/tests/" + strings.Repeat("A", 100), "", "", http.StatusNotFound},
		"unknown id":          {http.MethodGet, "/console/tests/NONE", "", "", http.StatusNotFound},
		"unknown connection":  {http.MethodGet, "/console/connections/none", "", "", http.StatusNotFound},
		"page 0":              {http.MethodGet, "/console/log?page=0", "", "", http.StatusBadRequest},
		"page x":              {http.MethodGet, "/console/tests/T1/connections?page=x", "", "", http.StatusBadRequest},
		"page behind the end": {http.MethodGet, "/console/tests/T1/evidence?page=99", "", "", http.StatusNotFound},
		"page of blocks":      {http.MethodGet, "/console/blocks?page=-1", "", "", http.StatusBadRequest},
		"huge page":           {http.MethodGet, "/console/log?page=99999999999999999999", "", "", http.StatusBadRequest},
		"compare with no id":  {http.MethodGet, "/console/tests/T1/compare?with=%22", "", "", http.StatusBadRequest},
		"compare with no one": {http.MethodGet, "/console/tests/T1/compare?with=NONE", "", "", http.StatusBadRequest},
	} {
		w := in.send(c.method, c.path, c.kind, strings.NewReader(c.body))
		if w.Code != c.status {
			t.Errorf("%s: status %d, want %d:\n%s", name, w.Code, c.status, w.Body)
		}
	}
	if len(d.operator.did) > 0 {
		t.Errorf("it did %q", d.operator.did)
	}
}

func TestBadForms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path, text string
		fields     []string
	}{
		"delete a test, not confirmed":     {"/console/tests/T1/delete", "Nothing was deleted", []string{"confirm", ""}},
		"delete a test, another one":       {"/console/tests/T1/delete", "Nothing was deleted", []string{"confirm", "T2"}},
		"delete a person, not confirmed":   {"/console/person/delete", "Nothing was deleted", []string{"address", "a@b.example"}},
		"delete a person, misspelt":        {"/console/person/delete", "Nothing was deleted", []string{"address", "a@b.example", "confirm", "b@a.example"}},
		"delete a person, both empty":      {"/console/person/delete", "Type the mail address", []string{"address", "", "confirm", ""}},
		"preview of nobody":                {"/console/person", "Type the mail address", nil},
		"preview of no address":            {"/console/person", "want a mail address", []string{"address", "joe"}},
		"purge, not confirmed":             {"/console/retention/purge", "Nothing was deleted", []string{"days", "3"}},
		"purge, no number":                 {"/console/retention/purge", "Days: want a number", []string{"days", "x", "confirm", "delete"}},
		"purge, the future":                {"/console/retention/purge", "Days: want a number", []string{"days", "-1", "confirm", "delete"}},
		"purge, too many days":             {"/console/retention/purge", "Days: want a number", []string{"days", "99999999", "confirm", "delete"}},
		"block, no date":                   {"/console/blocks", "Until: want a date", []string{"what", "192.0.2.1", "until", "tomorrow"}},
		"block, a day that is over":        {"/console/blocks", "Until: this day is over", []string{"what", "192.0.2.1", "until", "2026-02-28"}},
		"block, what can not be":           {"/console/blocks", "want something else", []string{"what", "bad"}},
		"report that can not be retried":   {"/console/queue/T9/retry", "is being sent", nil},
		"delivery that can not be dropped": {"/console/deliveries/T9/drop", "is being sent", nil},
	} {
		d := full(t)
		in := d.in(t)
		switch {
		case strings.Contains(c.path, "T9"):
			d.operator.err = fmt.Errorf("%w: it is being sent", operate.ErrConflict)
		case strings.Contains(c.text, "something else"):
			d.operator.err = &operate.InvalidError{Field: "what", Value: "bad", Want: "want something else"}
		}
		form := url.Values{"token": {tokenOf(t, in)}}
		for i := 0; i < len(c.fields); i += 2 {
			form.Set(c.fields[i], c.fields[i+1])
		}
		w := in.post(c.path, form)
		if w.Code != http.StatusBadRequest && w.Code != http.StatusConflict {
			t.Errorf("%s: status %d", name, w.Code)
		}
		expect(t, name, w, w.Code, `role="alert"`, c.text)
		if len(d.operator.did) > 0 {
			t.Errorf("%s: it did %q", name, d.operator.did)
		}
	}
}

// tokenOf is token of a page that asks the operator nothing.
func tokenOf(t *testing.T, b *browser) string {
	t.Helper()
	m := tokenPattern.FindStringSubmatch(b.get("/console/person").Body.String())
	if m == nil {
		t.Fatal("no token")
	}
	return m[1]
}

// TestFailures: what goes wrong inside is in the log, and not on the page.
func TestFailures(t *testing.T) {
	t.Parallel()
	d := full(t)
	in := d.in(t)
	d.operator.err = fmt.Errorf("open /var/lib/tlsink/history.db: secret detail")
	for _, path := range []string{"/console/", "/console/tests", "/console/tests/T1", "/console/connections", "/console/retention", "/console/log"} {
		w := in.get(path)
		if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret detail") {
			t.Errorf("%s: status %d:\n%s", path, w.Code, w.Body)
		}
	}
	if !strings.Contains(d.log.String(), "secret detail") {
		t.Error("it is not in the log")
	}
}

func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := httptest.NewRequest(http.MethodGet, "http://"+zone+"/console/login", nil)
	r.TLS = nil
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || len(w.Result().Cookies()) > 0 {
		t.Errorf("status %d", w.Code)
	}
	r.TLS = &tls.ConnectionState{}
	w = httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("over HTTPS: status %d", w.Code)
	}
}

// TestRequestIDs: log lines carry the id that the request was given further out.
func TestRequestIDs(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	inner := d.handler
	d.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "r4711")
		inner.ServeHTTP(w, r)
	})
	d.browser().login("wrong")
	if got := d.log.String(); !strings.Contains(got, "request=r4711") || !strings.Contains(got, "client=192.0.2.7") {
		t.Errorf("log: %s", got)
	}
}
