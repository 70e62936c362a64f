package web

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/live"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/scenario"
)

type noSource struct{}

func (noSource) Result(context.Context, string) (report.Input, bool, error) {
	return report.Input{}, false, nil
}
func (noSource) Status(context.Context) Status { return Status{} }

type noCertificates struct{}

func (noCertificates) Certificates(scenario.Certificate) ([]tls.Certificate, error) { return nil, nil }

// growing is a test whose connections become more.
type growing struct {
	mu      sync.Mutex
	n       int
	changed chan struct{}
}

func (g *growing) more() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *growing) status() (*live.Status, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	st := &live.Status{State: live.Running, Language: "en", Text: "Your mail has arrived.", Servers: make([]live.Server, 7), Omitted: max(0, g.n-live.MaxConnections)}
	for i := st.Omitted; i < g.n; i++ {
		st.Connections = append(st.Connections, live.Connection{
			Number: i + 1, ID: evidence.ConnID(fmt.Sprint(i)), Server: i%7 + 1, Client: "192.0.2.1", Name: "mta.sender.example", Outcome: live.Encrypted,
			Text: "Server 4 showed a certificate that nobody vouches for, but its fingerprint stands in DNS (DANE). Your provider handed the mail over, encrypted.",
		})
	}
	return st, g.changed
}

func (g *growing) Status(context.Context, string, report.Language) (*live.Status, bool, error) {
	st, _ := g.status()
	return st, true, nil
}

func (g *growing) Watch(context.Context, string, report.Language) (Watcher, bool, error) {
	return &growingWatcher{g: g}, true, nil
}

type growingWatcher struct {
	g    *growing
	seen int
}

func (w *growingWatcher) Next(ctx context.Context) (*live.Status, error) {
	for {
		st, changed := w.g.status()
		if n := st.Omitted + len(st.Connections); n != w.seen {
			w.seen = n
			return st, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (*growingWatcher) Close() {}

// counter is a client that counts what it gets.
type counter struct {
	header http.Header
	got    func()
}

func (c *counter) Header() http.Header         { return c.header }
func (*counter) WriteHeader(int)               {}
func (*counter) Flush()                        {}
func (c *counter) Write(b []byte) (int, error) { c.got(); return len(b), nil }

// One more connection of a test with 10,000, shown on 500 pages: what an event
// costs until the last page has it.
func BenchmarkEventOnManyPages(b *testing.B) {
	g := &growing{n: 10_000, changed: make(chan struct{})}
	o := Options{Zone: "sink.example", Live: g, Source: noSource{}, Certificates: noCertificates{}, Limits: Limits{StreamsPerClient: 1000, PagesPerMinute: 1 << 30}}
	s, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	const pages = 500
	ctx, cancel := context.WithCancel(b.Context())
	var shown, ended sync.WaitGroup
	shown.Add(2 * pages) // the begin of the stream, and the first state
	for range pages {
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://sink.example/t/mfrggzdfmztwq2lknnwg23tpobyxe43u/events", http.NoBody)
		r.TLS.ServerName = ""
		ended.Go(func() { s.handler.ServeHTTP(&counter{make(http.Header), shown.Done}, r) })
	}
	shown.Wait()
	for b.Loop() {
		shown.Add(pages)
		g.more()
		shown.Wait()
	}
	cancel()
	ended.Wait()
}

// A page of a test with as many connections as are listed.
func BenchmarkPage(b *testing.B) {
	g := &growing{n: 10_000, changed: make(chan struct{})}
	s, err := New(Options{Zone: "sink.example", Live: g, Source: noSource{}, Certificates: noCertificates{}, Limits: Limits{PagesPerMinute: 1 << 30}, Now: func() time.Time { return time.Time{} }})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "https://sink.example/t/mfrggzdfmztwq2lknnwg23tpobyxe43u", http.NoBody)
		r.TLS.ServerName = ""
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatalf("status %d", w.Code)
		}
		b.ReportMetric(float64(w.Body.Len()), "octets")
	}
}
