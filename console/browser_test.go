package console_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// inspectPage finds what reaches beyond the window and can not be scrolled to,
// and text whose contrast is below 4.5 (WCAG 2.2, 1.4.3).
const inspectPage = `(() => {
  const rgb = s => s.match(/[\d.]+/g).map(Number);
  const light = c => { const f = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 }; return 0.2126 * f(c[0]) + 0.7152 * f(c[1]) + 0.0722 * f(c[2]) };
  const ratio = (a, b) => { const x = light(a), y = light(b); return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05) };
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0.99) return c;
    }
    return [255, 255, 255];
  };
  for (const d of [...document.querySelectorAll('details')].slice(0, 3)) d.open = true;
  const out = { Width: document.documentElement.scrollWidth, Wide: [], Contrast: [], Texts: 0 };
  for (const e of document.querySelectorAll('body *')) {
    const box = e.getBoundingClientRect();
    if (box.width === 0 || box.right < 0 || e.ownerSVGElement || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    out.Texts++;
    if (box.right > innerWidth + 1 && !e.closest('.c-scroll')) out.Wide.push(e.textContent.trim().slice(0, 30));
    const r = ratio(rgb(getComputedStyle(e).color), behind(e));
    if (r < 4.5) out.Contrast.push(e.textContent.trim().slice(0, 30) + ' ' + r.toFixed(1));
  }
  return out;
})()`

type shown struct {
	Width          float64
	Wide, Contrast []string
	Texts          int
}

// driven is a console in a browser, and what the browser says about it.
type driven struct {
	*desk
	t    *testing.T
	ctx  context.Context //nolint:containedctx // the browser
	site string

	mu   sync.Mutex
	said []string
}

func drive(t *testing.T) *driven {
	t.Helper()
	if os.Getenv("TLSINK_LAB") == "" {
		t.Skip("TLSINK_LAB is not set: no browser is started")
	}
	i := slices.IndexFunc(browserNames(), func(name string) bool { _, err := exec.LookPath(name); return err == nil })
	if i < 0 {
		t.Skip("no browser (Debian: apt install chromium)")
	}
	styles, err := os.ReadFile("../web/style.css")
	if err != nil {
		t.Fatal(err)
	}
	d := &driven{desk: full(t), t: t}
	mux := http.NewServeMux()
	mux.Handle("/console/", d.handler)
	mux.HandleFunc("/style.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		_, _ = w.Write(styles)
	})
	mux.HandleFunc("/favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	d.site = server.URL
	ctx, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(browserNames()[i]), chromedp.NoSandbox, chromedp.Flag("ignore-certificate-errors", true))...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	d.ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	d.run(chromedp.EmulateViewport(1280, 800))
	if err := chromedp.Listen(d.ctx, d.hear); err != nil {
		t.Fatal(err)
	}
	return d
}

func browserNames() []string {
	return []string{"chromium", "chromium-headless-shell", "google-chrome"}
}

func (d *driven) hear(event any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, d.site+"/") && !strings.HasPrefix(e.Request.URL, "data:") { // its own drawings
			d.said = append(d.said, "request for "+e.Request.URL)
		}
	case *log.EventEntryAdded:
		if !strings.Contains(e.Entry.Text, "status of 40") { // mistakes are part of the test
			d.said = append(d.said, e.Entry.Text)
		}
	}
}

func (d *driven) run(actions ...chromedp.Action[chromedp.Void]) {
	d.t.Helper()
	if err := chromedp.Do(d.ctx, actions...); err != nil {
		d.t.Fatal(err)
	}
}

func (d *driven) quiet() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, text := range d.said {
		d.t.Errorf("the browser complains: %s", text)
	}
}

// TestPagesInBrowser looks at every page in a real browser, on a phone and on a
// desk, in light and in dark. TLSINK_SCREENSHOTS names a directory for pictures.
func TestPagesInBrowser(t *testing.T) {
	d := drive(t)
	d.run(chromedp.Navigate(d.site+"/console/login"), chromedp.SendKeys("#password", password+kb.Enter), chromedp.WaitVisible("#sessions"))
	paths := append([]string{"/console/login", "/console/tests?network=x", "/console/tests?done=purged&n=3"}, views...)
	for _, path := range paths {
		if strings.Contains(path, "/export/") {
			continue
		}
		for _, width := range []int64{360, 1280} {
			for _, scheme := range []string{"light", "dark"} {
				name := fmt.Sprintf("console-%s-%d-%s", strings.NewReplacer("/console/", "", "/", "_", "?", "_", "=", "_", "&", "_").Replace(path), width, scheme)
				got := d.show(path, width, scheme, name)
				if got.Texts < 10 || got.Width > float64(width) || len(got.Wide) > 0 || len(got.Contrast) > 0 {
					t.Errorf("%s: %d texts, %v wide, beyond the window %q, hard to read %q", name, got.Texts, got.Width, got.Wide, got.Contrast)
				}
			}
		}
	}
	d.quiet()
}

func (d *driven) show(path string, width int64, scheme, name string) shown {
	d.t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(d.ctx, emulation.SetEmulatedMedia, media); err != nil {
		d.t.Fatal(err)
	}
	d.run(chromedp.EmulateViewport(width, 800), chromedp.Navigate(d.site+path))
	got, err := chromedp.Run(d.ctx, chromedp.Evaluate[shown](inspectPage))
	if err != nil {
		d.t.Fatal(err)
	}
	if dir := os.Getenv("TLSINK_SCREENSHOTS"); dir != "" {
		picture, err := chromedp.Run(d.ctx, chromedp.FullScreenshot(100))
		if err != nil {
			d.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil {
			d.t.Fatal(err)
		}
	}
	return got
}

// TestKeyboardInBrowser logs in, searches, deletes a person and logs out, with
// nothing but a keyboard.
func TestKeyboardInBrowser(t *testing.T) {
	d := drive(t)
	d.run(chromedp.Navigate(d.site + "/console/tests"))
	d.press("input#password", "wrong"+kb.Enter, "#problem")
	d.press("input#password", password+kb.Enter, "#found") // where it was meant to go
	d.tabTo("a.c-skip")
	d.press("a.c-skip", kb.Enter, "main:focus")
	d.tabTo("input#domain")
	d.press("input#domain", "sender.example"+kb.Enter, `.c-buttons a[href="/console/tests"]`)
	if q := d.operator.queries[len(d.operator.queries)-1]; q.Domain != "sender.example" {
		t.Errorf("searched for %+v", q)
	}
	d.tabTo(`a[href="/console/person"]`)
	d.press(`a[href="/console/person"]`, kb.Enter, "input#address")
	d.tabTo("input#address")
	d.press("input#address", "joe@sender.example"+kb.Enter, "input#confirm")
	d.tabTo("input#confirm")
	d.press("input#confirm", "joe@sender.exampl"+kb.Enter, ".c-problem[role=alert]")
	d.tabTo("input#confirm")
	d.press("input#confirm", "joe@sender.example"+kb.Enter, ".c-done[role=status]")
	if !slices.Equal(d.operator.did, []string{"forget joe@sender.example"}) {
		t.Errorf("did %q", d.operator.did)
	}
	d.tabTo(`form[action="/console/logout"] button`)
	d.press(`form[action="/console/logout"] button`, kb.Enter, "input#password")
	d.quiet()
}

// focused reports whether the element that selector names has the focus.
func (d *driven) focused(selector string) bool {
	d.t.Helper()
	ok, err := chromedp.Run(d.ctx, chromedp.Evaluate[bool](fmt.Sprintf("document.activeElement.matches(%q)", selector)))
	if err != nil {
		d.t.Fatal(err)
	}
	return ok
}

// tabTo presses the tabulator until the element that selector names has the
// focus, and says so if that can not be seen.
func (d *driven) tabTo(selector string) {
	d.t.Helper()
	for range 60 {
		if d.focused(selector) {
			visible, err := chromedp.Run(d.ctx, chromedp.Evaluate[bool](`(e => getComputedStyle(e).outlineStyle !== 'none' && e.getBoundingClientRect().left >= 0)(document.activeElement)`))
			if err != nil || !visible {
				d.t.Errorf("%s: the focus can not be seen (%v)", selector, err)
			}
			return
		}
		d.run(chromedp.KeyEvent(kb.Tab))
	}
	d.t.Fatalf("%s is not reached by the tabulator", selector)
}

// press types into what has the focus, which must be the element that selector
// names, and waits for another one.
func (d *driven) press(selector, keys, then string) {
	d.t.Helper()
	d.run(chromedp.WaitVisible(selector))
	if !d.focused(selector) {
		d.t.Fatalf("%s has no focus", selector)
	}
	d.run(chromedp.KeyEvent(keys), chromedp.WaitVisible(then))
}
