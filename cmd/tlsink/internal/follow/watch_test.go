package follow

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/api"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
	"github.com/tlsink/tlsink/live"
)

func (s *scripted) watch(t *testing.T, args ...string) ran {
	t.Helper()
	return runCommand(t.Context(), append([]string{"watch", "--roots", s.roots}, args...)...)
}

func TestWatch(t *testing.T) {
	s := newScripted(t, stepQueued(), stepWaiting(), stepRunning(1), stepRunning(2), stepOver(live.Acked, "dane", true))
	want := `12:00:00  queued: All addresses are taken.
12:01:00  waiting: Send one mail to both addresses.
12:01:00  addresses: en4k7w2q9mxa@et3.sink.example en4k7w2q9mxa@ut3.sink.example
12:02:00  running: The sender is being watched.
12:02:00  phase secure: STARTTLS is offered.
12:02:00  connection 1 at server 4: encrypted. The mail was handed over inside TLS.
12:02:00  probably between 12:05 and 12:09 UTC
12:02:00  connection 2 at server 4: encrypted. The mail was handed over inside TLS.
12:10:00  acked: The test is over.
12:10:00  verdict: dane (well protected). What came was as dane says.
`
	for name, args := range map[string][]string{
		"link":       {s.url + "/t/" + scriptedCapability},
		"page":       {s.url + "/t/" + scriptedCapability + ".json"},
		"capability": {scriptedCapability, "--server", s.url},
		"both":       {s.url + "/t/" + scriptedCapability, "--server", s.url + "/"},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.watch(t, args...)
			if got.status != 0 || got.stderr != "" {
				t.Errorf("status %d: %s", got.status, got.stderr)
			}
			if diff := cmp.Diff(want, got.stdout); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
	if got := s.watch(t, s.url+"/t/"+scriptedCapability, "--json"); got.status != 0 || strings.Count(got.stdout, "\n") != 5 {
		t.Errorf("JSON: status %d: %s", got.status, got.stdout)
	}
}

func TestWatchExitStatus(t *testing.T) {
	s := newScripted(t, stepExpired())
	u := newScripted(t, stepOver(live.Closed, "undetermined", false))
	none := filepath.Join(t.TempDir(), "none.toml")
	for name, c := range map[string]struct {
		got  ran
		want int
		text string
	}{
		"expired":           {s.watch(t, s.url+"/t/"+scriptedCapability), 1, ""},
		"undetermined":      {u.watch(t, u.url+"/t/"+scriptedCapability), 1, ""},
		"no such test":      {s.watch(t, s.url+"/t/other-AAAAAAAAAAAAAAAAAAAAAA"), 3, "There is no such test (404)"},
		"no link":           {s.watch(t, "https://sink.example/x"), 2, "no link to a test"},
		"link and server":   {s.watch(t, s.url+"/t/"+scriptedCapability, "--server", "https://other.example"), 2, "leave one of them out"},
		"link without TLS":  {s.watch(t, "http://sink.example/t/"+scriptedCapability), 2, "want https://"},
		"id without config": {s.watch(t, "7KQ2PX", "--config", none), 2, "TEST is no link"},
	} {
		if c.got.status != c.want || !strings.Contains(c.got.stderr, c.text) || strings.Contains(c.got.stderr, scriptedCapability) {
			t.Errorf("%s: status %d: %s", name, c.got.status, c.got.stderr)
		}
	}
}

// TestWatchOnThisHost asks through the control socket.
func TestWatchOnThisHost(t *testing.T) {
	s := newScripted(t, stepRunning(1), stepOver(live.Acked, "dane", true))
	dir, err := os.MkdirTemp("", "w") //nolint:usetesting // short: it is a part of a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := control.Listen(t.Context(), filepath.Join(dir, control.Socket))
	if err != nil {
		t.Fatal(err)
	}
	h, err := api.New(api.Options{Live: s, Leases: s, Results: s, Link: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", h)
	mux.HandleFunc("GET /tests/7KQ2PX/link", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, scriptedCapability)
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	defer func() {
		srv.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}()
	file := filepath.Join(dir, "tlsink.toml")
	if err := os.WriteFile(file, []byte("zone = \"sink.example\"\ndata_dir = \""+dir+"\"\n[dns]\naddresses = [\"192.0.2.25\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]int{"7KQ2PX": 0, "7kq2px": 0, "OTHERS": 3} {
		if got := runCommand(t.Context(), "watch", id, "--config", file); got.status != want {
			t.Errorf("%s: status %d: %s", id, got.status, got.stderr)
		}
	}
}

func TestScreen(t *testing.T) {
	var b strings.Builder
	now := scriptTime(2)
	v := &screenView{w: &b, now: func() time.Time { return now }, size: func() (int, int) { return 70, 16 }}
	st := stepRunning(9)
	if err := v.show(&st); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"test 7KQ2PX  running  a…@example.org",
		"The sender is being watched.",
		"servers   1·  4●  ● TLS ◐ plain ○ refused ◒ both ? none",
		"phase     secure, ends in 3:00: STARTTLS is offered.",
		"MX order  mx04 mx05, next in 1:00",
		"  12:02:00  4  encrypted  The mail was handed over inside TLS.",
		"missing   an attempt at mx05",
		"next      probably between 12:05 and 12:09 UTC",
	}
	lines := screenText(b.String())
	if len(lines) != 14 { // of 16: the prompt, and a line for trouble
		t.Errorf("%d lines", len(lines))
	}
	lines = append(lines[:6:6], lines[12:]...) // the last seven connections are alike
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("screen (-want +got):\n%s", diff)
	}
	b.Reset()
	now = now.Add(90 * time.Second)
	v.tick()
	if !strings.HasPrefix(b.String(), "\x1b[14A") || !strings.Contains(b.String(), "ends in 1:30") || !strings.Contains(b.String(), "next in 0:00") {
		t.Errorf("redrawn: %q", b.String())
	}
	v.trouble(errors.New("no route"), 4*time.Second)
	if !strings.Contains(b.String(), "not connected: no route; next try in 4s") {
		t.Errorf("redrawn: %q", b.String())
	}
}

func screenText(s string) []string {
	s = strings.NewReplacer("\r", "", "\x1b[2K", "", "\x1b[J", "").Replace(s)
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// TestHostileServer: what a server or a sender writes commands no terminal.
func TestHostileServer(t *testing.T) {
	evil := "\x1b[2J\x1b]0;title\x07\r\n\u202e\u0085" + strings.Repeat("long ", 500)
	st := stepOver(live.Acked, "dane", true)
	st.Text, st.Sender, st.Slow, st.Test = evil, evil, evil, evil
	st.Finding, st.Missing, st.Rotation.Order = []string{evil}, []string{evil}, []string{evil}
	st.Addresses = &live.Addresses{ET: evil, UT: evil}
	st.Place = &live.Place{Ahead: -1}
	st.Verdict.Policy, st.Verdict.Grade, st.Verdict.Summary = evil, evil, evil
	st.Connections[0].Text, st.Connections[0].Outcome = evil, live.Outcome(evil)
	st.Servers = append(st.Servers, live.Server{Number: -7, Outcome: live.Outcome(evil)})
	clean := func(name, text string) {
		t.Helper()
		for _, r := range text {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%s: %U is printed", name, r)
				return
			}
		}
	}
	var lines, screen, asJSON strings.Builder
	for name, v := range map[string]testView{
		"lines": &lineView{w: &lines}, "JSON": &jsonView{w: &asJSON},
		"screen": &screenView{w: &screen, now: time.Now, size: func() (int, int) { return 40, 10 }},
	} {
		if err := v.show(&st); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		v.trouble(errors.New(evil), time.Second)
		v.end()
	}
	clean("lines", lines.String())
	clean("JSON", asJSON.String())
	for _, line := range screenText(screen.String()) {
		line = strings.TrimPrefix(line, "\x1b[9A")
		if i := strings.Index(line, "A"); strings.HasPrefix(line, "\x1b[") && i > 0 {
			line = line[i+1:]
		}
		clean("screen", line)
		if n := len([]rune(line)); n > 39 {
			t.Errorf("screen: a line of %d characters", n)
		}
	}
	if strings.Count(asJSON.String(), "\n") != 1 {
		t.Errorf("JSON: more than a line: %q", asJSON.String())
	}
}
