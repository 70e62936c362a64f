//go:build linux

package lab_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tlsink/tlsink/live"
)

// hooks receives webhooks as the programs of others do.
type hooks struct {
	pki    *pki
	url    string
	secret string // of the operator's

	mu    sync.Mutex
	calls []hookCall
}

// hookCall is one request.
type hookCall struct {
	path   string
	header http.Header
	body   []byte
}

// hookMessage is what stands in it.
type hookMessage struct {
	Type string
	Data struct {
		Service, Test, State, Sender, Link string
		Verdict                            *live.Verdict
	}
}

// The paths: the operator's takes every call, that of a test of its own none.
const (
	hookOperator = "/operator"
	hookOwn      = "/own"
)

func newHooks(t *testing.T) *hooks {
	t.Helper()
	h := &hooks{pki: newPKI(t), secret: newHookSecret()}
	id := h.pki.identity(t, certGood, hookHost, false)
	cert := tls.Certificate{PrivateKey: id.key}
	for _, c := range id.chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(h.take))
	var err error
	if server.Listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp4", ":0"); err != nil {
		t.Fatal(err)
	}
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	h.url = "https://" + net.JoinHostPort(hookHost, port)
	return h
}

func newHookSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}

// settings are those of the service.
func (h *hooks) settings(t *testing.T) string {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(h.secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("[certificates]\nroots = %q\n\n[api]\nwebhook_hosts = [%q]\n\n[[webhook]]\nurl = %q\nsecret_file = %q\n",
		writePEM(t, "roots.pem", h.pki.root.cert), hookHost, h.url+hookOperator, secret)
}

func (h *hooks) take(w http.ResponseWriter, r *http.Request) {
	const most = 1 << 16
	body, err := io.ReadAll(io.LimitReader(r.Body, most))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, hookCall{r.URL.Path, r.Header.Clone(), body})
	if r.URL.Path != hookOperator {
		w.WriteHeader(http.StatusServiceUnavailable) // so that it stays in the queue
	}
}

// await waits for a call about a test, and checks whose it is.
func (h *hooks) await(ctx context.Context, t *testing.T, path, test, secret string) hookMessage {
	t.Helper()
	var m hookMessage
	var call hookCall
	await(ctx, t, "the webhook "+path+" about "+test, func(context.Context) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, call = range h.calls {
			m = hookMessage{}
			if err := json.Unmarshal(call.body, &m); err != nil {
				return fmt.Errorf("%s: %w", call.body, err)
			}
			if call.path == path && m.Data.Test == test {
				return nil
			}
		}
		return fmt.Errorf("%d calls", len(h.calls))
	})
	if m.Type != "test.completed" || m.Data.Service != zone {
		t.Errorf("webhook says %s", call.body)
	}
	// https://www.standardwebhooks.com: HMAC-SHA256 over "id.timestamp.body".
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatalf("secret %q: %v", secret, err)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", call.header.Get("Webhook-Id"), call.header.Get("Webhook-Timestamp"), call.body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if !slices.Contains(strings.Fields(call.header.Get("Webhook-Signature")), want) {
		t.Errorf("webhook %s is signed %q, want %q", path, call.header.Get("Webhook-Signature"), want)
	}
	return m
}
