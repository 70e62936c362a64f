package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"golang.org/x/sync/errgroup"
)

// TestLargeTest opens the page of a test with ten thousand connections, in a
// browser too if there is one, while more arrive. It measures.
func TestLargeTest(t *testing.T) {
	connections, more := 300, 5
	if os.Getenv(loadVar) != "" {
		connections, more = 9900, 50
	} else if testing.Short() {
		t.Skip("a service under load takes seconds")
	}
	l := newLoad(t)
	s := l.sender(1)
	l.fill(s, connections)
	began := time.Now()
	body := l.page(t, s.link)
	t.Logf("page of %d connections: %v, %d KiB; service: %d MiB", connections, time.Since(began).Round(time.Millisecond), len(body)>>10, l.spent().rss)
	began = time.Now()
	l.page(t, s.link)
	t.Logf("the same again: %v", time.Since(began).Round(time.Millisecond))

	closeAll := l.open(1, []string{s.link})
	look := l.browse(t, s.link)
	before, began := l.spent(), time.Now()
	l.arrive([]*loadSender{s}, 2, more)
	l.settle()
	l.tell("a page of it", before, time.Since(began))
	look()
	closeAll()
	l.p.stop(t)
}

// fill makes connections as fast as they are taken.
func (l *load) fill(s *loadSender, connections int) {
	l.t.Helper()
	const atOnce = 10
	if err := s.attempt(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	began := time.Now()
	var g errgroup.Group
	for i := range atOnce {
		g.Go(func() error {
			one := *s
			for n := 1 + i; n < connections; n += atOnce {
				if err := one.attempt(l.t.Context()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Logf("%d connections with a mail took %v", connections, time.Since(began).Round(time.Second))
}

// What a browser tells about a page.
type browsed struct {
	Loaded, Rows, Frames float64 // ms until the load event; rows; ms of the longest pause between two frames
}

// browse opens a page in a browser and returns what logs how it was there. It
// does nothing where no load is wanted, or there is no browser.
func (l *load) browse(t *testing.T, path string) (look func()) {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if os.Getenv(loadVar) == "" || err != nil {
		return func() {}
	}
	conn, err := tls.Dial("tcp", l.p.https, &tls.Config{RootCAs: l.p.roots(t), ServerName: worldZone})
	if err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox,
		chromedp.Flag("host-resolver-rules", "MAP "+worldZone+" 127.0.0.1"),
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(key[:])))...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	_, port, err := net.SplitHostPort(l.p.https)
	if err != nil {
		t.Fatal(err)
	}
	const watch = `(() => {
	  window.longest = 0;
	  let last = performance.now();
	  const frame = now => { window.longest = Math.max(window.longest, now - last); last = now; requestAnimationFrame(frame); };
	  requestAnimationFrame(now => { last = now; frame(now); });
	})()`
	if err := chromedp.Do(ctx, chromedp.Navigate("https://"+net.JoinHostPort(worldZone, port)+path)); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[any](watch)); err != nil {
		t.Fatal(err)
	}
	return func() {
		got, err := chromedp.Run(ctx, chromedp.Evaluate[browsed](`({
		  Loaded: performance.getEntriesByType("navigation")[0].loadEventEnd,
		  Rows: document.querySelectorAll("#rows > li").length, Frames: window.longest,
		})`))
		if err != nil {
			t.Fatal(err)
		}
		if got.Rows == 0 {
			t.Error("the browser shows no connection")
		}
		t.Logf("in the browser: loaded after %.0f ms, %.0f rows, the longest pause between two frames while events came: %.0f ms", got.Loaded, got.Rows, got.Frames)
	}
}
