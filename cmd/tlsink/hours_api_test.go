package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/client"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/follow"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
)

// addressBook takes what `tlsink test` prints, and tells the two addresses.
type addressBook struct {
	mu   sync.Mutex
	text bytes.Buffer
	told chan []string
}

func (a *addressBook) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, err := a.text.Write(b)
	if lines := strings.Fields(a.text.String()); len(lines) >= 2 && a.told != nil {
		a.told <- lines[:2]
		a.told = nil
	}
	return n, err
}

func (a *addressBook) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text.String()
}

// hooks receives webhooks.
type hooks struct {
	mu     sync.Mutex
	bodies map[string]string // by path
}

func (h *hooks) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body) // what does not come whole is no JSON
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bodies[r.URL.Path] = string(b)
}

func (h *hooks) got(path string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bodies[path]
}

// hooksOf serves webhooks at loopback in the network of the world.
func hooksOf(w *world) (h *hooks, stop func()) {
	w.t.Helper()
	l, err := w.net.Listen(netip.MustParseAddrPort("127.0.0.1:8080"))
	if err != nil {
		w.t.Fatal(err)
	}
	h = &hooks{bodies: make(map[string]string)}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	return h, func() {
		srv.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			w.t.Error(err)
		}
	}
}

// The command, the client, the API, a leased slot, senders and webhooks: one
// test of each policy, from cron's side.
func TestTestsFromCron(t *testing.T) {
	secret := fileOf(t, "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")
	for _, c := range []struct {
		policy, require string
		want            int
	}{{"dane", "dane", follow.Met}, {"may", "dane,mta-sts", follow.NotMet}} {
		t.Run(c.policy, func(t *testing.T) {
			hoursOf(t, func(cfg *config.Config) {
				cfg.Slots = 3
				cfg.API.WebhookHosts = []string{"127.0.0.1"}
				cfg.Webhook = []config.Webhook{{URL: "http://127.0.0.1:8080/operator", SecretFile: secret}}
			}, func(w *world) {
				t := w.t // of the bubble
				hooks, stop := hooksOf(w)
				defer stop()
				addresses := make(chan []string, 1)
				stdout, stderr := &addressBook{told: addresses}, &addressBook{}
				junit := filepath.Join(t.TempDir(), "junit.xml")
				cmd := &follow.TestCmd{
					Server: "https://" + worldZone, Require: []string{c.require}, Language: "en", Timeout: 8 * time.Hour, JUnit: junit, Webhook: "http://127.0.0.1:8080/own",
					APIFlags: follow.APIFlags{Roots: filepath.Join(w.dir, "ca", "root.pem"), Dial: w.dialer(clientIP(9))},
				}
				ended := make(chan error, 1)
				go func() {
					ended <- cmd.Run(&cli.Env{Ctx: t.Context(), Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr})
				}()
				var to []string
				select {
				case to = <-addresses:
				case err := <-ended:
					t.Fatalf("ended before there were addresses: %v\n%s", err, stderr)
				}
				s := newMTA(w, policyNamed(c.policy), 10*time.Minute, 1, clientIP(1))
				s.deliver(t.Context(), s.write("cron", to...), nil)
				s.wait()
				err := <-ended
				status := follow.Met
				if x, ok := errors.AsType[cli.ExitError](err); ok {
					status = int(x)
				} else if err != nil {
					t.Fatal(err)
				}
				if status != c.want || !strings.Contains(stdout.String(), "The verdict is "+c.policy) {
					t.Errorf("status %d:\n%s\n%s", status, stdout, stderr)
				}
				if b, err := os.ReadFile(junit); err != nil || !strings.Contains(string(b), fmt.Sprintf(` failures="%d" `, c.want)) {
					t.Errorf("%v:\n%s", err, b)
				}
				time.Sleep(10 * time.Minute)
				checkHooks(t, hooks, c.policy)
				w.checkResults(t, stderr.String(), c.policy)
			})
		})
	}
}

func checkHooks(t *testing.T, h *hooks, policy string) {
	t.Helper()
	for path, linked := range map[string]bool{"/operator": false, "/own": true} {
		var m struct {
			Data struct {
				State, Link string
				Verdict     live.Verdict
			}
		}
		if err := json.Unmarshal([]byte(h.got(path)), &m); err != nil {
			t.Errorf("%s: %v: %q", path, err, h.got(path))
			continue
		}
		if m.Data.Verdict.Policy != policy || m.Data.State != report.StateAcked || (m.Data.Link != "") != linked {
			t.Errorf("%s: %s", path, h.got(path))
		}
	}
}

// checkResults fetches what there is about the test whose link was printed.
func (w *world) checkResults(t *testing.T, stderr, policy string) {
	t.Helper()
	_, rest, _ := strings.Cut(stderr, "follow it at ")
	link, _, _ := strings.Cut(rest, "\n")
	server, capability, err := client.ParseLink(link)
	if err != nil {
		t.Fatalf("%q: %v", link, err)
	}
	c, err := client.New(client.Options{Server: server, Roots: w.service().ca.Pool(), Dial: w.dialer(clientIP(9))})
	if err != nil {
		t.Fatal(err)
	}
	st, err := c.Status(t.Context(), capability, "de")
	if err != nil || st.State != live.Acked || st.Verdict.Policy != policy || st.Language != "de" || len(st.Connections) == 0 {
		t.Errorf("status %+v, %v", st, err)
	}
	b, err := c.Report(t.Context(), capability)
	var doc struct {
		Verdict struct{ Policy string }
	}
	if err != nil || json.Unmarshal(b, &doc) != nil || doc.Verdict.Policy != policy {
		t.Errorf("report %s, %v", doc.Verdict.Policy, err)
	}
	if b, err := c.History(t.Context(), capability); err != nil || bytes.Contains(b, []byte("cron@")) {
		t.Errorf("history of %d octets, %v", len(b), err)
	}
	if err := c.Cancel(t.Context(), capability); err == nil || !strings.Contains(err.Error(), "This test has begun (409)") {
		t.Errorf("giving up a test that is over: %v", err)
	}
}

// What no mail comes to is given back, by its client or by time.
func TestTestGivenUp(t *testing.T) {
	hoursOf(t, func(cfg *config.Config) { cfg.Slots = 2 }, func(w *world) {
		t := w.t // of the bubble
		c, err := client.New(client.Options{Server: "https://" + worldZone, Roots: w.service().ca.Pool(), Dial: w.dialer(clientIP(9))})
		if err != nil {
			t.Fatal(err)
		}
		first, err := c.Start(t.Context(), client.Order{})
		if err != nil {
			t.Fatal(err)
		}
		second, err := c.Start(t.Context(), client.Order{Language: "de"})
		if err != nil {
			t.Fatal(err)
		}
		if first.Status.State != live.Waiting || second.Status.State != live.Queued {
			t.Fatalf("states %s and %s, want one with the only slot, and one in the queue", first.Status.State, second.Status.State)
		}
		// What `tlsink watch ID` asks for on this host.
		for path, want := range map[string]string{
			"/tests/" + first.Status.Test + "/link":      first.Capability + "\n",
			"/api/v1/tests/" + first.Capability + "?x=1": `"field":"x"`,
			"/tests/ABCDEF/link":                         "not found",
		} {
			rec := httptest.NewRecorder()
			controlHandler(w.service()).ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
			if !strings.Contains(rec.Body.String(), want) {
				t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
			}
		}
		if err := c.Cancel(t.Context(), first.Capability); err != nil {
			t.Fatal(err)
		}
		var states []live.State
		for st, err := range c.Follow(t.Context(), second.Capability, "", nil) {
			if err != nil {
				t.Fatal(err)
			}
			if n := len(states); n == 0 || states[n-1] != st.State {
				states = append(states, st.State)
			}
		}
		if last := states[len(states)-1]; last != live.Expired {
			t.Errorf("states %v", states)
		}
	})
}
