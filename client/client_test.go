package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/client"
	"github.com/tlsink/tlsink/internal/memnet"
)

const capability = "c4pability-c4pability-c4"

// against serves h in a network in memory, and returns a client of it. Call it in
// a synctest bubble.
func against(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	var n memnet.Network
	at := netip.MustParseAddrPort("192.0.2.80:80")
	l, err := n.Listen(at)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // until then a server does not notice who leaves
		h(w, r)
	}))
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	c, err := client.New(client.Options{Server: "http://lab.example", Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return n.Dial(ctx, netip.MustParseAddr("192.0.2.1"), at)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func send(w http.ResponseWriter, text string) {
	if _, err := io.WriteString(w, text); err == nil {
		_ = http.NewResponseController(w).Flush()
	}
}

func stream(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/event-stream") }

// sse is an event with that many connections from number first.
func sse(id, name, state string, first, n int) string {
	var rows []string
	for i := range n {
		rows = append(rows, fmt.Sprintf(`{"number":%d,"id":"c%d"}`, first+i, first+i))
	}
	return fmt.Sprintf("id: %s\nevent: %s\ndata: {\"test\":\"7KQ2PX\",\"state\":%q,\"connections\":[%s]}\n\n", id, name, state, strings.Join(rows, ","))
}

// followed is what Follow told.
type followed struct {
	Connections []int
	Troubles    []string
	Pauses      []time.Duration
	Err         string
}

func follow(ctx context.Context, c *client.Client) followed {
	var f followed
	trouble := func(err error, pause time.Duration) {
		f.Troubles, f.Pauses = append(f.Troubles, err.Error()), append(f.Pauses, pause)
	}
	for st, err := range c.Follow(ctx, capability, "", trouble) {
		if err != nil {
			f.Err = err.Error()
			return f
		}
		f.Connections = append(f.Connections, len(st.Connections))
	}
	return f
}

func TestFollow(t *testing.T) {
	const dead = "ask lab.example: nothing came for 45s"
	const ended = "ask lab.example: the stream ended"
	second := time.Second
	cases := []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request, n int) // the nth request, from 1
		want   followed
	}{
		{"to its end", func(w http.ResponseWriter, _ *http.Request, _ int) {
			stream(w)
			send(w, sse("1", "snapshot", "running", 1, 2)+": a comment\n\n"+sse("2", "status", "running", 3, 1)+sse("3", "unknown", "acked", 1, 1)+sse("4", "status", "acked", 3, 2))
		}, followed{Connections: []int{2, 3, 4}}},
		{"comes back with what it has", func(w http.ResponseWriter, r *http.Request, n int) {
			stream(w)
			if n == 1 {
				send(w, "retry: 1\n"+sse("1", "snapshot", "running", 1, 2))
				return
			}
			if got := r.Header.Get("Last-Event-ID"); got != "1" {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			send(w, sse("2", "snapshot", "acked", 1, 5))
		}, followed{Connections: []int{2, 5}, Troubles: []string{ended}, Pauses: []time.Duration{second}}},
		{"cut in an event", func(w http.ResponseWriter, _ *http.Request, n int) {
			stream(w)
			whole := sse("1", "snapshot", "acked", 1, 2)
			if n == 1 {
				send(w, whole[:len(whole)-2])
				return
			}
			send(w, whole)
		}, followed{Connections: []int{2}, Troubles: []string{ended}, Pauses: []time.Duration{second}}},
		{"silence", func(w http.ResponseWriter, r *http.Request, n int) {
			stream(w)
			if n == 1 {
				send(w, ": hello\n")
				<-r.Context().Done()
				return
			}
			send(w, sse("1", "snapshot", "acked", 1, 1))
		}, followed{Connections: []int{1}, Troubles: []string{dead}, Pauses: []time.Duration{second}}},
		{"fails and fails", func(w http.ResponseWriter, _ *http.Request, n int) {
			if n <= 8 {
				w.WriteHeader(http.StatusBadGateway)
				send(w, "<html>")
				return
			}
			stream(w)
			send(w, sse("1", "snapshot", "acked", 1, 1))
		}, followed{
			Connections: []int{1}, Troubles: repeat("the server says: Bad Gateway (502)", 8),
			Pauses: []time.Duration{second, 2 * second, 4 * second, 8 * second, 16 * second, 32 * second, time.Minute, time.Minute},
		}},
		{"asks for patience", func(w http.ResponseWriter, _ *http.Request, n int) {
			if n == 1 {
				w.Header().Set("Retry-After", "120")
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			stream(w)
			send(w, sse("1", "snapshot", "acked", 1, 1))
		}, followed{Connections: []int{1}, Troubles: []string{"the server says: Service Unavailable (503)"}, Pauses: []time.Duration{2 * time.Minute}}},
		{"no such test", func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			send(w, `{"title":"There is no such test","status":200,"hint":"Check\u001b[2J the link."}`)
		}, followed{Err: "follow the test: the server says: There is no such test (404): Check\ufffd[2J the link."}},
		{"another kind of answer", func(w http.ResponseWriter, _ *http.Request, n int) {
			if n == 1 {
				send(w, "<html>a portal</html>")
				return
			}
			stream(w)
			send(w, sse("1", "snapshot", "acked", 1, 1))
		}, followed{Connections: []int{1}, Troubles: []string{"the answer is no event stream"}, Pauses: []time.Duration{second}}},
		{"begins in the middle", func(w http.ResponseWriter, _ *http.Request, n int) {
			stream(w)
			if n == 1 {
				send(w, sse("1", "status", "running", 7, 1))
				return
			}
			send(w, sse("1", "snapshot", "acked", 1, 7))
		}, followed{Connections: []int{7}, Troubles: []string{"the stream begins in the middle"}, Pauses: []time.Duration{second}}},
		{"a line without end", func(w http.ResponseWriter, r *http.Request, n int) {
			stream(w)
			if n > 1 {
				send(w, sse("1", "snapshot", "acked", 1, 1))
				return
			}
			for r.Context().Err() == nil {
				send(w, strings.Repeat("data", 1<<18))
			}
		}, followed{Connections: []int{1}, Troubles: []string{"an event is longer than 2097152 octets"}, Pauses: []time.Duration{second}}},
		{"an event without end", func(w http.ResponseWriter, r *http.Request, n int) {
			stream(w)
			if n > 1 {
				send(w, sse("1", "snapshot", "acked", 1, 1))
				return
			}
			for r.Context().Err() == nil {
				send(w, strings.Repeat("data: x\n", 1<<16))
			}
		}, followed{Connections: []int{1}, Troubles: []string{"an event is longer than 2097152 octets"}, Pauses: []time.Duration{second}}},
		{"no status in it", func(w http.ResponseWriter, _ *http.Request, n int) {
			stream(w)
			if n == 1 {
				send(w, "event: snapshot\ndata: []\n\n")
				return
			}
			send(w, sse("1", "snapshot", "acked", 1, 1))
		}, followed{Connections: []int{1}, Troubles: []string{"state of the test: the answer is not that of a tlsink"}, Pauses: []time.Duration{second}}},
		{"a redirect", func(w http.ResponseWriter, r *http.Request, _ int) {
			http.Redirect(w, r, "http://evil.example"+r.URL.Path, http.StatusFound)
		}, followed{Err: "follow the test: the server says: Found (302)"}},
		{"more connections than anybody wants", func(w http.ResponseWriter, _ *http.Request, _ int) {
			stream(w)
			send(w, sse("1", "snapshot", "running", 1, 150)+sse("2", "status", "acked", 151, 150))
		}, followed{Connections: []int{150, 200}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				cl := against(t, func(w http.ResponseWriter, r *http.Request) {
					n++ // one request after the other
					c.answer(w, r, n)
				})
				if diff := cmp.Diff(c.want, follow(t.Context(), cl)); diff != "" {
					t.Errorf("followed (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func repeat(s string, n int) []string {
	var out []string
	for range n {
		out = append(out, s)
	}
	return out
}

func TestFollowEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := against(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		cause := errors.New("the time is up")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, cause)
		defer cancel()
		began := time.Now()
		f := follow(ctx, cl)
		if f.Err != cause.Error() || time.Since(began) != time.Hour || len(f.Troubles) > 70 {
			t.Errorf("after %v and %d failures: %s", time.Since(began), len(f.Troubles), f.Err)
		}
	})
}

// A certificate that nobody vouches for stays one: no try after the first.
func TestFollowUntrusted(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	c, err := client.New(client.Options{Server: server.URL, Roots: x509.NewCertPool()})
	if err != nil {
		t.Fatal(err)
	}
	trouble := func(err error, _ time.Duration) { t.Errorf("tries again after %v", err) }
	for st, err := range c.Follow(t.Context(), "abc", "", trouble) {
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok || st != nil {
			t.Errorf("%+v, %v", st, err)
		}
	}
}

func TestFollowStoppedByItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		cl := against(t, func(w http.ResponseWriter, r *http.Request) {
			stream(w)
			send(w, sse("1", "snapshot", "running", 1, 1))
			<-r.Context().Done()
			close(gone)
		})
		for _, err := range cl.Follow(t.Context(), capability, "", nil) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		<-gone
	})
}

func TestAnswers(t *testing.T) {
	cases := []struct {
		name   string
		answer http.HandlerFunc
		want   string // of the error
	}{
		{"never", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer within 30s"},
		{"slowly and without end", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				send(w, " ")
				time.Sleep(time.Second)
			}
		}, "no answer within 30s"},
		{"much", func(w http.ResponseWriter, _ *http.Request) {
			send(w, strings.Repeat(" ", 2<<20))
		}, "the answer is longer than 1048576 octets"},
		{"nonsense", func(w http.ResponseWriter, _ *http.Request) { send(w, "<html>") }, "the answer is not that of a tlsink"},
		{"a problem with a long tail", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusTooManyRequests)
			send(w, `{"title":"`+strings.Repeat("x", 1<<20)+`"}`)
		}, "the server says: Too Many Requests (429)"},
		{"a problem", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnprocessableEntity)
			send(w, `{"title":"A value is not valid","field":"language","value":"fr\n","hint":"Use en or de."}`)
		}, `the server says: A value is not valid (422): language "fr\n": Use en or de.`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := against(t, c.answer)
				_, err := cl.Start(t.Context(), client.Order{})
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("start: %v, want %q", err, c.want)
				}
				_, err = cl.Status(t.Context(), capability, "en")
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), capability) {
					t.Errorf("status: %v, want %q", err, c.want)
				}
			})
		})
	}
}

func TestErrorsHoldNoCapability(t *testing.T) {
	cl, err := client.New(client.Options{Server: "http://127.0.0.1", Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("refused")
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{capability, "a\nb", "%zz", "../../x"} {
		if _, err := cl.Report(t.Context(), name); err == nil || strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestServers(t *testing.T) {
	for server, good := range map[string]bool{
		"https://sink.example": true, "https://sink.example/": true, "https://sink.example:8443": true, "http://127.0.0.1:8080": true, "http://localhost:1": true, "http://[::1]:1": true,
		"http://sink.example": false, "sink.example": false, "": false, "https://": false, "https://u:p@sink.example": false, "https://sink.example/t/x": false,
		"https://sink.example/?x": false, "ftp://sink.example": false, "https:sink.example": false,
	} {
		if _, err := client.New(client.Options{Server: server}); (err == nil) != good {
			t.Errorf("%q: %v", server, err)
		}
	}
}

func TestParseLink(t *testing.T) {
	for link, want := range map[string]string{
		"https://sink.example/t/abc":       "https://sink.example abc",
		"https://sink.example/t/abc.json":  "https://sink.example abc",
		"https://sink.example:8443/t/a_-/": "https://sink.example:8443 a_-",
		"https://sink.example/":            "",
		"https://sink.example/t/":          "",
		"https://sink.example/t/a/b":       "",
		"ftp://sink.example/t/abc":         "",
		"abc":                              "",
		"https://[/t/abc":                  "",
	} {
		server, capability, err := client.ParseLink(link)
		if got := strings.TrimSpace(server + " " + capability); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", link, got, err, want)
		}
	}
}
