package webhook_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/tlsink/tlsink/internal/memnet"
	"github.com/tlsink/tlsink/webhook"
)

const (
	operatorURL    = "https://example.com/operator/t0ken"
	ownURL         = "https://ci.example.com/own/t0ken?key=s3cret"
	operatorSecret = "whsec_b3BlcmF0b3Jvb3BlcmF0b3Jvb3BlcmF0b3Jv"
	link           = "https://sink.example/t/c4pability-c4pability"
)

// state is in memory; a copy of it is what a restart finds.
type state struct {
	mu     sync.Mutex
	values map[string][]byte
	fail   error
}

func (s *state) Load(key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[key], nil
}

func (s *state) Save(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	if len(value) > 1<<20 {
		return errors.New("larger than 1 MiB")
	}
	if s.values == nil {
		s.values = make(map[string][]byte)
	}
	s.values[key] = bytes.Clone(value)
	return nil
}

func (s *state) copy() *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &state{values: maps.Clone(s.values)}
}

// call is a request that a receiver got.
type call struct {
	at     time.Time
	path   string
	header http.Header
	body   string
}

// receiver is a server of somebody who wants to be told.
type receiver struct {
	mu     sync.Mutex
	calls  []call
	answer func(w http.ResponseWriter, r *http.Request, n int) // the nth, from 1; nil: 204
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	r.calls = append(r.calls, call{time.Now(), req.URL.RequestURI(), req.Header.Clone(), string(body)})
	n := len(r.calls)
	r.mu.Unlock()
	if r.answer != nil {
		r.answer(w, req, n)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) got() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]call(nil), r.calls...)
}

// world is a sender in a network in memory with one receiver. Call it inside a
// synctest bubble.
type world struct {
	receiver receiver
	state    *state
	log      bytes.Buffer
	options  webhook.Options
	results  []webhook.Result
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{state: &state{}}
	var n memnet.Network
	at := netip.MustParseAddrPort("192.0.2.80:443")
	l, err := n.Listen(at)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(&w.receiver)
	srv.Listener.Close()
	srv.Listener = l
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	w.options = webhook.Options{
		State:   w.state,
		Targets: []webhook.Target{{URL: operatorURL, Secret: func() (string, error) { return operatorSecret, nil }}},
		Hosts:   []string{"example.com", "ci.example.com"},
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return n.Dial(ctx, netip.MustParseAddr("192.0.2.1"), at)
		},
		Roots: roots, Service: "sink.example", Now: time.Now, Rand: rand.Reader,
		Logger:    slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Attempted: func(r webhook.Result, _ time.Duration) { w.results = append(w.results, r) },
	}
	return w
}

func (w *world) sender(t *testing.T) *webhook.Sender {
	t.Helper()
	s, err := webhook.New(w.options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs s until stop is called, which waits for its end.
func run(t *testing.T, s *webhook.Sender) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func event(test string) webhook.Event {
	return webhook.Event{
		Test: test, State: "acked", Sender: "a…@example.org", Started: time.Now().Add(-time.Hour), Ended: time.Now(), Attempts: 2, Link: link,
		Verdict: &webhook.Verdict{Policy: "dane", Conclusive: true, Candidates: []string{"dane"}, Protected: true, Level: "good", Grade: "good", Summary: "Mail is protected."},
	}
}
