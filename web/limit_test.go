package web_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/web"
)

func TestRateLimit(t *testing.T) {
	now := start
	f := newFixture(t, func(o *web.Options) {
		o.Now = func() time.Time { return now }
		o.Limits = web.Limits{PagesPerMinute: 6, Clients: 3}
	})
	from := func(addr, url string) int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		r.RemoteAddr, r.TLS.ServerName = addr, ""
		w := httptest.NewRecorder()
		f.server.Handler().ServeHTTP(w, r)
		return w.Code
	}
	const page, policy = "https://sink.example/", "https://mta-sts.et.sink.example/.well-known/mta-sts.txt"
	for i := range 6 {
		if got := from("[2001:db8::1]:1", page); got != 200 {
			t.Fatalf("request %d: status %d", i, got)
		}
	}
	for _, c := range []struct {
		name, addr, url string
		wait            time.Duration
		want            int
	}{
		{"used up", "[2001:db8::1]:2", page, 0, 429},
		{"same network", "[2001:db8::2]:1", page, 0, 429},
		{"another network", "[2001:db8:0:1::1]:1", page, 0, 200},
		{"a policy costs less", "[2001:db8::1]:1", policy, time.Second, 200},
		{"and is counted", "[2001:db8::1]:1", policy, 0, 429},
		{"comes back", "[2001:db8::1]:1", page, 10 * time.Second, 200},
		{"mapped address", "[::ffff:192.0.2.7]:1", page, 0, 200},
	} {
		now = now.Add(c.wait)
		if got := from(c.addr, c.url); got != c.want {
			t.Errorf("%s: status %d, want %d", c.name, got, c.want)
		}
	}
	// More clients than are remembered: still answered.
	for i := range 100 {
		if got := from(fmt.Sprintf("192.0.2.%d:1", i), page); got != 200 {
			t.Fatalf("client %d: status %d", i, got)
		}
	}
}

// pipes is a listener of in-memory connections.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.done)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// serveOn serves the listener inside a bubble, and returns what ends it.
func serveOn(t *testing.T, l net.Listener, limits web.Limits) (stop func()) {
	t.Helper()
	f := newFixture(t, func(o *web.Options) { o.Limits, o.Now = limits, time.Now })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.server.Serve(ctx, []net.Listener{l}, nil) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
}

// send writes as much as the server reads; it may answer before the end.
func send(c net.Conn, s string) { _, _ = io.WriteString(c, s) }

func TestSlowClientsAreClosed(t *testing.T) {
	for _, c := range []struct {
		name, send string
		answers    int
		after      time.Duration
	}{
		{"says nothing", "", 0, 5 * time.Second},
		{"half a header", "GET /healthz HTTP/1.1\r\nHost: a\r\nX: ", 0, 5 * time.Second},
		{"idle after a request", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 1, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				stop := serveOn(t, l, web.Limits{})
				conn := l.dial()
				begin := time.Now()
				if _, err := io.WriteString(conn, c.send); err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(conn)
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Since(begin); got != c.after {
					t.Errorf("closed after %s, want %s", got, c.after)
				}
				if got := strings.Count(string(b), "200 OK"); got != c.answers {
					t.Errorf("%d answers, want %d: %q", got, c.answers, b)
				}
				stop()
			})
		})
	}
}

func TestConnectionLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		stop := serveOn(t, l, web.Limits{PerClient: 2})
		first, second, third := l.dial(), l.dial(), l.dial()
		if _, err := third.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("third connection: %v, want EOF", err)
		}
		ask := func(c net.Conn) string {
			go send(c, "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				return err.Error()
			}
			defer closed(t, res.Body)
			_, _ = io.Copy(io.Discard, res.Body)
			return res.Status
		}
		for _, c := range []net.Conn{first, second} {
			if got := ask(c); got != "200 OK" {
				t.Errorf("connection within the limit: %s", got)
			}
			closed(t, c)
		}
		synctest.Wait()
		fourth := l.dial()
		if got := ask(fourth); got != "200 OK" {
			t.Errorf("after others have left: %s", got)
		}
		closed(t, fourth)
		stop()
	})
}

func TestLongHeaderIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		stop := serveOn(t, l, web.Limits{})
		conn := l.dial()
		go send(conn, "GET / HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("x", 20<<10))
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
		if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("status %s, want 431", res.Status)
		}
		closed(t, conn)
		stop()
	})
}

// brokenListener fails at once.
type brokenListener struct{ *pipes }

func (brokenListener) Accept() (net.Conn, error) { return nil, errors.New("no more files") }

// A listener that fails ends the others too.
func TestListenerFailure(t *testing.T) {
	f := newFixture(t, nil)
	err := f.server.Serve(t.Context(), []net.Listener{newPipes(), brokenListener{newPipes()}}, nil)
	if err == nil || !strings.Contains(err.Error(), "no more files") {
		t.Errorf("Serve: %v", err)
	}
}
