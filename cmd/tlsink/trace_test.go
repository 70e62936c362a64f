package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/console"
	"github.com/tlsink/tlsink/history"
)

// logged keeps every line of a log.
type logged struct {
	mu    sync.Mutex
	lines [][]byte
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, bytes.Clone(b))
	return len(b), nil
}

// with returns the lines that have an attribute, in order.
func (l *logged) with(t *testing.T, key, value string) (out []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.lines {
		var line map[string]any
		if err := json.Unmarshal(b, &line); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		if line[key] == value {
			out = append(out, line)
		}
	}
	return out
}

func (l *logged) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(bytes.Join(l.lines, nil))
}

// messages returns what lines say, each once, in order.
func messages(lines []map[string]any) (out []string) {
	for _, line := range lines {
		if m := fmt.Sprint(line["msg"]); !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

// The whole life of a test can be followed in the log: by its id, and from there
// by the ids of its connections. At no level does a line hold who it was, or what
// gives access to it.
func TestLogFollowsATest(t *testing.T) {
	hours(t, func(w *world) {
		w.halt()
		log := new(logged)
		w.log = slog.New(tracing{slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})})
		w.start()
		s := newMTA(w, policyNamed("dane"), 10*time.Minute, 1, clientIP(1))
		s.deliver(w.t.Context(), s.write("somebody", toET, toUT), nil)
		s.wait()
		time.Sleep(time.Hour)
		w.reported(s.address("somebody"), 1)
		r := w.only(s.address("somebody"))

		life := messages(log.with(t, "test", r.rec.Test.ID))
		for _, want := range []string{"test opened", "connection belongs to a test", "message answered", "verdict reached", "test ended", "domain analysed", "delivery attempt ended", "report delivered"} {
			if !slices.Contains(life, want) {
				t.Errorf("the log of the test does not say %q: %q", want, life)
			}
		}
		if got := messages(log.with(t, "report", r.rec.Test.ID)); !slices.Contains(got, "report delivered") {
			t.Errorf("the log of the report says %q", got)
		}
		h, err := w.service().store.History(r.rec.Test.ID)
		if err != nil {
			t.Fatal(err)
		}
		if len(h.Connections) < 3 {
			t.Fatalf("the test has %d connections", len(h.Connections))
		}
		for _, c := range h.Connections {
			lines := log.with(t, "connection", string(c.ID))
			said := messages(lines)
			if !slices.ContainsFunc(lines, func(l map[string]any) bool { return l["test"] == r.rec.Test.ID }) ||
				!slices.Contains(said, "connection accepted") || !slices.Contains(said, "connection closed") {
				t.Errorf("connection %s cannot be followed: %q", c.ID, said)
			}
		}
		silentAbout(t, log.all(), r.rec, s)
	})
}

// noTLS says something else to the HTTPS port.
func noTLS(t *testing.T, w *world, client netip.Addr) {
	t.Helper()
	c, err := w.dialer(client)(w.t.Context(), "tcp", netip.AddrPortFrom(serviceIP(), 443).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("EHLO client.example\r\n")); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(c) // until it is closed
}

// silentAbout fails if a log holds a person, or the way to a result.
func silentAbout(t *testing.T, log string, r history.TestRecord, s *mta) {
	t.Helper()
	for what, secret := range map[string]string{
		"the capability": r.Capability, "the address": s.address("somebody"), "the local part": "somebody", "the client": s.ips[0].String(), "the Message-ID": strings.Trim(r.MessageIDs[0], "<>"),
	} {
		for line := range strings.Lines(log) {
			if strings.Contains(line, secret) {
				t.Errorf("the log holds %s: %s", what, line)
				break
			}
		}
	}
}

// What people do on the web stands in the log by the id that their browser got
// with the answer; never what they typed, nor the way to their test.
func TestLogFollowsTheWeb(t *testing.T) {
	const password, wrong = "correct horse battery staple", "wrong-password-1234"
	hoursOf(t, func(c *config.Config) { c.Console.Enabled, c.Slots = true, 2 }, func(w *world) {
		w.halt()
		log := new(logged)
		w.log = slog.New(tracing{slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})})
		w.start()
		hash, err := console.HashPassword(password, rand.NewChaCha8([32]byte{1}))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(w.service().cfg.ConsolePassword(), []byte(hash+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		ask := func(method, path, form string, status int) *httptest.ResponseRecorder {
			t.Helper()
			r := httptest.NewRequest(method, "https://"+worldZone+path, strings.NewReader(form))
			r.RemoteAddr = "203.0.113.77:40000"
			if form != "" {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			r.Header.Set("X-Request-Id", "chosen-by-the-client")
			rec := httptest.NewRecorder()
			w.service().web.Handler().ServeHTTP(rec, r)
			if rec.Code != status {
				t.Errorf("%s %s: status %d, want %d: %s", method, path, rec.Code, status, rec.Body)
			}
			id := rec.Header().Get("X-Request-Id")
			if lines := messages(log.with(t, "request", id)); id == "" || !slices.Contains(lines, "request") {
				t.Errorf("%s %s: request %q says %q", method, path, id, lines)
			}
			return rec
		}
		page := ask("POST", "/start", "l=en", 303).Header().Get("Location")
		capability := strings.TrimPrefix(page, "/t/")
		ask("GET", page, "", 200)
		token := regexp.MustCompile(`en[2-9a-z]{10}@`).FindString(ask("GET", "/api/v1/tests/"+capability, "", 200).Body.String())
		if len(capability) < 22 || token == "" {
			t.Errorf("page %q, token %q", page, token)
		}
		ask("GET", page+"?x=1", "", 200)
		ask("GET", page+".json", "", 404) // there is no report yet
		ask("GET", page+"/nothing", "", 404)
		ask("GET", "/statistics", "", 200)
		ask("GET", "/statistics.csv", "", 200)
		ask("POST", "/console/login", "password="+wrong, 403)
		time.Sleep(time.Hour)
		cookie := ask("POST", "/console/login", "password="+strings.ReplaceAll(password, " ", "+"), 303).Header().Get("Set-Cookie")
		secret, _, _ := strings.Cut(cookie, ";")
		_, secret, _ = strings.Cut(secret, "=")
		for _, one := range []string{capability, strings.TrimSuffix(token, "@"), password, "battery", wrong, secret, "chosen-by-the-client"} {
			if one == "" || strings.Contains(log.all(), one) {
				t.Errorf("the log holds %q", one)
			}
		}
		noTLS(t, w, clientIP(9))
		if said := log.all(); !strings.Contains(said, "http server") || strings.Contains(said, clientIP(9).String()) {
			t.Error("the log says nothing of a handshake that failed, or whose it was")
		}
		got := scraped(t, w)
		for name, want := range map[string]float64{
			`tlsink_console_logins_total{result="ok"}`: 1, `tlsink_console_logins_total{result="failed"}`: 1, `tlsink_http_requests_total{code="303",method="POST",route="/start"}`: 1,
			`tlsink_lease_wait_seconds_count`: 1, `tlsink_lease_queue_length`: 0, `tlsink_blocks{kind="network"}`: 0,
		} {
			if got[name] != want {
				t.Errorf("%s is %v, want %v", name, got[name], want)
			}
		}
	})
}
