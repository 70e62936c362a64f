package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const consoleSecret = "apple ladder quiet storm"

func TestConsolePassword(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	config, file := s.write(t), filepath.Join(s.dir(), "console-password")
	if _, stderr, status := runCLI(t, consoleSecret+"\n", "console", "password", "--config", config); status != 1 || !strings.Contains(stderr, "start the service once") {
		t.Errorf("without data_dir: status %d, %q", status, stderr)
	}
	if err := os.MkdirAll(s.dir(), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ stdin, want string }{
		"short":   {"eleven char\n", "too short"},
		"common":  {"password123456\n", "tried first"},
		"zone":    {"sink.example\n", "tried first"},
		"nothing": {"", "too short"},
		"long":    {strings.Repeat("long words ", 1000), "longer than"},
		"binary":  {"apple ladder\x00quiet storm\n", "can not be typed"},
	} {
		out, stderr, status := runCLI(t, c.stdin, "console", "password", "--config", config)
		if status != 1 || !strings.Contains(stderr, c.want) || out != "" {
			t.Errorf("%s: status %d, %q", name, status, stderr)
		}
		if text := strings.TrimSpace(c.stdin); len(text) > 4 && strings.Contains(stderr, text) {
			t.Errorf("%s: the error repeats the password", name)
		}
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Fatalf("a refused password was written: %v", err)
	}
	var before []byte
	for _, stdin := range []string{consoleSecret + "\n", consoleSecret, consoleSecret + "\r\n"} {
		out, stderr, status := runCLI(t, stdin, "console", "password", "--config", config)
		if status != 0 || !strings.Contains(out, "still off") {
			t.Fatalf("status %d: %s%s", status, out, stderr)
		}
		info, err := os.Stat(file)
		if err != nil || info.Mode() != 0o600 {
			t.Fatalf("mode %v, %v", info.Mode(), err)
		}
		b, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(b), "$argon2id$v=19$m=65536,t=3,p=") || string(b) == string(before) {
			t.Errorf("%q, %v; want another hash each time", b, err)
		}
		before = b
	}
}

// operatorBrowser is a browser of an operator.
type operatorBrowser struct {
	t      *testing.T
	client http.Client
}

func (p *process) operator(t *testing.T) *operatorBrowser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.roots(t), MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, p.https)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &operatorBrowser{t: t, client: http.Client{Transport: transport, Jar: jar}}
}

// do sends a form, or gets a page without one, and follows redirects.
func (b *operatorBrowser) do(path string, form url.Values) (status int, body string) {
	b.t.Helper()
	method, content := http.MethodGet, io.Reader(http.NoBody)
	if form != nil {
		method, content = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, "https://sink.example"+path, content)
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// token is that of the session's forms.
func (b *operatorBrowser) token() string {
	b.t.Helper()
	_, body := b.do("/console/person", nil)
	m := regexp.MustCompile(`name="token" value="([^"]+)"`).FindStringSubmatch(body)
	if m == nil {
		b.t.Fatalf("no form with a token:\n%s", body)
	}
	return m[1]
}

func (b *operatorBrowser) expect(path string, form url.Values, want int, parts ...string) string {
	b.t.Helper()
	status, body := b.do(path, form)
	if status != want {
		b.t.Errorf("%s: status %d, want %d:\n%s", path, status, want, body)
	}
	for _, part := range parts {
		if !strings.Contains(body, part) {
			b.t.Errorf("%s: %q is not on the page:\n%s", path, part, body)
		}
	}
	return body
}

// TestConsole: an operator sets a password while the service runs, logs in,
// finds a test, looks at it, exports it, and deletes the person.
func TestConsole(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t, "console.enabled", true))
	defer p.stop(t)
	b := p.operator(t)
	b.expect("/console/", nil, http.StatusNotFound, "The console is off.")
	out, stderr, status := runCLI(t, consoleSecret+"\n", "console", "password", "--config", p.config)
	if status != 0 || !strings.Contains(out, "https://sink.example/console/") {
		t.Fatalf("console password: status %d: %s%s", status, out, stderr)
	}
	c := p.connect(t, "mta.sender.example")
	c.mail("joe@sender.example", "en@et.sink.example", "Subject: test\r\nMessage-ID: <1@sender.example>\r\n\r\nHello.")

	b.expect("/console/tests", nil, http.StatusOK, `type="password"`)
	b.expect("/console/login", url.Values{"password": {"wrong"}}, http.StatusForbidden, "The password is wrong.")
	b.expect("/console/login", url.Values{"password": {consoleSecret}}, http.StatusOK, "Running tests", "joe@sender.example")
	b.expect("/console/tests?domain=other.example", nil, http.StatusOK, "None")
	found := b.expect("/console/tests?domain=sender.example&network=127.0.0.0/8&state=open", nil, http.StatusOK, "joe@sender.example")
	m := regexp.MustCompile(`href="(/console/tests/[A-Z0-9]+)"`).FindStringSubmatch(found)
	if m == nil {
		t.Fatalf("no link to the test:\n%s", found)
	}
	b.expect(m[1], nil, http.StatusOK, "joe@sender.example", "&lt;1@sender.example&gt;", "Why this verdict", `class="r-`)
	b.expect(m[1]+"/connections", nil, http.StatusOK, "EHLO mta.sender.example", "Why it belongs to the test", "Transcript")
	b.expect(m[1]+"/evidence", nil, http.StatusOK, "Presented")
	b.expect("/console/export/tests.csv?domain=sender.example", nil, http.StatusOK, "joe@sender.example")
	b.expect("/console/export/histories.jsonl", nil, http.StatusOK, "mta.sender.example")
	for _, path := range []string{"/console/connections", "/console/check", "/console/queue", "/console/blocks", "/console/retention", "/console/log"} {
		b.expect(path, nil, http.StatusOK, "<h1>")
	}
	token := b.token()
	b.expect("/console/blocks", url.Values{"token": {token}, "what": {"198.51.100.0/24"}, "reason": {"scans"}}, http.StatusOK, "The block is in force.", "198.51.100.0/24")
	b.expect("/console/person", url.Values{"token": {token}, "address": {"joe@sender.example"}}, http.StatusOK, "What would be deleted of joe@sender.example", m[1])
	b.expect("/console/person/delete", url.Values{"token": {token}, "address": {"joe@sender.example"}, "confirm": {"joe@sender.example"}}, http.StatusOK, "was deleted")
	b.expect(m[1], nil, http.StatusNotFound)
	if log := b.expect("/console/log", nil, http.StatusOK, "block added"); strings.Contains(log, "joe@") || strings.Contains(log, "198.51.100") {
		t.Errorf("the audit log names a person:\n%s", log)
	}
	runCLI(t, "another long passphrase\n", "console", "password", "--config", p.config)
	b.expect("/console/", nil, http.StatusOK, `type="password"`)
	for _, secret := range []string{consoleSecret, token} {
		if strings.Contains(p.log.text(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}
