package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/mail"
	"strings"
	"testing"

	"github.com/emersion/go-message"
	"github.com/google/go-cmp/cmp"
)

// get fetches an address of the zone and verifies the certificate.
func (p *process) get(t *testing.T, url string) (status int, header http.Header, body string) {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.roots(t), MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := p.https
			if strings.HasSuffix(address, ":80") {
				to = p.http
			}
			return (&net.Dialer{}).DialContext(ctx, network, to)
		},
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req) // follows no redirect
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestPolicyOverTLS(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t, "slots", 2))
	for _, et := range []string{"et", "et1"} {
		status, header, body := p.get(t, "https://mta-sts."+et+".sink.example/.well-known/mta-sts.txt")
		want := strings.ReplaceAll("version: STSv1\r\nmode: enforce\r\nmx: mx04.ET.sink.example\r\nmx: mx05.ET.sink.example\r\nmx: mx06.ET.sink.example\r\nmax_age: 86400\r\n", "ET", et)
		if diff := cmp.Diff(want, body); diff != "" || status != 200 {
			t.Errorf("%s: status %d, policy:\n%s", et, status, diff)
		}
		if ct := header.Get("Content-Type"); !strings.HasPrefix(ct, "text/plain") {
			t.Errorf("%s: Content-Type %q", et, ct)
		}
	}
	// RFC 8461 §3.3: only over HTTPS; ut has no policy.
	for _, url := range []string{"http://mta-sts.et.sink.example/.well-known/mta-sts.txt", "https://sink.example/.well-known/mta-sts.txt"} {
		if status, _, body := p.get(t, url); status == 200 || strings.Contains(body, "STSv1") {
			t.Errorf("%s: status %d", url, status)
		}
	}
}

func TestPagesOverTLS(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	code, text := p.connect(t, "mta.sender.example").mail("a@sender.example", "en@et.sink.example", mailText("a@sender.example", "1@sender.example"))
	if code != 451 || !strings.Contains(text, "STARTTLS withheld on purpose") {
		t.Fatalf("reply %d %s", code, text)
	}
	path := link(t, text)
	for name, c := range map[string]struct {
		url    string
		status int
		want   string
	}{
		"front page":             {"https://sink.example/", 200, "et.sink.example"},
		"status page":            {"https://sink.example/status", 200, "mx0"},
		"result":                 {"https://sink.example" + path, 200, p.tests(t)[0].ID},
		"result as JSON":         {"https://sink.example" + path + ".json", 200, `"test"`},
		"wrong link":             {"https://sink.example" + path[:len(path)-4] + "0000", 404, ""},
		"shorter link":           {"https://sink.example" + path[:len(path)-1], 404, ""},
		"no link":                {"https://sink.example/t/", 404, ""},
		"ID of a test":           {"https://sink.example/t/" + p.tests(t)[0].ID, 404, ""},
		"result by another host": {"https://mta-sts.et.sink.example" + path, 404, ""},
		"nothing":                {"https://sink.example/admin", 404, ""},
		"control":                {"https://sink.example/tests", 404, ""},
	} {
		status, header, body := p.get(t, c.url)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: status %d, want %d and %q:\n%s", name, status, c.status, c.want, body)
		}
		if c.status != 200 && strings.Contains(body, "sender.example") {
			t.Errorf("%s tells about a test", name)
		}
		if strings.HasPrefix(c.url, "https://sink.example/t/") && !strings.Contains(header.Get("Cache-Control"), "no-store") {
			t.Errorf("%s: Cache-Control %q", name, header.Get("Cache-Control"))
		}
	}
	if strings.Contains(p.log.text(), path) {
		t.Error("the capability is in the log")
	}
}

// What clients say is shown as text and never does anything.
func TestHostileTextIsShownHarmless(t *testing.T) {
	t.Parallel()
	const (
		ehlo   = "<script>alert(1)</script>"
		sni    = "<b>sni</b>.example"
		name   = "<img src=x onerror=alert(2)>\x1b[31m\x07\u202egnp"
		from   = `"` + name + `" <a@sender.example>`
		sender = "a@sender.example"
	)
	out := newOutside(t)
	p := start(t, out.settings(t, "timing.downgrade", "1ms", "timing.attempt", "100ms", "timing.close", "500ms"))
	var path string
	for code := 0; code != 250; { // as mail servers do, until the test is closed
		c := p.secure(t, ehlo)
		c.startTLS(sni, "second\x1b]0;title\x07.example")
		var text string
		code, text = c.mail(sender, "en@et.sink.example", mailText(from, "1@sender.example", "Subject: <svg onload=alert(3)>\x1b[2J"))
		path = link(t, text)
		c.cmd(221, "QUIT")
		c.rest()
	}
	report := out.report(t)
	id := p.tests(t)[0].ID
	_, _, page := p.get(t, "https://sink.example"+path)
	_, _, data := p.get(t, "https://sink.example"+path+".json")
	shown := map[string]string{
		"page": page, "JSON": data, "history show": p.ask(t, "history", "show", id), "history list": p.ask(t, "history", "list"),
		"history connections": p.ask(t, "history", "connections"), "history export": p.ask(t, "history", "export", id), "log": p.log.text(),
	}
	for part, text := range parts(t, report.text) {
		shown["report, "+part] = text
	}
	for where, text := range shown {
		for _, bad := range []string{"\x1b", "\x07", "\u202e"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s holds %q:\n%s", where, bad, around(text, bad))
			}
		}
		if where == "page" || strings.HasSuffix(where, "text/html") {
			for _, bad := range []string{"<script>", "<b>sni", "<img src=x", "<svg onload"} {
				if strings.Contains(text, bad) {
					t.Errorf("%s holds %q:\n%s", where, bad, around(text, bad))
				}
			}
		}
	}
	for where, want := range map[string]string{
		"page": "&lt;b&gt;sni", "report, text/html": "&lt;b&gt;sni", "report, text/plain": "<b>sni", "history show": "<b>sni", "history connections": "<script>",
	} {
		if !strings.Contains(shown[where], want) {
			t.Errorf("%s does not show %q:\n%s", where, want, shown[where])
		}
	}
	if !json.Valid([]byte(data)) {
		t.Errorf("no JSON:\n%s", data)
	}
}

// around returns what surrounds part in text.
func around(text, part string) string {
	at := strings.Index(text, part)
	return text[max(0, at-60):min(len(text), at+60)]
}

// parts returns the header and the decoded parts of a mail by media type.
func parts(t *testing.T, text string) map[string]string {
	t.Helper()
	msg, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{"header": msg.Header.Get("Subject") + msg.Header.Get("To")}
	e, err := message.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	err = e.Walk(func(_ []int, part *message.Entity, err error) error {
		if err != nil || part.MultipartReader() != nil {
			return err
		}
		kind, _, err := part.Header.ContentType()
		if err != nil {
			return err
		}
		b, err := io.ReadAll(part.Body)
		out[kind] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
