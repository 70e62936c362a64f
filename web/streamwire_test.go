package web_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/web"
)

// secured serves a fixture over TLS in memory, and returns what ends it.
func (f *fixture) secured(t *testing.T, l net.Listener) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.server.Serve(ctx, nil, []net.Listener{l}) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
}

// transport reaches a server in memory with HTTP/1.1 or HTTP/2.
func (f *fixture) transport(l *pipes, protocol string) *http.Transport {
	return &http.Transport{
		ForceAttemptHTTP2: true,
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c := tls.Client(l.dial(), &tls.Config{ServerName: zone, RootCAs: f.ca.pool(), NextProtos: []string{protocol}})
			return c, c.HandshakeContext(ctx)
		},
	}
}

// reading reads a stream all the time: a pipe holds nothing.
func reading(r io.Reader) (*flow, <-chan error) {
	got, ended := &flow{}, make(chan error, 1)
	go func() {
		_, err := io.Copy(got, r)
		ended <- err
	}()
	return got, ended
}

// A stream outlives the time that a request and its answer have, over each
// protocol, and ends when the server does.
func TestStreamOutlivesTheTimeoutsOfTheServer(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := boardOf(recorded(t, "postfix-dane", 2, report.StateRunning))
				f := watched(t, b, nil)
				l := newPipes()
				stop := f.secured(t, l)
				transport := f.transport(l, protocol)
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, resultURL+"/events?l=en", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				res, err := (&http.Client{Transport: transport}).Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if want := map[string]int{"http/1.1": 1, "h2": 2}[protocol]; res.ProtoMajor != want || res.StatusCode != 200 {
					t.Fatalf("%s, status %s", res.Proto, res.Status)
				}
				got, ended := reading(res.Body)
				for i := 2; i < 8; i++ {
					b.set(told(recorded(t, "postfix-dane", i, report.StateRunning)))
					if text := got.take(); !strings.Contains(text, fmt.Sprintf(`data-last="%d"`, i)) {
						t.Fatalf("no row %d:\n%s", i, text)
					}
					time.Sleep(2 * time.Minute)
				}
				begin := time.Now()
				stop()
				if took := time.Since(begin); took > time.Second {
					t.Errorf("the server waits %s for its streams", took)
				}
				if err := <-ended; err != nil {
					t.Errorf("the stream ends with %v", err)
				}
				transport.CloseIdleConnections()
			})
		})
	}
}

// Who does not read is left, and nobody else waits for it.
func TestStreamLeavesWhoDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := boardOf(waiting())
		f := watched(t, b, nil)
		l := newPipes()
		stop := f.secured(t, l)
		conn := tls.Client(l.dial(), &tls.Config{ServerName: zone, RootCAs: f.ca.pool(), NextProtos: []string{"http/1.1"}})
		send(conn, "GET /t/"+capability+"/events?l=en HTTP/1.1\r\nHost: "+zone+"\r\n\r\n")
		if _, err := bufio.NewReaderSize(conn, 16).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		other := f.follow(t, "l=en", "", visitor)
		other.take()
		begin := time.Now()
		b.set(told(recorded(t, "postfix-dane", 3, report.StateRunning)))
		if got := other.take(); !strings.Contains(got, `data-last="3"`) || time.Now() != begin {
			t.Errorf("the others wait: %s", got)
		}
		other.leave()
		for b.open() > 0 && time.Since(begin) < time.Minute {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if took := time.Since(begin); took != 20*time.Second {
			t.Errorf("left after %s, want WriteTimeout", took)
		}
		_ = conn.NetConn().Close() // a TLS close would wait for the other side
		stop()
	})
}

// Slow bodies, for a form and for the handler of another package.
func TestSlowBodiesAreGivenUp(t *testing.T) {
	for name, path := range map[string]string{"form": "/start", "mounted": "/api/v1/tests"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				read := make(chan error, 1)
				f := watched(t, boardOf(waiting()), func(o *web.Options) {
					o.API = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
						_, err := io.ReadAll(r.Body)
						read <- err
					})
				})
				l := newPipes()
				stop := f.secured(t, l)
				conn := tls.Client(l.dial(), &tls.Config{ServerName: zone, RootCAs: f.ca.pool(), NextProtos: []string{"http/1.1"}})
				begin := time.Now()
				send(conn, "POST "+path+" HTTP/1.1\r\nHost: "+zone+"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nlanguage=")
				_, _ = io.ReadAll(conn) // how it ends does not matter, but that it does
				if took := time.Since(begin); took > 11*time.Second {
					t.Errorf("given up after %s", took)
				}
				if name == "mounted" {
					if err := <-read; err == nil || errors.Is(err, io.EOF) {
						t.Errorf("the handler got %v", err)
					}
				}
				_ = conn.NetConn().Close()
				stop()
			})
		})
	}
}
