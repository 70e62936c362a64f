package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/lease"
)

// visitor is a browser that follows no redirect.
func (p *process) visitor(t *testing.T) *http.Transport {
	t.Helper()
	tr := &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: p.roots(t), MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, p.https)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// press sends a form, and returns the status and where it leads to.
func (p *process) press(t *testing.T, path, form string) (status int, location string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://sink.example"+path, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := p.visitor(t).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Header.Get("Location")
}

// A test is started by the button, its mail is sent to the addresses of its
// page, and the stream tells of each connection.
func TestStartedOnTheWeb(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t, "slots", 3))
	status, path := p.press(t, "/start", "language=de")
	if status != http.StatusSeeOther || !strings.HasPrefix(path, "/t/") {
		t.Fatalf("status %d to %q", status, path)
	}
	_, _, page := p.get(t, "https://sink.example"+path)
	addresses := regexp.MustCompile(`<code data-copy>([a-z0-9]+)@<wbr>(et\d)\.sink\.example</code>`).FindStringSubmatch(page)
	stream := regexp.MustCompile(`data-events="([^"]+)"`).FindStringSubmatch(page)
	if addresses == nil || stream == nil || !strings.Contains(page, `<html lang="de">`) {
		t.Fatalf("no addresses, no stream, or not in German:\n%s", page)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://sink.example"+strings.ReplaceAll(stream[1], "&amp;", "&"), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	events, err := p.visitor(t).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	to := addresses[1] + "@" + addresses[2] + ".sink.example"
	code, text := p.connect(t, "mta.sender.example").mail("a@sender.example", to, mailText("a@sender.example", "1@sender.example"))
	if code != 451 || link(t, text) != path {
		t.Errorf("reply %d %s, want the link of the page", code, text)
	}
	lines := bufio.NewScanner(events.Body)
	seen := ""
	for lines.Scan() && !strings.Contains(seen, `<li id="c1"`) {
		seen += lines.Text() + "\n"
	}
	if !strings.Contains(seen, "Ihr Test läuft") || !strings.Contains(seen, "Server 1 gab vor") {
		t.Errorf("the stream says:\n%s", seen)
	}
	for suffix, want := range map[string]string{"": "Server 1", ".json": `"test"`, "/badge.svg": "<svg"} {
		if status, _, body := p.get(t, "https://sink.example"+path+suffix); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: status %d, no %q:\n%s", suffix, status, want, body)
		}
	}
	if status, to := p.press(t, path+"/cancel", ""); status != http.StatusSeeOther || to != path {
		t.Errorf("giving up a running test: status %d to %q", status, to)
	}
	if strings.Contains(p.log.text(), path) {
		t.Error("the capability is in the log")
	}
}

// A test that is given up frees its slot later, and says so.
func TestGivenUpOnTheWeb(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t, "slots", 2))
	_, path := p.press(t, "/start", "language=en")
	_, second := p.press(t, "/start", "language=en")
	if _, _, page := p.get(t, "https://sink.example"+second); !strings.Contains(page, "Your test waits for its turn") {
		t.Errorf("the second one has to wait:\n%s", page)
	}
	if status, _ := p.press(t, path+"/cancel", ""); status != http.StatusSeeOther {
		t.Fatalf("status %d", status)
	}
	if _, _, page := p.get(t, "https://sink.example"+path); !strings.Contains(page, "This test has ended without a mail") {
		t.Errorf("the page of the first one:\n%s", page)
	}
}

// The page of a test that was deleted asks nobody to mail to its addresses: the
// lease outlives it.
func TestDeletedTestIsGone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		state         lease.State
		booked, found bool
		want          bool
	}{
		{"never was", "", false, false, true},
		{"test by plain mail", "", false, true, false},
		{"waits for its mail", lease.Waiting, true, false, false},
		{"its first mail is being stored", lease.Running, true, false, false},
		{"no mail came", lease.Expired, true, false, false},
		{"over", lease.Ended, true, true, false},
		{"over and deleted", lease.Ended, true, false, true},
	} {
		if got := gone(lease.Ticket{State: c.state}, c.booked, c.found); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
