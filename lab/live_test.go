//go:build linux

package lab_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"golang.org/x/sync/errgroup"

	"github.com/tlsink/tlsink/client"
	"github.com/tlsink/tlsink/live"
)

const (
	hookHost = "hook.example" // of the test process, which receives webhooks
	site     = "https://" + zone

	liveTime = 4 * time.Minute // for all that these tests wait for
)

// liveLab is a service that people use with browsers and programs, and senders
// whose mail they send.
type liveLab struct {
	*lab
	browser context.Context //nolint:containedctx // the one that all tabs are of
	http    *http.Client
	api     *client.Client
	hooks   *hooks
}

// People start tests on the web, and their real mail servers send to them. What
// is to be seen of it must come by itself, be right, and go away when it is
// deleted.
func TestLive(t *testing.T) {
	needLab(t)
	browser := needBrowser(t)
	ctx, cancel := context.WithTimeout(t.Context(), liveTime)
	defer cancel()
	l := newLiveLab(ctx, t, browser)
	t.Run("people", func(t *testing.T) {
		var all sync.WaitGroup
		for name, follow := range map[string]func(context.Context, *testing.T){
			"keyboard":         l.followByKeyboard,
			"without a script": l.followWithoutScript,
			"by plain mail":    l.followPlainMail,
			"one mail server": func(ctx context.Context, t *testing.T) { // of two people, one after the other
				t.Run("live page", func(t *testing.T) { l.followLive(ctx, t) })
				t.Run("program", func(t *testing.T) { l.followByProgram(ctx, t) })
			},
		} {
			// All at once, however few processors there are: most of it is waiting.
			all.Go(func() { t.Run(name, func(t *testing.T) { follow(ctx, t) }) })
		}
		all.Wait()
	})
	t.Run("operator", func(t *testing.T) { l.operate(ctx, t) })
}

// newLiveLab starts tlsink, senders and the browser.
func newLiveLab(ctx context.Context, t *testing.T, browser string) *liveLab {
	t.Helper()
	command(t, "ip", "link", "set", "lo", "up")
	l := &liveLab{lab: &lab{}, hooks: newHooks(t)}
	for i, s := range setups(t, "dane", "dane-only", "may", "encrypt") {
		l.senders = append(l.senders, newSender(t, i+1, s))
	}
	var ds string
	l.sink, ds = startSink(ctx, t, options{tables: l.hooks.settings(t) + `
[web]
leases_per_network = 20

[console]
enabled = true
`})
	startUnbound(ctx, t, stub(ds)+fmt.Sprintf("server:\n\tlocal-data: '%s. 60 A %s'\n", hookHost, routerAddr), l.senders)
	l.sink.start(ctx, t)
	t.Cleanup(func() { l.stopSenders(t) })
	var g errgroup.Group
	g.SetLimit(2 * runtime.NumCPU())
	for _, s := range l.senders {
		g.Go(func() error { return s.start(ctx, l.sink.ca()) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	roots := l.sink.pool(t)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	l.http = &http.Client{Transport: transport}
	var err error
	if l.api, err = client.New(client.Options{Server: site, Roots: roots}); err != nil {
		t.Fatal(err)
	}
	await(ctx, t, "the service to be ready", func(ctx context.Context) error {
		_, err := l.get(ctx, "/readyz")
		return err
	})
	l.browser = startBrowser(ctx, t, browser, roots)
	return l
}

// pool holds the root certificate of the public CA.
func (s *tlsink) pool(t *testing.T) *x509.CertPool {
	t.Helper()
	b, err := os.ReadFile(s.ca())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		t.Fatalf("no certificate in %s", s.ca())
	}
	return pool
}

// startBrowser starts one that takes the certificate of the pages for good, and
// no other.
func startBrowser(ctx context.Context, t *testing.T, path string, roots *x509.CertPool) context.Context {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots}}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(zone, "443"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	key := sha256.Sum256(conn.(*tls.Conn).ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	ctx, stop := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(key[:])))...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// sender returns that of a kind.
func (l *liveLab) sender(t *testing.T, kind string) *sender {
	t.Helper()
	for _, s := range l.senders {
		if s.kind == kind {
			return s
		}
	}
	t.Fatalf("no sender %s", kind)
	return nil
}

// mail sends one mail as a person does.
func (l *liveLab) mail(ctx context.Context, t *testing.T, kind string, to ...string) {
	t.Helper()
	s := l.sender(t, kind)
	text := fmt.Sprintf("From: Tester <%s>\nTo: %s\nSubject: Test\nDate: %s\n\nHello.\n", s.address(), strings.Join(to, ", "), time.Now().Format(time.RFC1123Z))
	if err := s.servers[0].send(ctx, s.address(), text, to...); err != nil {
		t.Fatal(err)
	}
	srv := s.servers[0]
	keep(t, srv.log())
}

// get asks for a page as a program does.
func (l *liveLab) get(ctx context.Context, path string) (string, error) {
	body, status, err := l.fetch(ctx, path)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: status %d\n%s", path, status, body)
	}
	return body, err
}

func (l *liveLab) fetch(ctx context.Context, path string) (body string, status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, site+path, http.NoBody)
	if err != nil {
		return "", 0, err
	}
	resp, err := l.http.Do(r)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), resp.StatusCode, err
}

// awaitState follows a test, as programs do, until it is so far.
func (l *liveLab) awaitState(ctx context.Context, t *testing.T, capability string, states ...live.State) *live.Status {
	t.Helper()
	var last *live.Status
	for st, err := range l.api.Follow(ctx, capability, "", nil) {
		if err != nil {
			t.Fatalf("follow the test until it is %v: %v; last %+v", states, err, last)
		}
		if last = st; slices.Contains(states, st.State) {
			break
		}
	}
	if last == nil || !slices.Contains(states, last.State) {
		t.Fatalf("the test ended as %+v, want it %v", last, states)
	}
	return last
}

// writePEM writes certificates into a file and returns its path.
func writePEM(t *testing.T, name string, certs ...*x509.Certificate) string {
	t.Helper()
	var b []byte
	for _, c := range certs {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
