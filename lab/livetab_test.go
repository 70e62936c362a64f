//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// tab is one tab of the browser, and the person before it.
type tab struct {
	t    *testing.T
	ctx  context.Context //nolint:containedctx // the tab itself
	name string          // of its screenshots
	shot int

	mu       sync.Mutex
	opened   []string // pages that were loaded
	foreign  []string // what was loaded from elsewhere
	said     []string // complaints of the browser
	expected []string // parts of complaints that belong to the test
}

// openTab opens a tab without anything that others have left.
func (l *liveLab) openTab(t *testing.T, name string, width int64, scheme string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(l.browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, name: name}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.EmulateViewport(width, 800))
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			b.picture("failed")
		}
	})
	return b
}

func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	complain := func(text string) {
		if !slices.ContainsFunc(b.expected, func(e string) bool { return strings.Contains(text, e) }) {
			b.said = append(b.said, text)
		}
	}
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if url := e.Request.URL; !strings.HasPrefix(url, site+"/") && url != "about:blank" && !strings.HasPrefix(url, "data:image/") { // drawings in a style
			b.foreign = append(b.foreign, url)
		}
	case *page.EventFrameNavigated:
		if e.Frame.ParentID == "" && e.Frame.URL != "about:blank" {
			b.opened = append(b.opened, e.Frame.URL)
		}
	case *log.EventEntryAdded:
		complain(e.Entry.Text + " " + e.Entry.URL)
	case *runtime.EventConsoleAPICalled:
		complain("console: " + string(e.Type))
	case *runtime.EventExceptionThrown:
		complain(e.ExceptionDetails.Text)
	}
}

// expect names complaints that are no fault.
func (b *tab) expect(part string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, part)
}

// pages are those that were loaded so far.
func (b *tab) pages() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.opened)
}

// quiet fails the test if the browser complained, as it does about what the
// content policy forbids, or loaded anything from elsewhere.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.said {
		b.t.Errorf("the browser complains: %s", text)
	}
	for _, url := range b.foreign {
		b.t.Errorf("%s is loaded from elsewhere", url)
	}
	if len(b.opened) == 0 {
		b.t.Error("no page was seen: nothing is known about what is loaded")
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns what an expression is on the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// wait waits until an expression is true on the page, whichever that is by then.
func (b *tab) wait(expression string) {
	b.t.Helper()
	await(b.ctx, b.t, expression, func(ctx context.Context) error {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		if err == nil && !ok {
			text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText.slice(0, 3000)"))
			err = fmt.Errorf("the page is\n%s", text)
		}
		return err
	})
}

// look fails the test if something of the page is hard to see, and takes a
// picture if that is asked for.
func (b *tab) look(name string) {
	b.t.Helper()
	got := eval[shown](b, inspectShown)
	if width := eval[float64](b, "innerWidth"); got.Width > width || len(got.Wide) > 0 {
		b.t.Errorf("%s: %v wide in a window of %v, beyond it reach %q", name, got.Width, width, got.Wide)
	}
	if len(got.Contrast) > 0 || got.Texts < 5 {
		b.t.Errorf("%s: %d texts, hard to read are %q", name, got.Texts, got.Contrast)
	}
	b.picture(name)
}

// inspectShown is inspectPage without what only screen readers are told.
const inspectShown = `(() => {
  const unseen = [...document.querySelectorAll('.sr')];
  for (const e of unseen) e.style.display = 'none';
  const out = ` + inspectPage + `;
  for (const e of unseen) e.style.display = '';
  return out;
})()`

func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv(shotsVar)
	if dir == "" {
		return
	}
	b.shot++
	const patience = 20 * time.Second // without a picture the test goes on
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Logf("no picture %s: %v", name, err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("lab-%s-%d-%s.png", b.name, b.shot, name)), picture, 0o644); err != nil {
		b.t.Error(err)
	}
}

// tabTo presses the tabulator until what a selector names has the focus, and
// fails the test if the focus can not be seen on the way.
func (b *tab) tabTo(selector string) {
	b.t.Helper()
	const most = 60
	for range most {
		b.do(chromedp.KeyEvent(kb.Tab))
		seen := eval[string](b, `(e => {
		  const box = e.getBoundingClientRect();
		  const hidden = getComputedStyle(e).outlineStyle === 'none' || box.right <= 0 || box.bottom < 0 || box.top > innerHeight || box.width < 2;
		  return hidden && e !== document.body ? e.outerHTML.slice(0, 200) : '';
		})(document.activeElement)`)
		if seen != "" {
			b.t.Errorf("the focus can not be seen at %s", seen)
		}
		if eval[bool](b, fmt.Sprintf("document.activeElement.matches(%q)", selector)) {
			return
		}
	}
	b.t.Fatalf("%s is not reached by the keyboard; the focus is on %s", selector, eval[string](b, "document.activeElement.outerHTML.slice(0, 200)"))
}
