//go:build linux

package lab_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/report"
	"github.com/tlsink/tlsink/scenario"
	"github.com/tlsink/tlsink/web"
)

const (
	// shotsVar names a directory for screenshots; without it there are none.
	shotsVar = "TLSINK_SCREENSHOTS"

	goldenReports = "../report/testdata/golden"
	browserTime   = 2 * time.Minute
)

// reportsShown are golden reports: as mail if there is an .html of that name,
// and as page if there is a .page.html.
var reportsShown = []string{
	"postfix-dane", "mixed", "nothing-seen", "running.de", "receiving-green.de", "receiving-white", "receiving-yellow", "receiving-red.de",
	"receiving-incomplete.de", "receiving-huge", "receiving-null",
}

// What the browser finds out about a page once it is shown.
type shown struct {
	Width    float64  // of the content
	Wide     []string // elements that reach beyond the window
	Contrast []string // texts that are hard to read
	Texts    int      // that were looked at
}

// TestReportInBrowser shows reports as mail and as page in a real browser, on a
// phone and on a desk, in light and in dark: everything is within the window,
// readable, and loads nothing from elsewhere.
func TestReportInBrowser(t *testing.T) {
	needLab(t)
	browser := needBrowser(t)
	command(t, "ip", "link", "set", "lo", "up")
	site := newReportSite(t)
	ctx, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser), chromedp.NoSandbox)...)
	defer stop()
	ctx, cancel := chromedp.NewContext(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, browserTime)
	defer cancel()
	seen := watchBrowser(ctx, t)
	for _, path := range site.paths {
		for _, width := range []int64{360, 1280} {
			for _, scheme := range []string{"light", "dark"} {
				name := fmt.Sprintf("%s-%d-%s", strings.ReplaceAll(strings.Trim(path, "/"), "/", "-"), width, scheme)
				t.Run(name, func(t *testing.T) {
					seen.reset()
					got := site.show(ctx, t, path, width, scheme, name)
					if got.Texts < 10 {
						t.Errorf("only %d texts: the page is empty", got.Texts)
					}
					if got.Width > float64(width) || len(got.Wide) > 0 {
						t.Errorf("%v wide, beyond the window reach %q", got.Width, got.Wide)
					}
					if len(got.Contrast) > 0 {
						t.Errorf("hard to read: %q", got.Contrast)
					}
					seen.check(t, site.server.URL)
				})
			}
		}
	}
}

// needBrowser returns the browser, skips t without one, or fails it if the lab
// is required.
func needBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-headless-shell", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const without = "no browser (Debian: apt install chromium)"
	if os.Getenv(labVar) == "require" {
		t.Fatalf("TLSINK_LAB=require, but %s", without)
	}
	t.Skip(without)
	return ""
}

// reportSite serves golden reports: mails as they are, pages in the frame of the
// real web server.
type reportSite struct {
	server *httptest.Server
	paths  []string
}

func newReportSite(t *testing.T) *reportSite {
	t.Helper()
	pages := newFrame(t)
	site := &reportSite{}
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.HandleFunc("/favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }) // browsers ask for it
	for _, name := range reportsShown {
		if b, err := os.ReadFile(filepath.Join(goldenReports, name+".html")); err == nil {
			site.paths = append(site.paths, "/mail/"+name)
			mux.HandleFunc("/mail/"+name, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				_, _ = w.Write(b)
			})
		}
		if b, err := os.ReadFile(filepath.Join(goldenReports, name+".page.html")); err == nil {
			site.paths = append(site.paths, "/page/"+name)
			mux.HandleFunc("/page/"+name, func(w http.ResponseWriter, r *http.Request) { pages.frame(t, w, r, string(b)) })
		}
	}
	if len(site.paths) < len(reportsShown) {
		t.Fatalf("%d reports, want at least %d: a golden file is gone", len(site.paths), len(reportsShown))
	}
	site.server = httptest.NewServer(mux)
	t.Cleanup(site.server.Close)
	return site
}

// pageFrame is the real web server with one test.
type pageFrame struct {
	handler http.Handler
	test    report.Input
}

const frameCapability = "mfrggzdfmztwq2lknnwg23tpobyxe43u"

func newFrame(t *testing.T) *pageFrame {
	t.Helper()
	test := evidence.Test{ID: "frame", Zone: "lab.example"}
	f := &pageFrame{test: report.Input{Service: "lab.example", Test: test, History: evidence.History{Test: test}, State: report.StateAcked}}
	server, err := web.New(web.Options{Zone: "lab.example", Source: f, Certificates: f, Limits: web.Limits{PagesPerMinute: 10_000}})
	if err != nil {
		t.Fatal(err)
	}
	f.handler = server.Handler()
	return f
}

func (f *pageFrame) Result(context.Context, string) (report.Input, bool, error) {
	return f.test, true, nil
}
func (f *pageFrame) Status(context.Context) web.Status { return web.Status{Ready: true} }
func (f *pageFrame) Certificates(scenario.Certificate) ([]tls.Certificate, error) {
	return nil, errors.New("no TLS here")
}

// ServeHTTP asks the web server as if the request had come over TLS to its name.
func (f *pageFrame) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = r.Clone(r.Context())
	r.Host, r.TLS = "lab.example", &tls.ConnectionState{}
	f.handler.ServeHTTP(w, r)
}

// frame answers with the page of the test, and in it another report.
func (f *pageFrame) frame(t *testing.T, w http.ResponseWriter, r *http.Request, fragment string) {
	own, err := report.Fragment(f.test)
	if err != nil {
		t.Error(err)
	}
	r = r.Clone(r.Context())
	r.URL.Path = "/t/" + frameCapability
	answer := httptest.NewRecorder()
	f.ServeHTTP(answer, r)
	page := answer.Body.String()
	if answer.Code != http.StatusOK || !strings.Contains(page, string(own)) {
		t.Errorf("status %d, and not the report:\n%s", answer.Code, page)
	}
	for name, values := range answer.Header() {
		if name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	_, _ = w.Write([]byte(strings.Replace(page, string(own), fragment, 1)))
}

// show opens one report, and takes a screenshot if that is asked for.
func (s *reportSite) show(ctx context.Context, t *testing.T, path string, width int64, scheme, name string) shown {
	t.Helper()
	// The values are those of CSS.
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 800), chromedp.Navigate(s.server.URL+path)); err != nil {
		t.Fatal(err)
	}
	got, err := chromedp.Run(ctx, chromedp.Evaluate[shown](inspectPage))
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv(shotsVar); dir != "" {
		shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// browserLog is what the browser requested and complained about.
type browserLog struct {
	mu        sync.Mutex
	requests  []string
	complains []string
}

func watchBrowser(ctx context.Context, t *testing.T) *browserLog {
	t.Helper()
	b := &browserLog{}
	err := chromedp.Listen(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			b.requests = append(b.requests, e.Request.URL)
		case *log.EventEntryAdded:
			b.complains = append(b.complains, e.Entry.Text)
		case *runtime.EventConsoleAPICalled:
			b.complains = append(b.complains, string(e.Type))
		case *runtime.EventExceptionThrown:
			b.complains = append(b.complains, e.ExceptionDetails.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *browserLog) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests, b.complains = nil, nil
}

// check fails t if anything came from elsewhere, or if the browser complained,
// such as about what the content policy forbids.
func (b *browserLog) check(t *testing.T, site string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.requests) == 0 {
		t.Error("no request was seen: nothing is known about what is loaded")
	}
	for _, url := range b.requests {
		if !strings.HasPrefix(url, site+"/") {
			t.Errorf("%s is loaded from elsewhere", url)
		}
	}
	for _, text := range b.complains {
		t.Errorf("the browser complains: %s", text)
	}
}

// inspectPage finds what reaches beyond the window, and text whose contrast to
// what is behind it is below 4.5 (WCAG 2.2, 1.4.3).
const inspectPage = `(() => {
  const rgb = s => { const m = s.match(/[\d.]+/g); return m ? m.map(Number) : [0, 0, 0, 0] };
  const solid = c => c.length < 4 || c[3] > 0.99;
  const light = c => { const f = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 }; return 0.2126 * f(c[0]) + 0.7152 * f(c[1]) + 0.0722 * f(c[2]) };
  const ratio = (a, b) => { const x = light(a), y = light(b); return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05) };
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (solid(c)) return c;
    }
    return dark ? [18, 18, 18] : [255, 255, 255];
  };
  const out = { Width: document.documentElement.scrollWidth, Wide: [], Contrast: [], Texts: 0 };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = walker.nextNode(); n; n = walker.nextNode()) {
    if (!n.data.trim()) continue;
    const e = n.parentElement, box = e.getBoundingClientRect();
    if (box.width === 0 || ['TITLE', 'DESC', 'STYLE'].includes(e.tagName.toUpperCase())) continue;
    out.Texts++;
    const style = getComputedStyle(e);
    let front = rgb(style.color), back = behind(e);
    if (e.ownerSVGElement) {
      front = rgb(style.fill);
      const shape = e.previousElementSibling;
      if (e.classList.contains('r-letter') && shape) back = rgb(getComputedStyle(shape).fill);
    }
    const r = ratio(front, back);
    if (r < 4.5 && out.Contrast.length < 8) out.Contrast.push(n.data.trim().slice(0, 30) + ' ' + r.toFixed(1));
    const range = document.createRange();
    range.selectNodeContents(n);
    if (range.getBoundingClientRect().right > innerWidth + 1 && out.Wide.length < 8) out.Wide.push(n.data.trim().slice(0, 30));
  }
  return out;
})()`
