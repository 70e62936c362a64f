package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/api"
	"github.com/tlsink/tlsink/client"
	"github.com/tlsink/tlsink/internal/memnet"
	"github.com/tlsink/tlsink/live"
)

// online serves the API in a network in memory. Call it in a synctest bubble.
func online(t *testing.T, h http.Handler) func(ctx context.Context, network, address string) (net.Conn, error) {
	t.Helper()
	var n memnet.Network
	at := netip.MustParseAddrPort("192.0.2.80:80")
	l, err := n.Listen(at)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 20 * time.Second} // as package web has it
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-ended
	})
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return n.Dial(ctx, netip.MustParseAddr("192.0.2.1"), at)
	}
}

// answer is one that may still come.
type answer struct {
	status int
	header http.Header
	body   io.Reader
}

// get asks without waiting for the end of the answer.
func get(t *testing.T, dial func(ctx context.Context, network, address string) (net.Conn, error), path string, header map[string]string) answer {
	t.Helper()
	tr := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://lab.example/api/v1"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return answer{resp.StatusCode, resp.Header, resp.Body}
}

// more returns s with that many of its connections.
func more(s live.Snapshot, n int) live.Snapshot {
	in := *s.Input
	in.History.Connections = in.History.Connections[:n]
	s.Input = &in
	return s
}

// event is one of a stream.
type event struct {
	id, name string
	st       live.Status
}

// read returns events and comments as they come.
func read(t *testing.T, body io.Reader) <-chan any {
	t.Helper()
	out := make(chan any, 100)
	go func() {
		defer close(out)
		var e event
		lines := bufio.NewScanner(body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				if err := json.Unmarshal([]byte(value), &e.st); err != nil {
					t.Errorf("data %q: %v", value, err)
				}
				out <- e
				e = event{}
			case "":
				if value != "" {
					out <- value
				}
			}
		}
	}()
	return out
}

// next waits for the next event; comments fail the test.
func next(t *testing.T, events <-chan any) event {
	t.Helper()
	e, ok := <-events
	if !ok {
		t.Fatal("the stream has ended")
	}
	if comment, ok := e.(string); ok {
		t.Fatalf("comment %q", comment)
	}
	return e.(event)
}

func TestStream(t *testing.T) {
	tests := snapshots(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, tests)
		running := tests[capRunning]
		w.change(capRunning, more(running, 3))
		dial := online(t, w.handler(t, nil))
		events := read(t, get(t, dial, "/tests/"+capRunning+"/events", nil).body)
		first := next(t, events)
		if first.name != "snapshot" || len(first.st.Connections) != 3 || first.id == "" {
			t.Fatalf("first event %q with %d connections", first.name, len(first.st.Connections))
		}
		for i := range 3 { // a quarter of an hour of nothing, and longer than a server lets answers take
			if comment := <-events; comment != "still here" {
				t.Fatalf("%d: %v, want a heartbeat", i, comment)
			}
		}
		w.change(capRunning, more(running, 5))
		second := next(t, events)
		if second.name != "status" || len(second.st.Connections) != 2 || second.st.Connections[1].Number != 5 || second.id == first.id {
			t.Errorf("second event %q with %d connections", second.name, len(second.st.Connections))
		}
		w.change(capRunning, more(running, 2)) // the others were another sender's
		if e := next(t, events); e.name != "snapshot" || len(e.st.Connections) != 2 {
			t.Errorf("event %q with %d connections, want all that are left", e.name, len(e.st.Connections))
		}
		over := more(running, 6)
		over.Input.State = "acked"
		w.change(capRunning, over)
		last := next(t, events)
		if last.st.State != live.Acked {
			t.Errorf("state %q", last.st.State)
		}
		if e, ok := <-events; ok {
			t.Errorf("after the end: %v", e)
		}
		resp := get(t, dial, "/tests/"+capRunning+"/events", map[string]string{"Last-Event-ID": last.id})
		if resp.status != http.StatusNoContent {
			t.Errorf("status %d for who has the end", resp.status)
		}
		if n := w.hub.Watchers(); n != 0 {
			t.Errorf("%d watchers are left", n)
		}
	})
}

func TestResumedStream(t *testing.T) {
	tests := snapshots(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, tests)
		running := tests[capRunning]
		w.change(capRunning, more(running, 3))
		dial := online(t, w.handler(t, nil))
		first := next(t, read(t, get(t, dial, "/tests/"+capRunning+"/events", nil).body))
		present := map[string]string{"Last-Event-ID": first.id}

		events := read(t, get(t, dial, "/tests/"+capRunning+"/events", present).body)
		if comment := <-events; comment != "still here" {
			t.Fatalf("%v, want nothing new", comment)
		}
		w.change(capRunning, more(running, 4))
		if e := next(t, events); e.name != "status" || len(e.st.Connections) != 1 {
			t.Errorf("event %q with %d connections, want what is new", e.name, len(e.st.Connections))
		}
		// Who has missed something gets all of it.
		if e := next(t, read(t, get(t, dial, "/tests/"+capRunning+"/events", present).body)); e.name != "snapshot" || len(e.st.Connections) != 4 {
			t.Errorf("event %q with %d connections, want all", e.name, len(e.st.Connections))
		}
		if e := next(t, read(t, get(t, dial, "/tests/"+capRunning+"/events", map[string]string{"Last-Event-ID": "<script>"}).body)); e.name != "snapshot" {
			t.Errorf("event %q for a made-up identifier", e.name)
		}
	})
}

func TestStreamOfOneWhoDoesNotRead(t *testing.T) {
	tests := snapshots(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, tests)
		dial := online(t, w.handler(t, nil))
		c, err := dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /api/v1/tests/"+capRunning+"/events HTTP/1.1\r\nHost: lab.example\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		for i := range 2000 {
			w.change(capRunning, more(tests[capRunning], 1+i%6))
			time.Sleep(time.Second)
		}
		if n := w.hub.Watchers(); n != 0 {
			t.Errorf("%d watchers are left", n)
		}
	})
}

func TestStreamEndsAfterAnHour(t *testing.T) {
	tests := snapshots(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, tests)
		began := time.Now()
		events := read(t, get(t, online(t, w.handler(t, nil)), "/tests/"+capRunning+"/events", nil).body)
		for range events { // to its end
		}
		if took := time.Since(began); took < time.Hour || took > time.Hour+time.Minute {
			t.Errorf("it lasted %v", took)
		}
	})
}

func TestLongPoll(t *testing.T) {
	tests := snapshots(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, tests)
		running := tests[capRunning]
		w.change(capRunning, more(running, 3))
		dial := online(t, w.handler(t, nil))
		path := "/tests/" + capRunning + "?wait=40"
		began := time.Now()
		etag := get(t, dial, path, nil).header.Get("ETag") // no tag: nothing to wait for
		if took := time.Since(began); took > time.Second || etag == "" {
			t.Errorf("answered after %v with tag %q", took, etag)
		}
		have := map[string]string{"If-None-Match": etag}
		began = time.Now()
		resp := get(t, dial, path, have)
		if took := time.Since(began); resp.status != http.StatusNotModified || took != 40*time.Second {
			t.Errorf("status %d after %v, want 304 after 40 s, longer than the server's own deadline", resp.status, took)
		}
		time.AfterFunc(10*time.Second, func() { w.change(capRunning, more(running, 4)) })
		began = time.Now()
		resp = get(t, dial, path, have)
		if took := time.Since(began).Round(time.Second); resp.status != http.StatusOK || took != 10*time.Second {
			t.Errorf("status %d after %v, want the change", resp.status, took)
		}
		if again := resp.header.Get("ETag"); again == etag || again == "" {
			t.Errorf("tag %q of another status", again)
		}
	})
}

// TestClientFollows has the project's own client at the other end.
func TestClientFollows(t *testing.T) {
	tests := snapshots(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, tests)
		c, err := client.New(client.Options{Server: "http://lab.example", Dial: online(t, w.handler(t, nil))})
		if err != nil {
			t.Fatal(err)
		}
		started, err := c.Start(t.Context(), client.Order{Language: "de", Webhook: "https://ci.example.com/x"})
		if err != nil {
			t.Fatal(err)
		}
		if started.Status.State != live.Waiting || started.Status.Language != "de" || started.Webhook.Secret == "" || started.Link != "https://lab.example/t/"+started.Capability {
			t.Errorf("started %+v", started)
		}
		steps := []live.Snapshot{more(tests[capRunning], 1), more(tests[capRunning], 3), more(tests[capRunning], 2), more(tests[capRunning], 6)}
		steps[3].Input.State = "acked"
		go func() {
			for _, s := range steps {
				time.Sleep(time.Minute)
				w.change(started.Capability, s)
			}
		}()
		var seen []int
		for st, err := range c.Follow(t.Context(), started.Capability, "", nil) {
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, len(st.Connections))
		}
		if diff := cmp.Diff([]int{0, 1, 3, 2, 6}, seen); diff != "" {
			t.Errorf("connections (-want +got):\n%s", diff)
		}
		for name, get := range map[string]func() ([]byte, error){
			"report":  func() ([]byte, error) { return c.Report(t.Context(), capAcked) },
			"history": func() ([]byte, error) { return c.History(t.Context(), capAcked) },
			"compare": func() ([]byte, error) { return c.Compare(t.Context(), capAcked, capEarlier, "de") },
		} {
			if b, err := get(); err != nil || !strings.Contains(string(b), `"policy"`) && name != "history" || len(b) < 1000 {
				t.Errorf("%s: %d octets, %v", name, len(b), err)
			}
		}
		if err := c.Cancel(t.Context(), capWaiting); err != nil {
			t.Error(err)
		}
		if _, err := c.Status(t.Context(), capNone, ""); !client.IsNotFound(err) {
			t.Errorf("status of none: %v", err)
		}
	})
}

// One client does not take the streams of all, however few connections it needs.
func TestStreamsOfOneClient(t *testing.T) {
	tests := snapshots(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, tests)
		h := w.handler(t, func(o *api.Options) { o.Limits.PerClient = 2 })
		dial := online(t, h)
		ask := func(client string) int {
			t.Helper()
			r := httptest.NewRequest(http.MethodGet, "/api/v1/tests/"+capAcked+"/events", http.NoBody)
			r.RemoteAddr = client + ":1234"
			out := httptest.NewRecorder()
			h.ServeHTTP(out, r)
			return out.Code
		}
		ctx, leave := context.WithCancel(t.Context())
		for range 2 {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://lab.example/api/v1/tests/"+capRunning+"/events", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := (&http.Transport{DialContext: dial, DisableKeepAlives: true}).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
		}
		if got := ask("192.0.2.1"); got != http.StatusServiceUnavailable {
			t.Errorf("the third stream of a client: %d", got)
		}
		if got := ask("198.51.100.7"); got != http.StatusOK {
			t.Errorf("another client: %d", got)
		}
		leave()
		synctest.Wait()
		if got := ask("192.0.2.1"); got != http.StatusOK {
			t.Errorf("after it left: %d", got)
		}
	})
}
